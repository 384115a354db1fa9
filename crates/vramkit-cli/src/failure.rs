//! Why the program ends without an answer, and with which exit status.

use std::io;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use vramkit_ask::{AdapterError, AskError, LoadError, QuestionError, ValidateError};
use vramkit_serve::ServeError;
use vramkit_watch::record::{ReadRecordError, RecordError};

use crate::hints::{in_options, in_recording, in_serving};
use crate::printable::printable;

/// See the exit statuses in [`main`](crate).
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A question has no answer.
    #[error("{}", in_options(.0))]
    Ask(#[from] AskError),
    /// A recording cannot be read.
    #[error("{}", in_recording(.0))]
    Record(#[from] ReadRecordError),
    /// A recording cannot be begun.
    #[error(transparent)]
    Recorder(#[from] RecordError),
    /// Nothing can be served.
    #[error("{}", in_serving(.0))]
    Serve(#[from] ServeError),
    /// What was asked for cannot be done.
    #[error("{0}")]
    Input(String),
    /// Machines that were asked do not answer.
    #[error("no answer: {0}")]
    Silent(String),
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

impl From<QuestionError> for Failure {
    fn from(error: QuestionError) -> Self {
        Self::Ask(error.into())
    }
}

/// Letters of an error that are shown.
const LETTERS: usize = 8000;

impl Failure {
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit status.
    pub fn exit_status(&self) -> u8 {
        match self {
            failure if failure.is_broken_pipe() => 0,
            Self::Ask(AskError::DeviceUnavailable { .. }) | Self::Silent(_) => 3,
            Self::Ask(AskError::Validate(ValidateError::Stopped { .. })) => 130,
            Self::Ask(AskError::Validate(ValidateError::Engine(error)))
                if matches!(**error, AdapterError::OutOfCache { .. }) =>
            {
                1
            }
            Self::Ask(AskError::Validate(ValidateError::Load(error)))
                if matches!(**error, LoadError::InsufficientVram { .. }) =>
            {
                1
            }
            // It does not fit: an answer, and it is no.
            Self::Ask(AskError::Load(error)) if matches!(**error, LoadError::InsufficientVram { .. }) => 1,
            Self::Ask(AskError::Engine(error)) if matches!(**error, AdapterError::OutOfCache { .. }) => 1,
            _ => 2,
        }
    }

    /// Says why, on stderr.
    pub fn print(&self) {
        // It was asked to stop.
        if let Self::Ask(AskError::Validate(stopped @ ValidateError::Stopped { .. })) = self {
            return anstream::eprintln!("{}", printable(&stopped.to_string()));
        }
        if !self.is_broken_pipe() {
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            // A stranger's name may be as long as a file.
            let text = self.to_string();
            let end = text.char_indices().nth(LETTERS).map(|(end, _)| end);
            let (shown, more) = (&text[..end.unwrap_or(text.len())], if end.is_some() { "…" } else { "" });
            anstream::eprintln!("{red}error:{red:#} {}{more}", printable(shown));
        }
    }
}
