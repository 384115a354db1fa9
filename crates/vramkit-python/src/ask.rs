//! The program inside of Python: its questions as calls that return documents, itself under `python -m vramkit`, its commands as data, and
//! its drawings.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use vramkit_ask::Drawing;
use vramkit_cli::{Asked, Unanswered};

use crate::errors;

/// How often signals of Python's are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a question that was interrupted may take to end with what it has.
const LONGEST: Duration = Duration::from_secs(2);

/// How the program is started once more, for what it does in another process.
fn again(py: Python<'_>) -> PyResult<Vec<OsString>> {
    let executable: OsString = py.import("sys")?.getattr("executable")?.extract()?;
    Ok(vec![executable, "-m".into(), "vramkit".into()])
}

/// Answers a question of the program's: the document as JSON, whether the answer is yes, and notes. Without the interpreter's lock; Ctrl-C
/// ends it.
#[pyfunction]
#[pyo3(signature = (arguments, /))]
pub fn ask(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<(String, bool, Vec<String>)> {
    let again = again(py)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = channel::<Result<Asked, Unanswered>>();
    let receiver = Mutex::new(receiver);
    let flag = interrupted.clone();
    // Threads that Python starts may have small stacks.
    let worker = std::thread::Builder::new().name("vramkit-ask".into()).stack_size(16 << 20);
    worker.spawn(move || {
        let _ = sender.send(vramkit_cli::ask(&arguments, again, flag));
    })?;
    let mut stopped: Option<(PyErr, Instant)> = None;
    let outcome = loop {
        match py.detach(|| receiver.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(LOOK)) {
            Ok(outcome) => break outcome,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err(
                    "the question ended without an answer: see standard error",
                ));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        match &stopped {
            None => {
                if let Err(error) = py.check_signals() {
                    interrupted.store(true, Relaxed);
                    stopped = Some((error, Instant::now()));
                }
            }
            Some((error, at)) if at.elapsed() > LONGEST => return Err(error.clone_ref(py)),
            Some(_) => {}
        }
    };
    if let Some((error, _)) = stopped {
        return Err(error);
    }
    match outcome {
        Ok(asked) => {
            let document = String::from_utf8(asked.document)
                .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
            Ok((document, asked.is_yes, asked.notes))
        }
        Err(unanswered) => {
            let class = match unanswered.status {
                1 => "DoesNotFitError",
                3 => "DeviceUnavailableError",
                _ => "QuestionError",
            };
            Err(errors::raised(py, class, &unanswered.message, &[("status", unanswered.status.into())]))
        }
    }
}

/// The program, with the arguments behind its name: its exit status.
#[pyfunction]
#[pyo3(signature = (arguments, /))]
pub fn main(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<u8> {
    let again = again(py)?;
    let words = std::iter::once(OsString::from("vramkit")).chain(arguments);
    Ok(py.detach(|| vramkit_cli::program(words, again)))
}

/// The program's commands with their options, as JSON.
#[pyfunction]
pub fn commands() -> PyResult<String> {
    serde_json::to_string(&vramkit_cli::commands())
        .map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

/// Draws documents of the program (JSON): the picture as SVG, or `None` where there is none of them.
#[pyfunction]
#[pyo3(signature = (documents, /))]
pub fn draw(py: Python<'_>, documents: Vec<String>) -> PyResult<String> {
    py.detach(|| {
        let documents: Result<Vec<_>, _> = documents.iter().map(|text| serde_json::from_str(text)).collect();
        let documents = documents.map_err(|error| PyValueError::new_err(error.to_string()))?;
        let drawing = Drawing::of(&documents).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(drawing.svg().to_owned())
    })
}
