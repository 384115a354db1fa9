//! Pictures and pages from results.
//!
//! Reports (`vramkit::report`) come in, text comes out: an SVG of a plan, a page of a run. Nothing is measured
//! or decided here, so any figure can be drawn again from its file.

mod chart;
mod draw;
mod page;
mod plan;
mod risk;
mod trace;

pub use page::run_page;
pub use plan::plan_svg;
pub use risk::{RiskCurve, RiskPicture, risk_svg};
pub use trace::{TraceBox, TracePicture, trace_svg};
