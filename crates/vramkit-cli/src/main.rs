//! The `vramkit` program: options in, a question to `vramkit-ask`, its answer out as text or JSON.
//!
//! Data goes to stdout, everything else to stderr. Exit status: 0 done and the answer is yes; 1 done and the
//! answer is no; 2 bad usage or bad input; 3 the device or driver asked for is not here;
//! 130 a signal ended what can be gone on with. A reader that closes the
//! pipe early is not an error.

mod args;
mod capacity_text;
mod commands;
mod failure;
mod fit_sets_text;
mod fit_text;
mod hints;
mod interrupt;
mod output;
mod plan_text;
mod printable;
mod progress;
mod run_text;
mod validate_text;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Fit(options) => commands::fit::run(&options),
        Command::Generate(options) => commands::generate::run(&options),
        Command::Plan(options) => commands::plan::run(&options),
        Command::Run(options) => commands::run::run(&options),
        Command::Stress(options) => commands::stress::run(&options),
        Command::Validate(options) => commands::validate::run(&options),
        Command::Report(options) => commands::report::run(&options),
        Command::Replay(options) => commands::replay::run(&options),
        Command::Capacity(options) => commands::capacity::run(&options),
        Command::Devices(options) => commands::devices::run(&options),
        Command::Top(options) => commands::top::run(&options),
        Command::Serve(options) => commands::serve::run(&options),
        Command::Schema(options) => commands::schema::run(&options),
        Command::Completions(options) => commands::completions::run(&options),
        Command::ChatTemplate => commands::generate::render(),
        Command::TakeMemory { size } => commands::stress::take(size),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            failure.print();
            failure.exit_code()
        }
    }
}
