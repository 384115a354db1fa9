//! Whether models fit: their files' headers come in, what an engine takes of the device and of the host comes out, with the
//! verdict, the most that fits and the engine's own options that help. Reads no weights and takes no memory.

mod answer;
mod ask;
mod engine;
mod memory;
mod models;
mod question;
mod report;
mod sets;
mod subject;
mod tell;

pub use answer::FitAnswer;
pub use ask::fit;
pub use question::{FitMemory, FitQuestion};
pub use report::{
    FitAccuracy, FitChecked, FitExact, FitFigures, FitHost, FitMemoryReport, FitModelReport, FitPromise,
    FitReport, FitSet, FitSetsReport, FitStops, FitSuggestion, FitTooLarge, FitUncovered,
};
