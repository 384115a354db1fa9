//! Who asks: the program that a person started, or another program that has this one in itself and wants documents.
//!
//! Commands say everything through a caller. The program prints it; another program gets the document and the notes as values,
//! and nothing is printed, no signal is handled and no bar is drawn.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anstream::adapter::strip_str;
use serde::Serialize;

use crate::failure::Failure;
use crate::interrupt;
use crate::progress::Progress;

/// Who asks.
#[derive(Debug)]
pub struct Caller {
    again: Vec<OsString>,
    kept: Option<Kept>,
}

/// What another program gets.
#[derive(Debug)]
struct Kept {
    document: Vec<u8>,
    notes: Vec<String>,
    interrupted: Arc<AtomicBool>,
}

impl Caller {
    /// The program. `again` starts it once more, with a command behind; empty where it is found by itself.
    pub fn program(again: Vec<OsString>) -> Self {
        Self { again, kept: None }
    }

    /// Another program, whose flag ends what can be ended.
    pub fn library(again: Vec<OsString>, interrupted: Arc<AtomicBool>) -> Self {
        let kept = Kept { document: Vec::new(), notes: Vec::new(), interrupted };
        Self { again, kept: Some(kept) }
    }

    /// Whether a person may read along.
    pub fn is_program(&self) -> bool {
        self.kept.is_none()
    }

    /// A result, as JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        match &mut self.kept {
            Some(kept) => Ok(serde_json::to_writer(&mut kept.document, value).map_err(io::Error::from)?),
            None => {
                let mut out = BufWriter::new(io::stdout().lock());
                serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
                Ok(out.flush()?)
            }
        }
    }

    /// Text, with its colours where the terminal shows them.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        if self.is_program() {
            let mut out = anstream::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
        Ok(())
    }

    /// What a person should know beside the data: a line for standard error.
    pub fn note(&mut self, text: &str) -> Result<(), Failure> {
        match &mut self.kept {
            Some(kept) => kept.notes.push(strip_str(text).to_string().trim_end().to_owned()),
            None => anstream::stderr().lock().write_all(text.as_bytes())?,
        }
        Ok(())
    }

    /// A bar for something called so, on a terminal alone.
    pub fn progress(&self, message: &'static str) -> Arc<Progress> {
        let is_shown = self.is_program() && io::stderr().is_terminal();
        Progress::new(message, is_shown, self.kept.as_ref().map(|kept| kept.interrupted.clone()))
    }

    /// As [`progress`](Self::progress), for what a signal ends with what there is so far.
    pub fn interruptible(&self, message: &'static str) -> Arc<Progress> {
        let is_shown = self.is_program() && io::stderr().is_terminal();
        Progress::new(message, is_shown, Some(self.interrupted()))
    }

    /// Raised to end what can be ended. In the program, signals raise it from now on.
    pub fn interrupted(&self) -> Arc<AtomicBool> {
        self.kept.as_ref().map_or_else(interrupt::flag, |kept| kept.interrupted.clone())
    }

    /// How this program is started once more for one of its commands.
    pub fn again(&self, command: &str) -> Result<Vec<OsString>, Failure> {
        let mut words = self.again.clone();
        if words.is_empty() {
            let program = env::current_exe()
                .map_err(|error| Failure::Input(format!("cannot find this program again: {error}")))?;
            words.push(program.into());
        }
        words.push(command.into());
        Ok(words)
    }

    /// The document and the notes for another program.
    pub fn into_document(self) -> (Vec<u8>, Vec<String>) {
        self.kept.map_or_else(Default::default, |kept| (kept.document, kept.notes))
    }
}
