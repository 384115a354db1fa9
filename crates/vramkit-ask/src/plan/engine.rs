//! What an engine plans for graphs by its own rules, beside what the same tensors take as they are planned here.

use std::time::Duration;

use vramkit::plan::report::EngineReport;
use vramkit::plan::{MemoryPlanner, Schedule};
use vramkit_models::Demand;
use vramkit_models::onnx::RuntimeLevel;

use super::question::PlanEngine;
use crate::error::AskError;

/// For each model of a demand, in order; none for those that come from no graph. All have `time` for their searches.
pub(super) fn plans(
    engine: PlanEngine,
    demand: &Demand,
    planner: impl Fn(Duration) -> MemoryPlanner,
    time: Duration,
) -> Result<Vec<Option<EngineReport>>, AskError> {
    let PlanEngine::OnnxRuntime(level) = engine;
    let runs = demand.as_run(level)?;
    let graphs = u32::try_from(runs.iter().flatten().count()).unwrap_or(u32::MAX).max(1);
    let one = |run: Option<_>| {
        let Some((pattern, model)) = run else { return Ok(None) };
        let plan = planner(time / graphs).plan(&[model], Schedule::Fixed);
        let plan = plan.map_err(|error| AskError::Lifetimes { files: demand.name.clone(), error })?;
        let vramkit_models::onnx::RuntimePattern { size, doubts, .. } = pattern;
        Ok(Some(EngineReport {
            name: "ONNX Runtime".to_owned(),
            level: words(level),
            pattern_bytes: size,
            planned_bytes: plan.arena_size,
            doubts: doubts.into_iter().map(str::to_owned).collect(),
        }))
    };
    runs.into_iter().map(one).collect()
}

fn words(level: RuntimeLevel) -> String {
    match level {
        RuntimeLevel::Basic => "basic, sizes fixed as it loads".to_owned(),
        RuntimeLevel::Extended => "extended, sizes fixed as it loads".to_owned(),
        RuntimeLevel::All { block } => {
            format!("all, convolutions of {block} channels at a time, sizes fixed as it loads")
        }
        _ => "unknown".to_owned(),
    }
}
