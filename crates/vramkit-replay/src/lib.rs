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
//!
//! ```
//! use std::path::Path;
//! use vramkit_replay::{PolicyName, replay, traces_of};
//!
//! let text = b"a 1 3000000\na 2 1000\nf 1\na 3 2500000\n".to_vec();
//! let trace = &traces_of(text, Path::new("example"))?[0];
//! let exact = replay(trace, "best-fit".parse()?, None);
//! assert_eq!(exact.failures, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod best_fit;
mod fault;
mod held;
mod least;
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
pub use held::Held;
pub use least::least_capacity;
pub use place::{PlacedAllocation, place};
pub use policy::PolicyName;
pub use read::{ReadTraceError, read_traces, traces_of};
pub use replay::replay;
pub use report::{PolicyReport, ReplayReport, TraceReport};
pub use trace::{Operation, Trace, TraceError};
pub use write::{json_lines, rmm_csv};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
