//! A workload executed on real memory: plan, bind, run under the schedule, verify, release; what was decided on the way goes
//! to a trace. However it ends, everything is released.

mod answer;
mod error;
mod question;
mod report;
mod session;
mod shortage;
mod trace_sinks;
mod weights;

pub use answer::RunAnswer;
pub use error::RunError;
pub use question::{PreparedRun, RunQuestion, run};
pub use report::{ReleaseMismatch, RunReport, SampleReport, UnreadWeights, ViolationReport};
pub use session::{Session, SessionModel};
pub use shortage::{Alternative, CapacityShortage};
pub use trace_sinks::{TraceFormat, TraceSinks};
