//! Loading, decoding and unloading again and again leaves nothing.

use vramkit::ByteSize;
use vramkit::device::HostDevice;

use super::finding::{Finding, Tried};
use crate::question::StressError;
use crate::subject::{NAME, Subject, run};

const CYCLES: usize = 10;

/// After each of ten cycles the pool grants nothing, and at most one granule is committed as the pool and as the system say.
pub(super) fn cycles(subject: &Subject, tried: Tried) -> Result<Finding, StressError> {
    let config = subject.config(subject.short());
    let pool = subject.pool("load_cycles", &config, if tried == Tried::Faulty { 3.0 } else { 1.0 })?;
    let mut left = Vec::new();
    let (mut worst_used, mut worst_committed, mut worst_resident) = (0, 0, 0);
    let mut first: Option<Vec<u32>> = None;
    let mut same = true;
    for _ in 0..CYCLES {
        let engine = subject.engine(NAME, &pool, config.clone())?;
        let said = run(&engine, &[subject.prompt(32, 5)], 16, &mut |_| Ok(()))?.remove(0);
        same &= first.get_or_insert_with(|| said.tokens.clone()) == &said.tokens && said.failed.is_none();
        if tried == Tried::Faulty {
            left.push(subject.leave_block(&pool, &engine)?);
        }
        engine.unload();
        worst_used = worst_used.max(pool.used().bytes());
        worst_committed = worst_committed.max(pool.committed().bytes());
        worst_resident = worst_resident.max(pool.resident().value.map_or(0, ByteSize::bytes));
    }
    let granule = HostDevice::GRANULARITY.bytes();
    let passed = same && worst_used == 0 && worst_committed <= granule && worst_resident <= granule;
    let detail = format!(
        "{CYCLES} cycles, the same text {}; at most {worst_used} bytes granted after one, {worst_committed} committed, {worst_resident} \
         seen by the system (a granule is {granule})",
        if same { "each time" } else { "NOT each time" }
    );
    Ok(Finding::new(passed, worst_used as f64 / CYCLES as f64, 0.0, detail))
}
