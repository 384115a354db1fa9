//! Another process takes memory: nothing of the pool changes, nor what the model says.

use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};

use vramkit::ByteSize;

use super::finding::{Finding, Tried};
use crate::question::StressError;
use crate::subject::{self, Subject, available, run};

pub(super) const NAME: &str = "neighbour";

/// What the neighbour takes.
const TAKES: ByteSize = ByteSize::mib(256);

/// The neighbour holds what it was to take, as the system sees it, and meanwhile grants and text are what they were.
pub(super) fn neighbour(subject: &Subject, tried: Tried) -> Result<Finding, StressError> {
    let system = |error: io::Error| StressError::System { what: "starting a neighbour", error };
    let Some([program, arguments @ ..]) = subject.neighbour.as_deref() else {
        return Err(system(io::Error::new(io::ErrorKind::NotFound, "no program is named for it")));
    };
    let config = subject.config(subject.short());
    let pool = subject.pool(NAME, &config, 1.0)?;
    let engine = subject.engine(subject::NAME, &pool, config)?;
    let prompt = [subject.prompt(32, 50)];
    let before = run(&engine, &prompt, 16, &mut |_| Ok(()))?;
    let (used, committed, free) = (pool.used(), pool.committed(), available().0);

    let takes = if tried == Tried::Faulty { ByteSize::ZERO } else { TAKES };
    let mut child = Command::new(program)
        .args(arguments)
        .arg(takes.bytes().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(system)?;
    let input = child.stdin.take();
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line).map_err(system)?;
    }
    if line.is_empty() {
        let _ = child.wait();
        return Err(system(io::Error::other(format!("it could not take {takes}"))));
    }
    // Where the system does not say, the neighbour's word is taken.
    let holds = resident(child.id()).unwrap_or(takes);
    let left = available().0;
    let meanwhile = run(&engine, &prompt, 16, &mut |_| Ok(()));
    // It ends with its input.
    drop(input);
    let ended = child.wait().map_err(system)?;
    let meanwhile = meanwhile?;

    let same = meanwhile == before && (pool.used(), pool.committed()) == (used, committed);
    let passed = same && holds >= TAKES && ended.success();
    let detail = format!(
        "{holds} in another process; {free} available on the device before, {left} beside it; the pool granted {used} before and \
         after, {}",
        if same { "with the same text" } else { "and the text or the grant CHANGED" }
    );
    Ok(Finding::new(passed, holds.bytes() as f64, TAKES.bytes() as f64, detail))
}

/// What a process has in memory, where the system lists it.
fn resident(process: u32) -> Option<ByteSize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(ByteSize::new(kibibytes.saturating_mul(1024)))
}
