//! What follows from footprints: whether it fits and by how much, the most that fits, and which of the engine's own options help.
//!
//! In: a function that works out what the processes take under given options, the options asked about, the memory there is,
//! and where models end. Out: [`Answers`]. Never here: how a footprint comes about, files, devices.
//!
//! ```text
//! need ─► room ─► asked ─┬─► most (by search) ─┬─► suggest ─┬─► Answers
//!                        └─────────────────────┴────────────┴─► decides
//! ```
//!
//! A footprint need not grow with what is asked (buffers move between the device and the host), so whatever is said to fit
//! was worked out for exactly that value.

mod asked;
mod decides;
mod most;
mod need;
mod room;
mod search;
mod suggest;
#[cfg(test)]
mod tests;

use crate::error::FitError;
use crate::footprint::Footprint;
use crate::options::FitOptions;

use asked::Asked;

pub use decides::Largest;
pub use most::{Limits, Most, StoppedBy};
pub use need::Need;
pub use room::{Room, Verdict};
pub use suggest::Suggestion;

/// What follows from the footprints of one model, or of several on one device.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Answers {
    /// What was asked about: a footprint for each process.
    pub footprints: Vec<Footprint>,
    /// What they need together.
    pub need: Need,
    /// Whether it fits; `None` where no memory was given.
    pub verdict: Option<Verdict>,
    /// The longest context that fits with everything else as asked, in the engine's own counting (llama.cpp: of all
    /// sequences together); `None` without memory, or where none fits.
    pub context: Option<Most>,
    /// The most sequences that fit, each with the context that one has now.
    pub sequences: Option<Most>,
    /// The most layers on the device that fit, the output counted as one.
    pub layers: Option<Most>,
    /// The engine's own options that help, the best first.
    pub suggestions: Vec<Suggestion>,
    /// The part of the device's memory that decides.
    pub largest: Option<Largest>,
}

/// Answers what can be answered of processes that run under the same options.
///
/// `footprints` gives what each of them takes, in always the same order; it is asked some dozens of times.
///
/// # Errors
/// What `footprints` says of the options asked about. Other options that it refuses are no candidates.
pub fn answer(
    footprints: &dyn Fn(&FitOptions) -> Result<Vec<Footprint>, FitError>,
    options: &FitOptions,
    room: Option<&Room>,
    limits: Limits,
) -> Result<Answers, FitError> {
    let asked = Asked::new(footprints, room);
    let footprints = footprints(options)?;
    let need = Need::of_all(&footprints);
    let verdict = room.map(|room| room.verdict(&footprints, options.gpu_memory_utilization));
    let most = most::Question { asked: &asked, options, footprints: &footprints, limits };
    let (context, sequences, layers) = (most.context(), most.sequences(), most.layers());
    let suggestions = suggest::suggestions(&asked, options, &most, context, layers);
    let largest = decides::largest(&footprints);
    Ok(Answers { footprints, need, verdict, context, sequences, layers, suggestions, largest })
}
