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

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::error::TemplateError;
use super::template::{ChatTemplate, Message};

/// What rendering may take: a template of a published model takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// Address space that the process has to render in, beside what it had at its start.
#[cfg(unix)]
const MEMORY: u64 = 1 << 30;

/// What helps against a template that cannot be rendered.
const PLAIN: &str = "give the model plain text if the file is not to be trusted";

const RENDERED: u8 = 0;
const REFUSED: u8 = 1;
const FAILED: u8 = 2;
const SYNTAX: u8 = 3;
const OUT_OF_FUEL: u8 = 4;

/// Has `renderer` render the template: a program whose standard input and output are handed to [`answer`].
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

/// Reads one question of [`ask`], renders, and writes the answer. For the program that was started for it and does nothing else: on
/// Unix it bounds the memory of its process first.
///
/// # Errors
/// What comes in is no question, or the answer cannot be written.
pub fn answer(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut question = Vec::new();
    input.read_to_end(&mut question)?;
    let no_question = || io::Error::new(io::ErrorKind::InvalidData, "no question of a chat template");
    let (&add_generation_prompt, mut rest) = question.split_first().ok_or_else(no_question)?;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk().ok_or_else(no_question)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| no_question())?;
        let (field, behind) = behind.split_at_checked(length).ok_or_else(no_question)?;
        fields.push(std::str::from_utf8(field).map_err(|_| no_question())?);
        rest = behind;
    }
    let ([source, bos, eos], said) = fields.split_first_chunk().ok_or_else(no_question)?;
    let messages: Vec<Message> = said.chunks_exact(2).map(|pair| Message::new(pair[0], pair[1])).collect();
    limit();
    let rendered = ChatTemplate::new(source, bos, eos)
        .and_then(|template| template.render(&messages, add_generation_prompt != 0));
    let (kind, text) = match rendered {
        Ok(text) => (RENDERED, text),
        Err(TemplateError::Refused(reason)) => (REFUSED, reason),
        Err(TemplateError::Failed(reason)) => (FAILED, reason),
        Err(TemplateError::Syntax(reason)) => (SYNTAX, reason),
        Err(TemplateError::OutOfFuel { fuel }) => (OUT_OF_FUEL, fuel.to_string()),
        Err(other) => (FAILED, other.to_string()),
    };
    output.write_all(&[kind])?;
    output.write_all(text.as_bytes())?;
    output.flush()
}

/// Bounds what this process may take, and ends it with the one that asked. Best effort: a limit that cannot be set leaves the others.
#[cfg(unix)]
fn limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let taken = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|pages| pages.split(' ').next()?.parse::<u64>().ok())
        .map_or(0, |pages| pages * rustix::param::page_size() as u64);
    for (resource, most) in [(Resource::As, taken + MEMORY), (Resource::Cpu, PATIENCE.as_secs() + 1)] {
        let before = getrlimit(resource);
        let most = most.min(before.current.unwrap_or(u64::MAX));
        let _ = setrlimit(resource, Rlimit { current: Some(most), ..before });
    }
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

#[cfg(not(unix))]
fn limit() {}
