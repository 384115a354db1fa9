//! Do a tag's old bytes grow, and will they ever go? Judged on one lane's blocks, by shape and by survival.
//!
//! Old bytes *grow* when they rise evenly, are at their highest and do not slow, and those twice as old and all of them rise
//! with them. They *survive* when at least nine tenths of what passes an age reach twice that age, and next to nothing is
//! released beyond it: what dies on the way is a load of longer lives, and what is released later has a lifetime that is
//! known. If they survive where the tag's own lives are known to be shorter, since most of what was ever made has been
//! released before that age, what is left over has been forgotten: a leak is suspected. If nothing is known of how long such
//! bytes live, because nothing of the kind has been released, they may be a cache's that fills: the tag retains.

use super::ages::{self, Totals};
use super::floors::FLOORS;
use super::shape;
use super::track::{Block, KEPT, LANE_AGES, block_seconds, place};

/// What is asked of the old bytes: the smallest of five rises over their mean, and the last third's rise of the one
/// before.
const EVENNESS: f64 = 0.4;
const SATURATION: f64 = 0.7;
/// Bytes twice as old must rise by this part of the old ones' rise, and all bytes by this one.
const AGEING: f64 = 0.6;
const TOGETHER: f64 = 0.5;
/// Of bytes that pass an age, this part must reach twice that age, and no more than the rest of them may be released later.
const SURVIVAL: f64 = 0.9;
/// Of all that has ever passed an age, no more than this part may have been released since.
const MORTAL: f64 = 0.5;

/// What is made of bytes that grow old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// They stay, and nothing is known of how long such bytes live.
    Retains,
    /// They outlive what is known of such bytes.
    Leaks,
}

/// Bytes that grow old, at one age of a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    /// Which of the lane's ages.
    pub(super) age: usize,
    pub(super) bytes_per_second: f64,
}

/// What the blocks of a lane say of one of its ages, which is not the last.
pub(super) fn judge(
    lane: usize,
    age: usize,
    blocks: &[Block],
    totals: &Totals,
    least: f64,
) -> Option<Finding> {
    let slope = growth(blocks, age, least)?;
    let verdict = survival(lane, blocks, totals, age)?;
    Some(Finding { verdict, age, bytes_per_second: slope / block_seconds(lane) })
}

/// Of what a lane says of all its ages, what says the most, of the least age.
pub(super) fn clearest<T>(of_age: impl FnMut(usize) -> Option<(Finding, T)>) -> Option<(Finding, T)> {
    let findings = (0..LANE_AGES - 1).filter_map(of_age);
    findings.reduce(|first, other| if other.0.verdict > first.0.verdict { other } else { first })
}

/// By how much the bytes of an age rise a second.
pub(super) fn bytes_per_second(lane: usize, blocks: &[Block], age: usize) -> f64 {
    shape::theil_sen(&floors(blocks, |block| block.old[age])).0 / block_seconds(lane)
}

fn floors(blocks: &[Block], of: impl Fn(&Block) -> f64) -> Vec<f64> {
    blocks[blocks.len().saturating_sub(FLOORS)..].iter().map(of).collect()
}

/// The slope of the bytes of an age in bytes a block, when they grow.
fn growth(blocks: &[Block], age: usize, least: f64) -> Option<f64> {
    let old = floors(blocks, |block| block.old[age]);
    let slope_of = |of: &dyn Fn(&Block) -> f64| shape::theil_sen(&floors(blocks, of)).0;
    let (slope, _) = shape::theil_sen(&old);
    let grows = slope * FLOORS as f64 >= least
        && shape::is_record(&old)
        && shape::evenness(&old).0 >= EVENNESS
        && shape::saturation(&old) >= SATURATION
        && slope_of(&|block| block.old[age + 1]) >= AGEING * slope
        && slope_of(&|block| block.all) >= TOGETHER * slope
        && shape::goes_on(&old);
    grows.then_some(slope)
}

/// What is known of bytes of an age that grow; `None` when they are known to go.
fn survival(lane: usize, blocks: &[Block], totals: &Totals, age: usize) -> Option<Verdict> {
    let (first, last) = (blocks.first()?, blocks.last()?);
    let passed = last.passed[age] - first.passed[age];
    let released = last.released[age] - first.released[age];
    if released > (1.0 - SURVIVAL) * passed.max(0.0) || is_mortal(totals, place(lane, age)) {
        return None;
    }
    // Those that pass the age early enough have had the time to reach twice that age. At an age of more than half a window
    // there are none, and what is released beyond it says it alone.
    let shift = (ages::seconds(place(lane, age)) / block_seconds(lane)).round() as usize;
    if 2 * shift < KEPT {
        let (from, to) = (blocks.get(shift)?, blocks.get(KEPT - 1 - shift)?);
        let cohort = to.passed[age] - first.passed[age];
        if last.passed[age + 1] - from.passed[age + 1] < SURVIVAL * cohort {
            return None;
        }
    }
    Some(if totals.is_released_before(place(lane, age)) { Verdict::Leaks } else { Verdict::Retains })
}

/// Whether most of what has ever passed an age has been released since: it has a lifetime, and a longer one.
fn is_mortal(totals: &Totals, at: usize) -> bool {
    let gone = totals.ever_released(at);
    gone > MORTAL * (gone + totals.live[at])
}

/// Whether the releases of others say nothing about what passes an age: its own lifetime is known to be longer, or nothing is
/// known of it, as of a cache that fills.
pub(super) fn stands_alone(lane: usize, totals: &Totals, age: usize) -> bool {
    let at = place(lane, age);
    is_mortal(totals, at) || !totals.is_released_before(at)
}
