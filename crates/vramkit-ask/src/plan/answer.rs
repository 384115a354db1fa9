//! A plan that was asked for: the document, and the files that can be made of it.

use std::io::{self, Write};

use vramkit::plan::report::{PlanReport, ReportOptions};
use vramkit::plan::{AllocationPlan, PooledPlan};
use vramkit_models::workload::to_toml;
use vramkit_models::{Demand, table};
use vramkit_report::plan_svg;

use crate::draw::plan_document;
use crate::error::AskError;

/// The answer to a [`PlanQuestion`](super::PlanQuestion).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlanAnswer {
    /// `vramkit.plan/1`, with its tensors.
    pub report: PlanReport,
    /// Where the tensors are.
    pub placed: Placed,
    /// What the files asked for, with the schedule and the starts that were planned.
    pub demand: Demand,
}

/// Where tensors are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Placed {
    /// In one arena.
    Arena(AllocationPlan),
    /// In an arena for each pool.
    Pools(PooledPlan),
    /// Nowhere: no distribution over the pools fits, or none was found. The report's `refusal` says which and why.
    Nowhere,
}

/// A picture of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanPicture {
    /// The pool that is drawn, where there are several.
    pub pool: Option<String>,
    /// A standalone SVG.
    pub svg: String,
}

impl PlanAnswer {
    /// Whether there is a plan, within the capacity where one was given. A plan that was not found, while none was proven
    /// impossible, is a no.
    pub fn is_yes(&self) -> bool {
        self.report.feasible == Some(true)
    }

    /// Writes the lifetimes with their offsets, in bytes, as CSV: the input's columns where it was one lifetime table. Writes
    /// nothing when nothing was placed.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_offsets(&self, into: impl Write) -> io::Result<()> {
        match (&self.placed, &self.demand.table) {
            (Placed::Arena(plan), Some(rows)) => rows.write_with_offsets(&plan.offsets, into),
            (Placed::Arena(plan), None) => table::write_plan(plan, into),
            (Placed::Pools(pooled), _) => table::write_pools(pooled, into),
            (Placed::Nowhere, _) => Ok(()),
        }
    }

    /// The lifetimes as a workload in TOML, to be run or edited. `heading` is a comment on its first line; `name` is what the
    /// workload is to be called, when not as its file is.
    pub fn workload_toml(&self, name: Option<&str>, heading: &str) -> String {
        let Some(name) = name else { return to_toml(&self.demand, heading) };
        let mut demand = self.demand.clone();
        demand.name = name.to_owned();
        to_toml(&demand, heading)
    }

    /// The plan drawn, a picture for each pool.
    ///
    /// # Errors
    /// None but a fault of this crate.
    pub fn pictures(&self) -> Result<Vec<PlanPicture>, AskError> {
        let draw = |plan: &AllocationPlan, pool: Option<&str>| {
            let options = ReportOptions { with_tensors: true, ..ReportOptions::default() };
            let svg = plan_svg(&plan_document(&PlanReport::new(plan, &options))?);
            Ok(PlanPicture { pool: pool.map(str::to_owned), svg })
        };
        match &self.placed {
            Placed::Arena(_) => {
                Ok(vec![PlanPicture { pool: None, svg: plan_svg(&plan_document(&self.report)?) }])
            }
            Placed::Pools(pooled) => {
                pooled.pools.iter().map(|(pool, plan)| draw(plan, Some(&pool.name))).collect()
            }
            Placed::Nowhere => Ok(Vec::new()),
        }
    }
}
