//! A chat template in a process of its own.
//!
//! In: a template, messages, and the program that renders. Out: text, or that the process did not end as it should. A file's template
//! is a program by a stranger, and the template engine bounds its steps, not how deep its values and expressions go, nor values that
//! are made when they are looked at: it can overflow a stack, which no program survives. The process that renders has a limit of
//! memory and of time, and only it ends.
//!
//! ```text
//! asks:    source, BOS, EOS, messages ──► fields with their lengths ──► standard input
//! answers: standard output ──► one byte of what it is, text
//! ```

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::error::TemplateError;
use super::message::Message;

/// What rendering may take: a template of a published model takes some milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What helps against a template that cannot be rendered.
const PLAIN: &str = "give the model plain text if the file is not to be trusted";

pub(super) const RENDERED: u8 = 0;
pub(super) const REFUSED: u8 = 1;
pub(super) const FAILED: u8 = 2;
pub(super) const SYNTAX: u8 = 3;
pub(super) const OUT_OF_FUEL: u8 = 4;

/// Has `renderer` render the template: a program whose standard input and output are handed to [`answer_apart`](super::answer_apart).
pub(super) fn ask(
    renderer: &mut Command,
    template: [&str; 3],
    messages: &[Message],
    add_generation_prompt: bool,
) -> Result<String, TemplateError> {
    let failed = |reason: String| TemplateError::Apart(reason);
    let mut question = Vec::new();
    question.push(u8::from(add_generation_prompt));
    let said = messages.iter().flat_map(|message| [message.role.as_str(), message.content.as_str()]);
    for field in template.into_iter().chain(said) {
        question.extend_from_slice(&(field.len() as u64).to_le_bytes());
        question.extend_from_slice(field.as_bytes());
    }
    let mut child = renderer
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(format!("it could not be started: {error}")))?;
    let (done, answered) = mpsc::channel();
    if let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) {
        let sender = thread::Builder::new().spawn(move || {
            // A process that ended does not read; how it ended says why.
            let written = input.write_all(&question);
            drop(input);
            let mut answer = Vec::new();
            let read = output.read_to_end(&mut answer);
            let _ = done.send(written.and(read).map(|_| answer));
        });
        // Without it nothing is sent, and the wait ends at once.
        if let Err(error) = sender {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(format!("no thread for it: {error}")));
        }
    }
    let answer = answered.recv_timeout(PATIENCE);
    if answer.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    let answer = match answer {
        Ok(answer) => answer,
        Err(_) => return Err(failed(format!("it takes longer than {} s; {PLAIN}", PATIENCE.as_secs()))),
    };
    if !status.success() {
        return Err(failed(format!("its process ended by itself ({status}); {PLAIN}")));
    }
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    let Some((&kind, text)) = answer.split_first() else {
        return Err(failed("it gave no answer".to_owned()));
    };
    let text = String::from_utf8_lossy(text).into_owned();
    match kind {
        RENDERED => Ok(text),
        REFUSED => Err(TemplateError::Refused(text)),
        SYNTAX => Err(TemplateError::Syntax(text)),
        OUT_OF_FUEL => Err(TemplateError::OutOfFuel { fuel: text.parse().unwrap_or_default() }),
        _ => Err(TemplateError::Failed(text)),
    }
}
