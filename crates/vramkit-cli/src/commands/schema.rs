//! `vramkit schema`.

use crate::args::SchemaOptions;
use crate::failure::Failure;
use crate::output;

pub fn run(options: &SchemaOptions) -> Result<bool, Failure> {
    output::json(&options.name.schema())?;
    Ok(true)
}
