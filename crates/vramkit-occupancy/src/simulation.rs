//! Continuous batching event by event, where no closed law holds: from any start, in any order of requests, with seats that wait for
//! requests and requests that wait for seats.
//!
//! In: a source of requests. Out: the most tokens of a stretch of steps, and how long requests waited. A step: those that ended in
//! the step before are gone, those that go on have a token more, those that begin have their prompt and a token. What a step holds is
//! counted before anything that ends in it is freed.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};

use crate::random::RandomStream;
use crate::source::Source;
use crate::tilted::Tilted;
use crate::waits::Waits;

/// What a batch is when time begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// As it is once it has run for long.
    #[default]
    Settled,
    /// All seats are filled at once with new requests: after a restart, and in every benchmark with a fixed number of clients.
    Cold,
}

/// Requests that wait at most.
const LONGEST_QUEUE: usize = 1 << 20;

/// A batch over time.
pub(crate) struct Simulation<'a> {
    source: Source<'a>,
    stream: RandomStream,
    seats: usize,
    block: u64,
    /// Requests that come in a step on average; `None` where there always is one for a free seat.
    arrivals: Option<f64>,
    next_arrival: f64,
    /// When each that waits came, its prompt and output.
    queue: VecDeque<(f64, u64, u64)>,
    /// The last step of each sequence, what it then holds, and in which steps it takes a block more.
    running: BinaryHeap<Reverse<(u64, u64, u64)>>,
    /// How many sequences take a block in steps that are so much modulo the block.
    growing: Vec<u64>,
    /// What those hold that begin in a step, and in which steps they grow.
    begun: Vec<(u64, u64)>,
    now: u64,
    demand: u64,
    pub(crate) waits: Waits,
}

/// In which steps, modulo the block, a sequence takes a block more that holds so much in a step: those whose token is the first of one.
fn class_of(block: u64, step: u64, held: u64) -> u64 {
    if block == 1 { 0 } else { (step + block - (held - 1) % block) % block }
}

impl<'a> Simulation<'a> {
    /// In step 0. `settled` has what seats hold that have run for long; without it all are filled at once, or, where requests
    /// arrive, empty.
    pub(crate) fn new(
        source: Source<'a>,
        stream: RandomStream,
        (seats, block): (u32, u32),
        arrivals: Option<f64>,
        settled: Option<&Tilted>,
    ) -> Self {
        let mut simulation = Self {
            source,
            stream,
            seats: seats as usize,
            block: block.into(),
            arrivals,
            next_arrival: f64::INFINITY,
            queue: VecDeque::new(),
            running: BinaryHeap::new(),
            growing: vec![0; block as usize],
            begun: Vec::new(),
            now: 0,
            demand: 0,
            waits: Waits::default(),
        };
        if let Some(rate) = arrivals {
            simulation.next_arrival = simulation.stream.exponential() / rate;
            return simulation;
        }
        for _ in 0..seats {
            let (prompt, output, age) = match settled {
                Some(settled) => {
                    let (prompt, output, age) = settled.draw(&mut simulation.stream);
                    (prompt, output.into(), age.into())
                }
                None => {
                    let (prompt, output) = simulation.source.next_whole(&mut simulation.stream);
                    (prompt, output, 1)
                }
            };
            simulation.join(prompt, output, age);
        }
        simulation
    }

    /// A sequence that is there in this step, with so many of its tokens.
    fn join(&mut self, prompt: u64, output: u64, age: u64) {
        let held = prompt + age;
        self.demand += held.next_multiple_of(self.block);
        let class = class_of(self.block, self.now, held);
        self.growing[class as usize] += 1;
        self.running.push(Reverse((self.now + output - age, prompt + output, class)));
    }

    /// On to a step: the most tokens of all steps up to it, this one included.
    pub(crate) fn run_to(&mut self, to: u64) -> u64 {
        let mut peak = self.demand;
        while self.now < to {
            let next_end = self.running.peek().map_or(u64::MAX, |&Reverse((end, ..))| end);
            // Nothing but growth until the last step before something ends or comes.
            let arrival = if self.running.len() < self.seats && self.arrivals.is_some() {
                if self.queue.is_empty() { self.next_arrival as u64 } else { self.now }
            } else {
                u64::MAX
            };
            let quiet = next_end.min(arrival).max(self.now).min(to);
            self.grow_to(quiet);
            peak = peak.max(self.demand);
            if self.now == to {
                break;
            }
            self.step();
            peak = peak.max(self.demand);
        }
        peak
    }

    fn grow_to(&mut self, step: u64) {
        if self.block == 1 {
            self.demand += self.growing[0] * (step - self.now);
            self.now = step;
            return;
        }
        let mut class = (self.now % self.block) as usize;
        while self.now < step {
            self.now += 1;
            class = if class + 1 == self.growing.len() { 0 } else { class + 1 };
            self.demand += self.block * self.growing[class];
        }
    }

    /// One step, in which something ends or comes.
    fn step(&mut self) {
        self.begun.clear();
        while let Some(mut first) = self.running.peek_mut()
            && let Reverse((end, full, class)) = *first
            && end <= self.now
        {
            self.demand -= full.next_multiple_of(self.block);
            self.growing[class as usize] -= 1;
            if self.arrivals.is_some() {
                PeekMut::pop(first);
            } else {
                // Another takes its place, which is cheaper than to go and come.
                let (prompt, output) = self.source.next_whole(&mut self.stream);
                let class = class_of(self.block, self.now + 1, prompt + 1);
                *first = Reverse((self.now + output, prompt + output, class));
                self.begun.push((prompt + 1, class));
            }
        }
        self.grow_to(self.now + 1);
        for &(held, class) in &self.begun {
            self.demand += held.next_multiple_of(self.block);
            self.growing[class as usize] += 1;
        }
        let Some(rate) = self.arrivals else { return };
        if self.queue.len() >= LONGEST_QUEUE {
            // Whoever comes now is never served: nobody is told apart any more.
            self.next_arrival = self.now as f64;
        }
        while self.next_arrival < self.now as f64 && self.queue.len() < LONGEST_QUEUE {
            let (prompt, output) = self.source.next_whole(&mut self.stream);
            self.queue.push_back((self.next_arrival, prompt, output));
            self.next_arrival += self.stream.exponential() / rate;
        }
        while self.running.len() < self.seats
            && let Some((came, prompt, output)) = self.queue.pop_front()
        {
            // One that finds a seat begins in the next step: that is no wait.
            self.waits.add(self.now as f64 - 1.0 - came.floor());
            self.join(prompt, output, 1);
        }
    }

    /// The step that it is in.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }
}
