//! The `vramkit` program, as a library: for itself, and for what has the program in itself, such as the Python package.
//!
//! Options in, a question to `vramkit-ask`, its answer out: [`program`] prints it as text or JSON and says the exit status,
//! [`ask`] returns the JSON document. Data goes to stdout, everything else to stderr. Exit status: 0 done and the answer is yes; 1
//! done and the answer is no; 2 bad usage or bad input; 3 the device or driver asked for is not here; 130 a signal ended what
//! can be gone on with. A reader that closes the pipe early is not an error.
//!
//! ```
//! let asked = vramkit_cli::ask(&["devices", "--json"], Vec::new(), Default::default()).expect("there is always main memory");
//! assert!(asked.document.starts_with(br#"{"schema":"vramkit.devices/1""#));
//! ```

mod args;
mod caller;
mod capacity_text;
mod commands;
mod describe;
mod failure;
mod fit_sets_text;
mod fit_text;
mod heap;
mod hints;
mod interrupt;
mod log;
mod output;
mod plan_text;
mod printable;
mod progress;
mod run_text;
mod token;
mod top_text;
mod validate_text;

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;

use args::{Cli, Command};
use caller::Caller;
use failure::Failure;

pub use describe::{CommandShape, OptionShape, commands};

/// What a question was answered with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asked {
    /// The JSON document, as `--json` prints it; empty of a command that has none.
    pub document: Vec<u8>,
    /// Whether the answer is yes.
    pub is_yes: bool,
    /// What a person should know beside it.
    pub notes: Vec<String>,
}

/// A question that has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Unanswered {
    /// What stands in the way, and the way out.
    pub message: String,
    /// The program's exit status for it: 1 it does not fit, 2 bad usage or bad input, 3 no such device, 130 interrupted.
    pub status: u8,
}

/// Runs the program on arguments, the program's own name first, and returns its exit status. `again` are the words that start the
/// program once more, for what it does in another process; without any, it is the running program.
pub fn program(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>, again: Vec<OsString>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is no error.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    log::start();
    match run(&cli.command, &mut Caller::program(again)) {
        Ok(is_yes) => u8::from(!is_yes),
        Err(failure) => {
            failure.print();
            failure.exit_status()
        }
    }
}

/// Answers one command's question, `--json` among its arguments, without printing anything or handling a signal: files that options
/// name are written. What `interrupted` raises ends a search with the best so far, or a run that can be gone on with.
///
/// # Errors
/// Arguments that make no command, and everything that ends the program with a status other than yes or no.
pub fn ask(
    arguments: &[impl AsRef<OsStr>],
    again: Vec<OsString>,
    interrupted: Arc<AtomicBool>,
) -> Result<Asked, Unanswered> {
    let words =
        std::iter::once("vramkit".into()).chain(arguments.iter().map(|word| word.as_ref().to_owned()));
    let cli = Cli::try_parse_from(words).map_err(|error| {
        let text = error.render().to_string();
        let message = text.trim_start_matches("error: ").split("\n\nUsage:").next().unwrap_or_default();
        Unanswered { message: message.trim_end().to_owned(), status: 2 }
    })?;
    let is_question = match &cli.command {
        Command::Top(options) => options.once,
        Command::Serve(_) | Command::Completions(_) | Command::ChatTemplate | Command::TakeMemory { .. } => {
            false
        }
        _ => true,
    };
    if !is_question {
        let message = "this command answers no question: start it as a program".to_owned();
        return Err(Unanswered { message, status: 2 });
    }
    let mut caller = Caller::library(again, interrupted);
    let is_yes = run(&cli.command, &mut caller)
        .map_err(|failure| Unanswered { message: failure.to_string(), status: failure.exit_status() })?;
    let (document, notes) = caller.into_document();
    Ok(Asked { document, is_yes, notes })
}

fn run(command: &Command, caller: &mut Caller) -> Result<bool, Failure> {
    match command {
        Command::Fit(options) => commands::fit::run(options, caller),
        Command::Generate(options) => commands::generate::run(options, caller),
        Command::Plan(options) => commands::plan::run(options, caller),
        Command::Run(options) => commands::run::run(options, caller),
        Command::Stress(options) => commands::stress::run(options, caller),
        Command::Validate(options) => commands::validate::run(options, caller),
        Command::Report(options) => commands::report::run(options, caller),
        Command::Replay(options) => commands::replay::run(options, caller),
        Command::Capacity(options) => commands::capacity::run(options, caller),
        Command::Devices(options) => commands::devices::run(options, caller),
        Command::Top(options) => commands::top::run(options, caller),
        Command::Serve(options) => commands::serve::run(options),
        Command::Schema(options) => commands::schema::run(options, caller),
        Command::Completions(options) => commands::completions::run(options, caller),
        Command::ChatTemplate => commands::generate::render(),
        Command::TakeMemory { size } => commands::stress::take(*size, caller),
    }
}
