//! Pictures and pages of results, drawn from their JSON.
//!
//! In: documents as the program prints them ([`PlanDocument`] from `vramkit.plan/1`, [`RunDocument`] from `vramkit.run/1`,
//! [`FitDocument`] from `vramkit.fit/1`, [`ValidateDocument`] from `vramkit.validate/1`), or a picture's own numbers
//! ([`TracePicture`], [`RiskPicture`]). Out: text, an SVG or an HTML page that needs no other file. Never here: measuring, deciding, files; nothing of vramkit's but its units is
//! needed, so any figure can be drawn again from what was kept of it.
//!
//! ```no_run
//! use vramkit_report::{PlanDocument, plan_svg};
//!
//! // Of `vramkit plan model.onnx --json > plan.json`.
//! let json = serde_json::from_str(&std::fs::read_to_string("plan.json")?)?;
//! std::fs::write("plan.svg", plan_svg(&PlanDocument::from_json(&json)?))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod chart;
mod document;
mod draw;
mod fit;
mod flame;
mod page;
mod plan;
mod risk;
mod trace;
mod validate;

pub use document::{DocumentError, FitDocument, PlanDocument, RunDocument};
pub use fit::fit_svg;
pub use flame::flame_svg;
pub use page::{DecisionRow, run_page};
pub use plan::plan_svg;
pub use risk::{RiskCurve, RiskPicture, risk_svg};
pub use trace::{TraceBox, TracePicture, trace_svg};
pub use validate::{ValidateDocument, validation_page, validation_svg, validations_svg};

/// The code of the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
