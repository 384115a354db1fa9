//! Allocation traces: read from what programs recorded, replayed against pool policies without a device.
//!
//! ```text
//! file ──► read (text, CSV, JSON, pickle) ──► Trace ──► replay ──► how much memory each policy took, and where it died
//!                                              └──────► held ──► who held it
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
//! use vramkit_replay::{Setup, replay, traces_of};
//!
//! let text = b"a 1 3000000\na 2 1000\nf 1\na 3 2500000\n";
//! let trace = &traces_of(text, Path::new("example"))?[0];
//! let exact = replay(trace, &Setup::plain("best-fit".parse()?), false);
//! assert_eq!(exact.failures, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod best_fit;
mod fault;
mod held;
mod least;
mod lines;
mod odd;
mod offline;
mod operation;
mod place;
mod placements;
mod policy;
mod pytorch;
mod read;
mod replay;
mod report;
mod rmm;
mod run;
mod setup;
mod snapshot;
mod stacks;
mod steps;
mod trace;
mod values;
mod write;

pub use best_fit::BestFit;
pub use held::{Grown, Held, OwnedBy, Owners, grown};
pub use least::least_capacity;
pub use operation::{Mark, Operation};
pub use place::place;
pub use placements::PlacedAllocation;
pub use policy::PolicyName;
pub use pytorch::{AllocatorSettings, SettingsError};
pub use read::{ReadTraceError, read_traces, traces_of};
pub use replay::{peak_and_failures, replay};
pub use report::{DiffReport, FirstFailure, HeldReport, PolicyReport, ReplayReport, TraceReport};
pub use setup::Setup;
pub use stacks::Frame;
pub use steps::{StepReport, steps};
pub use trace::{Trace, TraceError};
pub use write::{json_lines, rmm_csv};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
