//! The seats of a batch, from one cycle of threshold batching to the next.
//!
//! Nothing happens between two endings but growth, so a cycle costs its endings and not its steps.

use crate::batch::Batch;
use crate::deadline::Deadline;
use crate::random::RandomStream;
use crate::source::Source;
use crate::tilted::Tilted;

/// Cycles of one batch, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replica {
    pub(crate) x0: f64,
    pub(crate) x0_squares: f64,
    pub(crate) steps: f64,
    pub(crate) after: f64,
    /// Of each cycle in order.
    pub(crate) peaks: Vec<f64>,
    /// How much they are above what the cycle began with.
    pub(crate) rises: Vec<f32>,
}

pub(crate) struct Cycle {
    steps: u64,
    pub(crate) before: f64,
    after: f64,
}

/// The seats of a batch, between two cycles.
pub(crate) struct Seats<'a> {
    batch: Batch,
    source: Source<'a>,
    stream: RandomStream,
    now: u64,
    /// The step in which each sequence ends, and above it, in the low bits, its seat.
    ends: Vec<u64>,
    /// What each seat's sequence will hold when it ends.
    full: Vec<f64>,
    /// Tokens held by all.
    held: f64,
}

const SEAT_BITS: u32 = 20;
const SEAT: u64 = (1 << SEAT_BITS) - 1;

impl<'a> Seats<'a> {
    /// A batch of new sequences.
    pub(crate) fn new(batch: Batch, mut source: Source<'a>, mut stream: RandomStream) -> Self {
        let (mut ends, mut full, mut held) = (Vec::new(), Vec::new(), 0.0);
        for seat in 0..u64::from(batch.seats) {
            let (prompt, output) = source.next(&mut stream);
            ends.push(u64::from(output) << SEAT_BITS | seat);
            full.push(prompt + f64::from(output));
            held += prompt;
        }
        Self { batch, source, stream, now: 0, ends, full, held }
    }

    /// As a batch refilled seat by seat would be, which is near where it settles.
    pub(crate) fn settled(
        batch: Batch,
        source: Source<'a>,
        under_way: &Tilted,
        mut stream: RandomStream,
    ) -> Self {
        let (mut ends, mut full, mut held) = (Vec::new(), Vec::new(), 0.0);
        for seat in 0..u64::from(batch.seats) {
            let (prompt, output, age) = under_way.draw(&mut stream);
            let prompt = prompt as f64;
            ends.push(u64::from(output - age + 1) << SEAT_BITS | seat);
            full.push(prompt + f64::from(output));
            held += prompt + f64::from(age - 1);
        }
        Self { batch, source, stream, now: 0, ends, full, held }
    }

    /// So many cycles more; `progress` is told of them. `None` at a deadline.
    pub(crate) fn count(
        &mut self,
        cycles: u64,
        deadline: Deadline,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Option<Replica> {
        let room = cycles as usize;
        let (peaks, rises) = (Vec::with_capacity(room), Vec::with_capacity(room));
        let mut replica = Replica { peaks, rises, ..Replica::default() };
        // A look at the clock is dear beside a small cycle.
        let looks = (1 << 14) / self.ends.len() as u64 + 1;
        for done in 1..=cycles {
            if done % looks == 0 && deadline.has_passed() {
                return None;
            }
            let x0 = self.held;
            replica.x0 += x0;
            replica.x0_squares += x0 * x0;
            let cycle = self.cycle();
            replica.rises.push((cycle.before - x0) as f32);
            replica.steps += cycle.steps as f64;
            replica.after += cycle.after;
            replica.peaks.push(cycle.before);
            if done % 1024 == 0 || done == cycles {
                progress((done - 1) % 1024 + 1);
            }
        }
        Some(replica)
    }

    /// Steps since it began.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    pub(crate) fn cycle(&mut self) -> Cycle {
        let seats = self.ends.len();
        let threshold = self.batch.threshold as usize;
        let (_, last, later) = self.ends.select_nth_unstable(threshold - 1);
        let last = *last >> SEAT_BITS;
        // Those that end in the same step as the last one that was waited for.
        let mut ended = threshold;
        for i in 0..later.len() {
            if later[i] >> SEAT_BITS == last {
                later.swap(i, ended - threshold);
                ended += 1;
            }
        }
        self.ends[..ended].sort_unstable();
        let (mut held, mut at) = (self.held, self.now);
        let (mut before, mut after) = (f64::MIN, held);
        let mut i = 0;
        while i < ended {
            let step = self.ends[i] >> SEAT_BITS;
            let alive = (seats - i) as f64;
            after = after.max(held + alive * (step - at - 1) as f64);
            held += alive * (step - at) as f64;
            before = before.max(held);
            while i < ended && self.ends[i] >> SEAT_BITS == step {
                held -= self.full[(self.ends[i] & SEAT) as usize];
                i += 1;
            }
            after = after.max(held);
            at = step;
        }
        for end in &mut self.ends[..ended] {
            let seat = *end & SEAT;
            let (prompt, output) = self.source.next(&mut self.stream);
            *end = (at + u64::from(output)) << SEAT_BITS | seat;
            self.full[seat as usize] = prompt + f64::from(output);
            held += prompt;
        }
        let steps = at - self.now;
        (self.now, self.held) = (at, held);
        Cycle { steps, before, after }
    }
}
