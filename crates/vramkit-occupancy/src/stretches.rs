//! Horizons of a service, simulated one by one: how each is begun, how far it is run.

use crate::batch::Batch;
use crate::error::OccupancyError;
use crate::peaks::{Peaks, Seen};
use crate::random::RandomStream;
use crate::seats::Seats;
use crate::service::{Batching, Service};
use crate::simulation::{Simulation, Start};
use crate::source::{Order, Source};
use crate::tilted::Tilted;
use crate::waits::Waits;

/// Steps that are simulated at least of a long horizon, and times that what a batch remembers must fit into it: then the rest of it is
/// like what was seen.
const LONG: f64 = 1e5;
const MEMORIES: f64 = 32.0;
/// Steps and requests between two looks at the clock.
const WORK: f64 = 1e5;
/// Horizons of one batch, one after the other with time to forget between them: less of the work is warming up.
const OF_A_BATCH: u32 = 8;

impl Service<'_> {
    /// Peaks of up to `most` horizons, as many as a part of the time that is left allows. Of a cold start with requests in any order
    /// the time until it has settled.
    ///
    /// # Errors
    /// Refused when there is no time for them.
    pub(crate) fn peaks(&self, batching: Batching, most: u64) -> Result<Peaks, OccupancyError> {
        match batching {
            Batching::Threshold(batch) => self.peaks_of_cycles(batch, most),
            Batching::Continuous { seats } => self.peaks_of_seats(seats, most),
        }
    }

    /// Steps until a cold start has settled, no more than the horizon.
    pub(crate) fn begins_for(&self) -> f64 {
        self.lengths.memory().map_or(self.steps(), |memory| self.steps().min(memory as f64))
    }

    /// Requests that are begun in a step.
    fn begun(&self, seats: u32) -> f64 {
        let most = f64::from(seats) / self.lengths.mean_output();
        self.arrivals.map_or(most, |arrivals| arrivals.min(most))
    }

    fn source(&self, seats: u32) -> Source<'_> {
        Source::new(self.lengths, self.order, seats, self.begun(seats) * self.steps())
    }

    fn peaks_of_seats(&self, seats: u32, most: u64) -> Result<Peaks, OccupancyError> {
        // The step in which a stretch begins is its first.
        let steps = self.steps() - 1.0;
        let memory = self.lengths.memory().map_or(f64::INFINITY, |memory| memory as f64);
        let source = self.source(seats);
        let of_a_block = source.block().map_or(0.0, |block| block / self.begun(seats));
        let (warm_up, stretch) = match (self.start, self.order, self.arrivals) {
            (Start::Cold, Order::Drawn, None) => (0.0, self.begins_for() - 1.0),
            (Start::Cold, ..) => (0.0, steps),
            (Start::Settled, _, arrivals) => {
                // A queue settles the slower the fuller the seats.
                let slack =
                    if arrivals.is_some() { (1.0 - self.load(seats).unwrap_or(0.0)).max(0.1) } else { 1.0 };
                let settles = (memory.min(steps.max(1e4)) + of_a_block) / (slack * slack);
                let warm_up = if self.order == Order::Drawn && arrivals.is_none() { 0.0 } else { settles };
                (warm_up, steps.min((MEMORIES * (memory / slack + of_a_block)).max(LONG)))
            }
        };
        let times = match self.start {
            Start::Cold => 1.0,
            Start::Settled => (steps / stretch).max(1.0),
        };
        let stride = (WORK / (1.0 + self.begun(seats) + self.arrivals.unwrap_or(0.0))) as u64 + 1;
        let under_way = Tilted::new(self.lengths, 0.0);
        let settled = (self.start == Start::Settled && self.arrivals.is_none()).then_some(&under_way);
        let some = |number: u64| {
            let stream = RandomStream::new(self.effort.seed ^ 0x0f2_0a11, number);
            let mut simulation =
                Simulation::new(source.clone(), stream, (seats, self.block), self.arrivals, settled);
            let on = |simulation: &mut Simulation, steps: f64| {
                let to = simulation.now().saturating_add(steps.min(1e18) as u64);
                let mut peak = simulation.run_to(simulation.now());
                while simulation.now() < to {
                    if self.deadline.has_passed() {
                        return None;
                    }
                    peak = peak.max(simulation.run_to(to.min(simulation.now() + stride)));
                }
                Some(peak as f64)
            };
            let mut seen = Vec::new();
            let mut before = warm_up;
            let parts = if warm_up > 0.0 && !self.keeps_together() { OF_A_BATCH } else { 1 };
            for _ in 0..parts {
                let Some(_) = on(&mut simulation, before) else { break };
                simulation.waits = Waits::default();
                let Some(peak) = on(&mut simulation, stretch) else { break };
                seen.push(Seen { peak, waits: std::mem::take(&mut simulation.waits) });
                before = warm_up / 2.0;
            }
            seen
        };
        Peaks::simulate(most, times, self.deadline, some)
    }

    fn peaks_of_cycles(&self, batch: Batch, most: u64) -> Result<Peaks, OccupancyError> {
        let source = self.source(batch.seats());
        let under_way = Tilted::new(self.lengths, 0.0);
        let steps = self.steps();
        // Those that end together begin together: outputs that are much alike keep them so for long.
        let keeps_time = self.lengths.memory().map_or(steps, |memory| memory as f64);
        let settles = (4.0 * keeps_time).min(1e6);
        // Of a long horizon a part, where what came long before does not matter.
        let memory = (batch.memory() as f64 * self.lengths.mean_output()).max(2.0 * keeps_time);
        let stretch = match self.start {
            Start::Cold => steps,
            Start::Settled => steps.min((MEMORIES * memory).max(LONG * 10.0)),
        };
        let some = |number: u64| {
            let stream = RandomStream::new(self.effort.seed ^ 0x0f2_0a11, number);
            let mut seats = match self.start {
                Start::Cold => Seats::new(batch, source.clone(), stream),
                Start::Settled => Seats::settled(batch, source.clone(), &under_way, stream),
            };
            let looks = (1 << 14) / u64::from(batch.seats()) + 1;
            // On for so many cycles and steps at least: the highest peak, `None` when it is late.
            let on = |seats: &mut Seats, least: u64, steps: f64| {
                let end = seats.now().saturating_add(steps.min(1e18) as u64);
                let (mut peak, mut cycles) = (0.0_f64, 0);
                while cycles < least || seats.now() < end {
                    cycles += 1;
                    if cycles % looks == 0 && self.deadline.has_passed() {
                        return None;
                    }
                    peak = peak.max(seats.cycle().before);
                }
                (self.progress)(cycles);
                Some(peak)
            };
            let mut seen = Vec::new();
            let settled = self.start == Start::Settled;
            let parts = if settled && !self.keeps_together() { OF_A_BATCH } else { 1 };
            for part in 0..parts {
                let (cycles, steps) = match (settled, part) {
                    (false, _) => (0, 0.0),
                    (true, 0) => (batch.memory(), settles),
                    (true, _) => (batch.memory() / 2, settles / 4.0),
                };
                let Some(_) = on(&mut seats, cycles, steps) else { break };
                let Some(peak) = on(&mut seats, 1, stretch) else { break };
                seen.push(Seen { peak, ..Seen::default() });
            }
            seen
        };
        Peaks::simulate(most, (steps / stretch).max(1.0), self.deadline, some)
    }
}
