//! A pool that others have filled: what has no room fails by itself, and goes on when there is room again.

use vramkit::ByteSize;
use vramkit::pool::{PoolError, Purpose, Request};

use super::finding::{Finding, Tried};
use crate::question::StressError;
use crate::subject::{NAME, Subject, run};

const DECODED: usize = 8;

/// Filled to 99 % and more, a sequence that has no room fails with a typed error; when the filling is gone, it says what it said before.
pub(super) fn full(subject: &Subject, tried: Tried) -> Result<Finding, StressError> {
    let context = subject.short();
    let config = subject.config(context);
    let pool = subject.pool("fill_and_recover", &config, 1.0)?;
    let engine = subject.engine(NAME, &pool, config)?;
    let prompt = [subject.prompt(context - DECODED, 20)];
    let before = run(&engine, &prompt, DECODED, &mut |_| Ok(()))?.remove(0);

    let used = pool.used();
    let owner = pool.owner("filling", Purpose::Other);
    let mut filling = Vec::new();
    let mut size = pool.capacity().bytes() / 8;
    // To the last unit: what has no room then is short of it whatever it takes.
    while size >= Request::ALIGNMENT {
        match pool.allocate(Request::new(ByteSize::new(size)).owner(owner)) {
            Ok(memory) => filling.push(memory),
            Err(PoolError::OutOfMemory(_)) => size /= 2,
            Err(other) => return Err(other.into()),
        }
    }
    let filled = 100.0 * pool.used_fraction();
    let meanwhile = run(&engine, &prompt, DECODED, &mut |_| Ok(()))?.remove(0);
    if tried == Tried::Sound {
        filling.clear();
    }
    let after = run(&engine, &prompt, DECODED, &mut |_| Ok(()))?.remove(0);
    drop(filling);
    let left = pool.used();

    let passed = filled >= 99.0
        && before.failed.is_none()
        && meanwhile.is_out_of_cache
        && after == before
        && left == used;
    let said = |failed: &Option<String>| failed.clone().unwrap_or_else(|| "its text".to_owned());
    let detail = format!(
        "filled, a sequence of {context} tokens got: {}; with room again: {}",
        said(&meanwhile.failed),
        said(&after.failed)
    );
    Ok(Finding::new(passed, filled, 99.0, detail))
}
