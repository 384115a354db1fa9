//! A batch under continuous batching, run on step by step from a moment drawn at random, forwards or backwards in time.
//!
//! In: the law of what is under way at that moment. Out: what each step changes. Requests are independent of each other, so a
//! batch seen backwards is a batch too, whose sequences shrink. What a sequence adds is noted where its growth begins and ends,
//! and summed once: a run costs its steps and its requests, however many tokens they have.

use crate::demand::{Population, TokenDemand};
use crate::lengths::Draws;
use crate::random::RandomStream;
use crate::tilted::Tilted;

/// A sequence on its way.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// The last step in which it is there. The sample is drawn in step 0.
    ends: u64,
    /// Tokens that it holds in that step.
    last: u64,
}

/// Which way time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    Forwards,
    Backwards,
}

/// What a sample needs room for, used again by the next.
#[derive(Default)]
pub(crate) struct Room {
    /// As drawn: for each sequence its prompt, its output, and how many of its tokens are there.
    drawn: Vec<(u64, u64, u64)>,
    running: Vec<Running>,
    /// Tokens granted to all of them.
    pub(crate) demand: f64,
    /// Tokens granted at the moment that was drawn.
    at_first: f64,
    /// When the next one comes, in steps; never to seats that are always taken.
    next_arrival: f64,
    changes: Vec<f64>,
    growth: Vec<f64>,
}

pub(crate) struct Run<'a> {
    pub(crate) demand: &'a TokenDemand,
    pub(crate) draws: Draws<'a>,
    pub(crate) tilted: &'a Tilted<'a>,
}

impl Run<'_> {
    fn granted(&self, tokens: u64) -> f64 {
        tokens.next_multiple_of(self.demand.block.into()) as f64
    }

    /// Draws every sequence on its way in step 0: the tokens that they hold.
    pub(crate) fn start(&self, stream: &mut RandomStream, room: &mut Room) -> u64 {
        room.drawn.clear();
        let mut tokens = 0;
        let mut join = |stream: &mut RandomStream| {
            let (prompt, output, age) = self.tilted.draw(stream);
            tokens += prompt + u64::from(age);
            room.drawn.push((prompt, output.into(), age.into()));
        };
        match self.demand.population {
            Population::Seats(count) => (0..count).for_each(|_| join(stream)),
            Population::Arrivals { .. } => {
                // A Poisson number of them, counted by its exponential gaps.
                let mut left = self.demand.sequences() * self.tilted.factor() - stream.exponential();
                while left > 0.0 {
                    join(stream);
                    left -= stream.exponential();
                }
            }
        }
        room.at_first = room.drawn.iter().map(|&(prompt, _, age)| self.granted(prompt + age)).sum();
        self.turn(stream, room, Time::Forwards);
        tokens
    }

    /// Back to step 0, to run from there in a direction.
    pub(crate) fn turn(&self, stream: &mut RandomStream, room: &mut Room, time: Time) {
        room.demand = room.at_first;
        room.running.clear();
        room.running.extend(room.drawn.iter().map(|&(prompt, output, age)| match time {
            Time::Forwards => Running { ends: output - age, last: prompt + output },
            Time::Backwards => Running { ends: age - 1, last: prompt + 1 },
        }));
        room.next_arrival = match self.demand.population {
            Population::Seats(_) => f64::INFINITY,
            Population::Arrivals { per_step } => stream.exponential() / per_step,
        };
    }

    /// Runs on from step `from` to step `to`, counted from step 0 in a direction: what each step between changes.
    pub(crate) fn go_on<'r>(
        &self,
        stream: &mut RandomStream,
        room: &'r mut Room,
        (from, to): (u64, u64),
        time: Time,
    ) -> &'r [f64] {
        let Room { running, changes, growth, next_arrival, .. } = room;
        let steps = (to - from) as usize;
        for each in [&mut *changes, &mut *growth] {
            each.clear();
            each.resize(steps, 0.0);
        }
        let mut stretch = Stretch { changes, growth, from, time };
        running.retain_mut(|seat| self.follow(stream, &mut stretch, from, seat));
        while *next_arrival < to as f64 {
            let begin = next_arrival.max(from as f64) as u64 + 1;
            let mut seat = self.begin(stream, &mut stretch, begin);
            if self.follow(stream, &mut stretch, begin, &mut seat) {
                running.push(seat);
            }
            if let Population::Arrivals { per_step } = self.demand.population {
                *next_arrival += stream.exponential() / per_step;
            }
        }
        // What grows goes on growing, a block at a time, until its end is noted.
        let block = self.demand.block as usize;
        for i in block..steps {
            growth[i] += growth[i - block];
        }
        for (change, growth) in changes.iter_mut().zip(growth) {
            *change += *growth;
        }
        &room.changes
    }

    /// A new sequence, whose first step is `begin`.
    fn begin(&self, stream: &mut RandomStream, stretch: &mut Stretch, begin: u64) -> Running {
        let (prompt, output) = self.draws.whole_request(stream);
        let (first, last) = match stretch.time {
            Time::Forwards => (prompt + 1, prompt + u64::from(output)),
            Time::Backwards => (prompt + u64::from(output), prompt + 1),
        };
        *stretch.change(begin) += self.granted(first);
        Running { ends: begin + u64::from(output) - 1, last }
    }

    /// Follows a seat on from step `at` through a stretch. False when it is empty then.
    fn follow(&self, stream: &mut RandomStream, stretch: &mut Stretch, at: u64, seat: &mut Running) -> bool {
        let to = stretch.from + stretch.changes.len() as u64;
        let block = u64::from(self.demand.block);
        let mut at = at;
        loop {
            let ahead = seat.ends - at;
            // A block more in each step whose token is the first of one; backwards, one less where that token is gone.
            let until = match stretch.time {
                Time::Forwards => {
                    let held = seat.last - ahead;
                    held.next_multiple_of(block) - held + 1
                }
                Time::Backwards => (seat.last + ahead - 1) % block + 1,
            };
            stretch.grow(at + until, seat.ends.min(to), block);
            if seat.ends >= to {
                return true;
            }
            at = seat.ends + 1;
            *stretch.change(at) -= self.granted(seat.last);
            if let Population::Arrivals { .. } = self.demand.population {
                return false;
            }
            *seat = self.begin(stream, stretch, at);
        }
    }
}

/// Steps of a run, from the one after `from` on.
struct Stretch<'a> {
    changes: &'a mut [f64],
    growth: &'a mut [f64],
    from: u64,
    time: Time,
}

impl Stretch<'_> {
    fn change(&mut self, step: u64) -> &mut f64 {
        &mut self.changes[(step - self.from - 1) as usize]
    }

    /// A block more in step `first` and in each that many steps later, up to `last`; backwards a block less.
    fn grow(&mut self, first: u64, last: u64, block: u64) {
        if first > last {
            return;
        }
        let more = if self.time == Time::Forwards { block as f64 } else { -(block as f64) };
        let begin = (first - self.from - 1) as usize;
        let end = begin + ((last - first) / block + 1) as usize * block as usize;
        self.growth[begin] += more;
        if let Some(after) = self.growth.get_mut(end) {
            *after -= more;
        }
    }
}
