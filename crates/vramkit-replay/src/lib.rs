//! Allocation traces: read from what programs recorded, replayed against pool policies without a device.
//!
//! ```text
//! file ──► read (text, CSV, JSON Lines, pickle) ──► Trace ──► replay ──► how much memory each policy took
//!                                                               ▲
//!                                              policy (vramkit's pool, best fit, PyTorch's, a plan)
//! ```
//!
//! In: a file. Out: traces, and a report a policy. Never here: a device, or a program that runs.
//!
//! A reader treats every length in a file as hostile and runs nothing that is in it; a policy places and frees and
//! knows nothing of files.

mod best_fit;
mod fault;
mod pickle;
mod place;
mod policy;
mod pytorch;
mod read;
mod replay;
mod report;
mod snapshot;
mod trace;
mod write;

pub use best_fit::BestFit;
pub use place::{Placement, place};
pub use policy::PolicyName;
pub use read::{ReadTraceError, read_traces, traces_of};
pub use replay::replay;
pub use report::{PolicyReport, ReplayReport, TraceReport};
pub use trace::{Operation, Trace, TraceError};
pub use write::{json_lines, rmm_csv};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
