//! Why the program ends without an answer, and with which exit status.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use vramkit::orchestrator::RunError;
use vramkit_models::ReadError;
use vramkit_occupancy::OccupancyError;
use vramkit_replay::ReadTraceError;
use vramkit_serve::ServeError;
use vramkit_watch::record::ReadRecordError;

/// See the exit statuses in [`main`](crate).
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file is not what it should be.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file is no allocation trace.
    #[error(transparent)]
    Trace(#[from] ReadTraceError),
    /// A workload cannot be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A recording cannot be read.
    #[error(transparent)]
    Record(#[from] ReadRecordError),
    /// Nothing can be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// No risk can be told.
    #[error(transparent)]
    Occupancy(#[from] OccupancyError),
    /// What was asked for cannot be done.
    #[error("{0}")]
    Input(String),
    /// The device is not here.
    #[error("{0}")]
    NoDevice(String),
    /// A file cannot be written.
    #[error("cannot write `{}`: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Stdout(#[from] io::Error),
}

impl Failure {
    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit status.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            failure if failure.is_broken_pipe() => ExitCode::SUCCESS,
            Self::NoDevice(_) => ExitCode::from(3),
            _ => ExitCode::from(2),
        }
    }

    /// Says why, on stderr, and what to try.
    pub fn print(&self) {
        if !self.is_broken_pipe() {
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            let hint = hint(self).map_or_else(String::new, |hint| format!("; {hint}"));
            anstream::eprintln!("{red}error:{red:#} {self}{hint}");
        }
    }
}

/// What to do about a failure, in the program's words: libraries say what is missing and know no options.
fn hint(failure: &Failure) -> Option<String> {
    let hint = match failure {
        Failure::Serve(ServeError::TokenRequired(_)) => "give --token-file, or listen on 127.0.0.1",
        Failure::Serve(ServeError::Listen { .. }) => "is another one running? try --listen 127.0.0.1:0",
        Failure::Record(ReadRecordError::Line { .. }) => "recordings are written by `vramkit top --record`",
        _ => return None,
    };
    Some(hint.to_owned())
}
