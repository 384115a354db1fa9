//! Another process takes memory: the device says so, and nothing of the pool changes.

use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use vramkit::ByteSize;
use vramkit::device::{Device, HostDevice};

use super::finding::{Finding, Tried};
use crate::question::StressError;
use crate::subject::{self, Subject, run};

pub(super) const NAME: &str = "neighbour";

/// What the neighbour takes at most, and at least; in between a sixteenth of what is available.
const MOST: ByteSize = ByteSize::gib(1);
const LEAST: ByteSize = ByteSize::mib(64);
/// What of that must be seen: others take and give memory too, and a virtual machine hands pages to its host and back.
const SEEN: f64 = 0.5;
/// Readings that make one, the time before each, and how often one is made.
const READINGS: usize = 5;
const BETWEEN: Duration = Duration::from_millis(20);
const PATIENCE: usize = 20;

pub(super) fn neighbour(subject: &Subject, tried: Tried) -> Result<Finding, StressError> {
    let Some([program, arguments @ ..]) = subject.neighbour.as_deref() else {
        return Ok(Finding::new(false, 0.0, 0.0, "there is no program for it".to_owned()));
    };
    let system = |error: io::Error| StressError::System { what: "starting a neighbour", error };
    let config = subject.config(subject.short());
    let pool = subject.pool(NAME, &config, 1.0)?;
    let engine = subject.engine(subject::NAME, &pool, config)?;
    let prompt = [subject.prompt(32, 50)];
    let before = run(&engine, &prompt, 16, &mut |_| Ok(()))?;
    let (used, free) = (pool.used(), available());

    let share = ByteSize::new(free.bytes() / 16).clamp(LEAST, MOST);
    let takes = if tried == Tried::Faulty { ByteSize::ZERO } else { share };
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
    let limit = share.bytes() as f64 * SEEN;
    // The system's figure wavers while it hands pages about: it is asked until it holds.
    let mut fewer = ByteSize::ZERO;
    for _ in 0..PATIENCE {
        fewer = free.saturating_sub(available());
        if fewer.bytes() as f64 >= limit {
            break;
        }
    }
    let meanwhile = run(&engine, &prompt, 16, &mut |_| Ok(()));
    // It ends with its input.
    drop(input);
    let ended = child.wait().map_err(system)?;
    let meanwhile = meanwhile?;

    let same = meanwhile == before && pool.used() == used;
    let passed = same && fewer.bytes() as f64 >= limit && ended.success() && !line.is_empty();
    let detail = format!(
        "a neighbour took {takes}: {fewer} fewer available on the device; the pool granted {} before and after, {}",
        used,
        if same { "with the same text" } else { "and the text or the grant CHANGED" }
    );
    Ok(Finding::new(passed, fewer.bytes() as f64, limit, detail))
}

/// What the device says is available: the middle one of some readings.
fn available() -> ByteSize {
    let mut readings: Vec<ByteSize> = (0..READINGS)
        .map(|_| {
            thread::sleep(BETWEEN);
            HostDevice::with_available_memory().memory().free_bytes.value.unwrap_or(ByteSize::MAX)
        })
        .collect();
    readings.sort_unstable();
    readings[READINGS / 2]
}
