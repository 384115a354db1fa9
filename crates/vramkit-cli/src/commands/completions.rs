//! `vramkit completions`.

use clap::CommandFactory;

use crate::args::{Cli, CompletionsOptions};
use crate::caller::Caller;
use crate::failure::Failure;

pub fn run(options: &CompletionsOptions, caller: &mut Caller) -> Result<bool, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "vramkit", &mut script);
    caller.text(&String::from_utf8_lossy(&script))?;
    Ok(true)
}
