//! `vramkit schema`.

use crate::args::SchemaOptions;
use crate::caller::Caller;
use crate::failure::Failure;

pub fn run(options: &SchemaOptions, caller: &mut Caller) -> Result<bool, Failure> {
    caller.json(&options.name.schema())?;
    Ok(true)
}
