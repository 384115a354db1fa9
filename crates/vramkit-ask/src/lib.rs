//! One question, one report.
//!
//! In: a question, a plain struct of options with a default (files may be paths in it). Out: an answer, with a report that is
//! complete when it is returned and is the same JSON document for every caller, the command line, Python or another program;
//! whether it is a yes ([`PlanAnswer::is_yes`] and its like); and the files that can be made of it, as values or through a
//! writer that is passed in. Never here: arguments, exit statuses, printing, progress bars, files opened to be written.
//!
//! | question | asked by | report |
//! |---|---|---|
//! | [`PlanQuestion`] | [`plan`] | [`PlanReport`], `vramkit.plan/1` |
//! | [`RunQuestion`] | [`run`] | [`RunReport`], `vramkit.run/1` |
//! | [`CapacityQuestion`] | [`capacity`] | [`CapacityReport`], `vramkit.capacity/1` |
//! | [`FitQuestion`] | [`fit()`] | [`FitReport`], `vramkit.fit/1` |
//! | [`GenerateQuestion`] | [`generate`] | [`GenerateReport`], `vramkit.generate/1` |
//! | [`StressQuestion`] | [`stress`] | [`StressReport`], `vramkit.stress/1` |
//! | [`ValidateQuestion`] | [`validate`] | [`ValidateReport`], `vramkit.validate/1` |
//! | [`ReplayQuestion`] | [`replay`] | [`ReplayReport`], `vramkit.replay/1` |
//! | (none) | [`devices`] | [`DevicesReport`], `vramkit.devices/1` |
//! | [`TopQuestion`] | [`top`], [`watch`] | [`Tick`], `vramkit.top/1` |
//!
//! ```
//! use vramkit_ask::{PlanQuestion, plan, quiet};
//!
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("lifetimes.csv");
//! # std::fs::write(&file, "id,lower,upper,size\na,0,4,10\nb,3,9,4\n")?;
//! let question = PlanQuestion { files: vec![file], capacity: Some("16B".parse()?), ..PlanQuestion::default() };
//! let answer = plan(&question, quiet())?;
//! assert!(answer.is_yes());
//! assert!(serde_json::to_string(&answer.report)?.starts_with(r#"{"schema":"vramkit.plan/1""#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An answer of no is an answer. [`AskError`] is for questions that have none, and keeps the cause as it was found; it names
//! no option of any program, so the caller adds how what is missing can be given.
//!
//! How an answer gets on is told to a [`Listener`], which can also end a search with the best so far.

#![forbid(unsafe_code)]

mod capacity;
mod device;
mod devices;
mod draw;
mod drawing;
mod error;
mod fit;
mod generate;
mod listener;
mod plan;
mod replay;
mod run;
#[cfg(feature = "schema")]
mod schema;
mod top;

pub use capacity::{
    CapacityAnswer, CapacityQuestion, CapacityReport, HorizonChoice, KvSource, Memory, ReplaySettings,
    Serving, TrafficSource, capacity,
};
pub use device::{DeviceChoice, ParseDeviceError};
pub use devices::{DeviceReport, DevicesReport, UnavailableReport, devices};
pub use drawing::Drawing;
pub use error::{AskError, OfGraphs, QuestionError};
pub use fit::{
    FitAccuracy, FitAnswer, FitChecked, FitExact, FitFigures, FitHost, FitMemory, FitMemoryReport,
    FitModelReport, FitPromise, FitQuestion, FitReport, FitSet, FitSetsReport, FitStops, FitSuggestion,
    FitTooLarge, FitUncovered, fit,
};
pub use generate::{GenerateQuestion, GenerateReport, LikelyToken, Prompt, generate};
pub use listener::{Listener, quiet};
pub use plan::{Placed, PlanAnswer, PlanEngine, PlanPicture, PlanQuestion, plan};
pub use replay::{Moment, ReplayAnswer, ReplayQuestion, replay};
pub use run::{
    Alternative, CapacityShortage, PreparedRun, ReleaseMismatch, RunAnswer, RunError, RunQuestion, RunReport,
    SampleReport, Session, SessionModel, TraceFormat, TraceSinks, UnreadWeights, ViolationReport, run,
};
#[cfg(feature = "schema")]
pub use schema::Document;
pub use top::{TopAnswer, TopQuestion, is_well, top, watch};

// What questions and answers are made of, from the crates that define it.
pub use vramkit::plan::report::PlanReport;
pub use vramkit_fit::{Backend, FitOptions, FlashAttention, GpuLayers, Runtime};
pub use vramkit_llm::text::answer_apart as answer_chat_template;
pub use vramkit_llm::{AdapterError, LoadError, Sampling};
pub use vramkit_models::onnx::RuntimeLevel;
pub use vramkit_models::traffic::{CHARACTERS_A_TOKEN, Columns, ColumnsError};
pub use vramkit_models::{CacheType, ReadError, ReadOptions};
pub use vramkit_occupancy::{MAX_SEATS, OccupancyReport};
pub use vramkit_replay::{
    DiffReport, FirstFailure, HeldReport, OwnedBy, PolicyName, PolicyReport, ReadTraceError, ReplayReport,
    TraceReport,
};
pub use vramkit_stress::{Check, LengthUse, StressError, StressQuestion, StressReport, stress};
pub use vramkit_validate::{
    Outcome as ValidateOutcome, Progress as ValidateProgress, Source as ValidateSource, ValidateError,
    ValidateQuestion, ValidateReport, Verdict, validate,
};
pub use vramkit_watch::Tick;

/// The code of the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
