//! The other side of a chat template in a process of its own: renders, within limits of its process.
//!
//! In: a question of `apart`. Out: its answer. Whatever else becomes of this process is told by how it ended.

use std::io::{self, Read, Write};

use super::apart::{FAILED, OUT_OF_FUEL, PATIENCE, REFUSED, RENDERED, SYNTAX};
use super::error::TemplateError;
use super::message::Message;
use super::template::ChatTemplate;

/// Address space that the process has to render in, beside what it had at its start.
#[cfg(unix)]
const MEMORY: u64 = 1 << 30;

/// Reads one question of [`ChatTemplate::render_apart`], renders, and writes the answer. For the program that was started for it and does nothing else: on
/// Unix it bounds the memory of its process first.
///
/// # Errors
/// What comes in is no question, or the answer cannot be written.
pub fn answer_apart(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
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
