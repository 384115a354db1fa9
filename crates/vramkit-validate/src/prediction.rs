//! What each model of the cache's occupancy says of the lengths that were met.
//!
//! `published`: the formulas as printed, from p and the mean prompt. `corrected`: the same without their faults, for outputs that
//! end in any step alike; where some were cut off, for outputs that are. `exact`: a simulation of the run itself, from its first new
//! batch on, with requests drawn from those that were measured.

use vramkit_occupancy::{
    Batch, Convention, Cycles, Estimate, Exact, OccupancyError, PublishedFormulas, Runs, corrected,
    simulate_runs,
};

use crate::report::{Predicted, Prediction};
use crate::traffic::Traffic;

/// Cycles of all simulated runs together, where a run does not have more: their error is a small part of what is measured.
const CYCLES: u64 = 200_000;
/// Runs at least, so that it is known how far they scatter.
const LEAST_RUNS: u64 = 64;
/// The most that is simulated, in seats looked at: some seconds.
const MOST_WORK: f64 = 4e9;

/// What the models say.
#[derive(Debug)]
pub(crate) struct Models {
    pub batch: Batch,
    pub published: Option<PublishedFormulas>,
    /// X0 and κ.
    pub corrected: Option<[f64; 2]>,
    pub simulated: Option<Cycles>,
    /// r of the corrected bound.
    pub exponent: f64,
    /// What cannot be said, and why.
    pub notes: Vec<String>,
}

impl Models {
    /// Asks them all.
    ///
    /// # Errors
    /// Lengths that no model takes.
    pub fn of(
        batch: Batch,
        traffic: &Traffic,
        [warmup, cycles]: [usize; 2],
        seed: u64,
    ) -> Result<Self, OccupancyError> {
        let mut notes = Vec::new();
        let lengths = &traffic.lengths;
        let (prompt, variance) = (lengths.mean_prompt(), lengths.prompt_variance());
        if traffic.termination.is_none() {
            notes.push(
                "no output ended of itself, so p, and what the published and the corrected formulas make of it, is not known"
                    .to_owned(),
            );
        }
        let cap = (traffic.cut_off > 0).then_some(traffic.mean_cut);
        let corrected = traffic.termination.map(|p| corrected(&Exact::new(batch, prompt, variance, p), cap));
        let published =
            traffic.termination.and_then(|p| PublishedFormulas::from_means(batch, prompt, variance, p));
        let each = warmup as u64 + cycles as u64;
        let runs = Runs {
            count: (CYCLES / each.max(1)).max(LEAST_RUNS),
            warmup: warmup as u64,
            cycles: cycles as u64,
            seed,
        };
        // Of the largest batches fewer runs.
        let fewer = (runs.count as f64 * (MOST_WORK / runs.work(batch)).min(1.0)) as u64;
        let simulated = if fewer < 2 {
            notes.push(
                "nothing is said exactly: so many cycles of so many sequences would take minutes to simulate"
                    .to_owned(),
            );
            None
        } else {
            Some(simulate_runs(batch, lengths, Runs { count: fewer, ..runs })?)
        };
        Ok(Self { batch, published, corrected, simulated, exponent: lengths.tail_exponent(), notes })
    }

    /// Their figures.
    pub fn figures(&self) -> Predicted {
        let published = self.published.map_or_else(Prediction::default, |formulas| {
            prediction(formulas.x0(), formulas.xmax(), formulas.kappa())
        });
        let corrected =
            self.corrected.map_or_else(Prediction::default, |[x0, kappa]| prediction(x0, x0 + kappa, kappa));
        let exact = self
            .simulated()
            .map_or_else(Prediction::default, |[x0, xmax, kappa]| prediction(x0.mean, xmax.mean, kappa.mean));
        Predicted { published, corrected, exact }
    }

    /// X0, Xmax and κ of the simulation.
    pub fn simulated(&self) -> Option<[Estimate; 3]> {
        let cycles = self.simulated.as_ref()?;
        Some([cycles.x0(), cycles.peak(Convention::BeforeFree), cycles.kappa(Convention::BeforeFree)])
    }
}

fn prediction(x0: f64, xmax: f64, kappa: f64) -> Prediction {
    Prediction { x0_tokens: Some(x0), xmax_tokens: Some(xmax), kappa_tokens: Some(kappa) }
}
