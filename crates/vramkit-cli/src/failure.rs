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

    /// Says why, on stderr.
    pub fn print(&self) {
        if !self.is_broken_pipe() {
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            let hint = hint(self).unwrap_or_default();
            anstream::eprintln!("{red}error:{red:#} {self}{hint}");
        }
    }
}

/// Which option supplies what a library says is missing, to be put after its words.
fn hint(failure: &Failure) -> Option<String> {
    let Failure::Read(error) = failure else { return None };
    match error {
        ReadError::MissingDimension { name, .. } => Some(format!("; give its size with --dim {name}=N")),
        ReadError::DimensionTooLarge { name, .. } => {
            Some(format!("; give a smaller one with --dim {name}=N"))
        }
        ReadError::KvShapeUnknown { .. } => Some("; give --layers, --kv-heads and --head-dim".to_owned()),
        ReadError::BadRow { .. } => Some(" (--skip-bad-rows leaves such rows out)".to_owned()),
        _ => None,
    }
}
