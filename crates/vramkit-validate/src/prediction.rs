//! What each model of the cache's occupancy says of the lengths that were met.
//!
//! `published`: the formulas as printed, from p and the mean prompt. `corrected`: the same without their faults, for outputs that
//! end in any step alike; where some were cut off, for outputs that are. `exact`: a simulation of threshold batching with the measured lengths.

use vramkit_occupancy::{
    Batch, CappedOutputs, Convention, Cycles, Effort, Estimate, Exact, OccupancyError, PublishedFormulas,
    simulate,
};

use crate::report::{Predicted, Prediction};
use crate::traffic::Traffic;

/// Cycles of the simulation: its error is a hundredth of what a hundred measured cycles have.
const CYCLES: u64 = 200_000;

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
        most_output: usize,
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
        let corrected = traffic.termination.map(|p| {
            if traffic.cut_off == 0 {
                let exact = Exact::new(batch, prompt, variance, p);
                [exact.fluid_x0(), exact.kappa()]
            } else {
                let most = u32::try_from(most_output).unwrap_or(u32::MAX);
                let capped = CappedOutputs::new(batch, prompt, variance, p, most);
                [capped.x0(), capped.kappa()]
            }
        });
        let published =
            traffic.termination.and_then(|p| PublishedFormulas::from_means(batch, prompt, variance, p));
        let simulated = match simulate(batch, lengths, Effort { cycles: CYCLES, seed }) {
            Ok(cycles) => Some(cycles),
            Err(error @ OccupancyError::Refused { .. }) => {
                notes.push(format!("nothing is said exactly: {error}"));
                None
            }
            Err(error) => return Err(error),
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
