//! Plans as plain data: `vramkit.plan/1`.
//!
//! ```
//! use vramkit_plan::report::{PlanReport, ReportOptions};
//! use vramkit_plan::{MemoryPlanner, Model, Schedule, TensorLifetime};
//! use vramkit_units::{ByteSize, Step};
//!
//! let tensor = |id, start, end| TensorLifetime::new("m", id, start, end, ByteSize::mb(10));
//! let tensors = vec![tensor("in", 0, 2), tensor("mid", 1, 3), tensor("out", 2, 4)];
//! let model = Model { name: "m".into(), weights: ByteSize::ZERO, start: Step(0), tensors };
//! let plan = MemoryPlanner::new().plan(&[model], Schedule::Fixed)?;
//! let options = ReportOptions { capacity: Some(ByteSize::mb(19)), ..ReportOptions::default() };
//! let report = PlanReport::new(&plan, &options);
//! assert_eq!((report.schema, report.feasible), ("vramkit.plan/1", Some(false)));
//! # Ok::<(), vramkit_plan::LifetimeError>(())
//! ```

mod build;
mod document;

pub use build::{ChosenStarts, ReportOptions, Savings};
pub use document::{
    BoundReport, ConflictReport, DerivedReport, EngineReport, GraphReport, InPlaceReport, ModelReport,
    OrderReport, PlanReport, PlanStepReport, PoolReport, SharedPairReport, StartsReport, TensorReport,
};
