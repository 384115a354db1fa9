//! A run that was asked for: the document, and the page that can be made of it.

use std::sync::Arc;

use vramkit::plan::AllocationPlan;
use vramkit::plan::report::{PlanReport, ReportOptions};
use vramkit::trace::TraceEvent;
use vramkit_report::{DecisionRow, run_page};

use super::report::RunReport;
use crate::draw::{plan_document, run_document};
use vramkit_report::DocumentError;

/// The answer to a [`RunQuestion`](super::RunQuestion), and what a [`Session`](super::Session) comes to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunAnswer {
    /// `vramkit.run/1`.
    pub report: RunReport,
    /// The plan that was run.
    pub plan: Arc<AllocationPlan>,
}

impl RunAnswer {
    /// Whether every tensor was intact, every release gave back what was bound, and nothing was left in use.
    pub fn is_yes(&self) -> bool {
        let report = &self.report;
        report.aliasing_violations == 0
            && report.used_after_release_bytes.is_zero()
            && report.release_mismatches.is_empty()
    }

    /// The run as an HTML page that needs no other file: the plan, memory over time, decisions.
    ///
    /// # Errors
    /// None but a fault of this crate.
    pub fn page(&self) -> Result<String, DocumentError> {
        let options = ReportOptions { with_tensors: true, ..ReportOptions::default() };
        let plan = PlanReport::new(&self.plan, &options);
        let row = |decision: &TraceEvent| {
            let (kind, details) = decision.event.describe();
            DecisionRow { at_seconds: decision.at_seconds, done: decision.done, kind, details }
        };
        let rows: Vec<DecisionRow> = self.report.decisions.iter().map(row).collect();
        Ok(run_page(&run_document(&self.report)?, &plan_document(&plan)?, &rows))
    }
}
