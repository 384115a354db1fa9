//! `vramkit schema`.

use schemars::{Schema, schema_for};
use vramkit::report::{DevicesReport, PlanReport, RunReport};
use vramkit_replay::ReplayReport;

use crate::args::{SchemaName, SchemaOptions};
use crate::failure::Failure;
use crate::output;

pub fn run(options: &SchemaOptions) -> Result<bool, Failure> {
    let schema: Schema = match options.name {
        SchemaName::Plan => schema_for!(PlanReport),
        SchemaName::Run => schema_for!(RunReport),
        SchemaName::Replay => schema_for!(ReplayReport),
        SchemaName::Capacity => schema_for!(super::capacity::Answer),
        SchemaName::Top => schema_for!(vramkit_watch::Tick),
        SchemaName::History => schema_for!(vramkit_watch::History),
        SchemaName::Devices => schema_for!(DevicesReport),
    };
    output::json(&schema)?;
    Ok(true)
}
