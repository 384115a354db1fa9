//! A threshold batch with geometric outputs, run from one ending to the next, from any state in mid-cycle.
//!
//! In: a state and a stream of random numbers. Out: the state when the occupancy passes a level or an excursion is over, and
//! the peaks met. Never here: a choice of levels.

use crate::batch::Batch;
use crate::exact::Exact;
use crate::random::RandomStream;

/// How such a batch goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    seats: u32,
    threshold: usize,
    prompt: f64,
    ln_q: f64,
    /// The mean occupancy at the start of a cycle: an excursion is over when a cycle begins at or below it.
    base: f64,
}

impl Process {
    /// All prompts have `prompt` tokens, and outputs end with probability `termination` a token.
    pub(crate) fn new(batch: Batch, prompt: f64, termination: f64) -> Self {
        let base = Exact::new(batch, prompt, 0.0, termination).x0() * (1.0 + 1e-12);
        let threshold = batch.threshold() as usize;
        Self { seats: batch.seats(), threshold, prompt, ln_q: (-termination).ln_1p(), base }
    }

    /// All sequences begin: the first cycles are not those of a batch that has run for long.
    pub(crate) fn start(&self) -> State {
        State::new(self.seats, self.prompt)
    }

    /// Whether a cycle that begins so ends an excursion.
    pub(crate) fn is_at_base(&self, state: &State) -> bool {
        state.total <= self.base
    }

    /// On to the start of the next cycle.
    pub(crate) fn cycle(&self, state: &mut State, stream: &mut RandomStream, found: &mut Try) {
        while !self.event(state, stream, f64::INFINITY, found) {}
    }

    /// Runs on until the occupancy is over `stop` in some step, or a cycle begins at or below the base. Notes the peaks of
    /// cycles that are over `level`.
    pub(crate) fn go(
        &self,
        state: &mut State,
        stream: &mut RandomStream,
        stop: f64,
        level: f64,
        found: &mut Try,
    ) {
        let mut cycle = Try { peak: state.reached, ..Try::default() };
        loop {
            if state.total > stop && state.pending {
                return;
            }
            let ended = self.event(state, stream, stop, &mut cycle);
            found.peak = found.peak.max(cycle.peak);
            if ended {
                if cycle.peak > level {
                    found.cycles.push(cycle.peak);
                }
                cycle.peak = f64::MIN;
                if state.total <= self.base {
                    return;
                }
            }
        }
    }

    /// On to the next step in which something ends, and the ends in it; true if that began a new cycle. Stops short of it in
    /// the step in which the occupancy is over `stop`, whose ends are then still to be drawn.
    fn event(&self, state: &mut State, stream: &mut RandomStream, stop: f64, found: &mut Try) -> bool {
        let alive = state.alive as f64;
        let quiet = (stream.unit().ln() / (alive * self.ln_q)).floor().min(1e12);
        // What a step holds counts once its tokens are written, as they are not yet just after a refill.
        let least = f64::from(u8::from(!state.pending));
        let steps = quiet + least;
        if state.total + alive * steps > stop {
            let until = ((stop - state.total) / alive).floor() + 1.0;
            state.write(until.clamp(least, steps));
            found.peak = found.peak.max(state.total);
            (state.pending, state.reached) = (true, state.total);
            return false;
        }
        state.write(steps);
        found.peak = found.peak.max(state.total);
        state.pending = false;
        // At least one ends: the first in order is of a geometric law cut off, those behind it are free.
        let some = -(alive * self.ln_q).exp_m1();
        let mut at = ((-stream.unit() * some).ln_1p() / self.ln_q).floor().clamp(0.0, alive - 1.0);
        while at < alive {
            state.end(stream, self.prompt);
            at += 1.0 + (stream.unit().ln() / self.ln_q).floor();
        }
        let seats = state.births.len();
        if seats - state.alive < self.threshold {
            return false;
        }
        state.total += self.prompt * (seats - state.alive) as f64;
        state.births[state.alive..].fill(state.clock);
        state.alive = seats;
        true
    }
}

/// What was met on the way.
#[derive(Clone, Debug)]
pub(crate) struct Try {
    pub(crate) peak: f64,
    /// Peaks of the cycles that are over the level that it started from.
    pub(crate) cycles: Vec<f64>,
}

impl Default for Try {
    fn default() -> Self {
        Self { peak: f64::MIN, cycles: Vec::new() }
    }
}

/// A batch in mid-cycle.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Steps in which the sequences began: first those that are there, then those that ended in this cycle.
    births: Vec<f64>,
    alive: usize,
    clock: f64,
    /// Tokens held.
    total: f64,
    /// The step's tokens are written, but what ends in it is not drawn.
    pending: bool,
    /// The occupancy at which it was kept.
    reached: f64,
}

impl State {
    /// All begin: the first cycles are not looked at.
    fn new(seats: u32, prompt: f64) -> Self {
        Self {
            births: vec![0.0; seats as usize],
            alive: seats as usize,
            clock: 0.0,
            total: prompt * f64::from(seats),
            pending: false,
            reached: f64::MIN,
        }
    }

    /// The occupancy at which it was kept, or from which it starts.
    pub(crate) fn reached(&self) -> f64 {
        self.reached
    }

    /// A start of an excursion is kept where it is.
    pub(crate) fn keep(&mut self) {
        self.reached = self.total;
    }

    fn write(&mut self, steps: f64) {
        self.clock += steps;
        self.total += self.alive as f64 * steps;
    }

    fn end(&mut self, stream: &mut RandomStream, prompt: f64) {
        let seat = stream.below(self.alive);
        self.total -= prompt + self.clock - self.births[seat];
        self.alive -= 1;
        self.births.swap(seat, self.alive);
    }
}
