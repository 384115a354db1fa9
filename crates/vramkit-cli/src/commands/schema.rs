//! `vramkit schema`.

use vramkit_ask::Document;

use crate::args::SchemaOptions;
use crate::failure::Failure;
use crate::output;

pub fn run(options: &SchemaOptions) -> Result<bool, Failure> {
    output::json(&Document::from(options.name).schema())?;
    Ok(true)
}
