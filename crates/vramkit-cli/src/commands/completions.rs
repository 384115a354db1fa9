//! `vramkit completions`.

use clap::CommandFactory;

use crate::args::{Cli, CompletionsOptions};
use crate::failure::Failure;
use crate::output;

pub fn run(options: &CompletionsOptions) -> Result<bool, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "vramkit", &mut script);
    output::text(&String::from_utf8_lossy(&script))?;
    Ok(true)
}
