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

#[cfg(test)]
mod tests {
    use super::super::ages::Sample;
    use super::*;

    /// A lane's blocks in which so much passes an age and twice that age in each, and so much is released at the end.
    fn blocks(passed: f64, twice: f64, released: f64, age: usize) -> Vec<Block> {
        let block = |i: usize| {
            let mut block = Block::default();
            (block.passed[age], block.passed[age + 1]) = (passed * i as f64, twice * i as f64);
            block.released[age] = if i + 1 == KEPT { released } else { 0.0 };
            block
        };
        (0..KEPT).map(block).collect()
    }

    /// Of what lives, so much is older than the first age, and so much was released, of which so much beyond it.
    fn totals(live: [f64; 2], released: [f64; 2]) -> Totals {
        let mut sample = Sample::default();
        (sample.live[0], sample.live[1]) = (live[0], live[1]);
        (sample.released[0], sample.released[1]) = (released[0], released[1]);
        Totals::new(&sample)
    }

    #[test]
    fn what_is_released_beyond_an_age_or_does_not_reach_twice_it_is_known_to_go() {
        let short_lived = totals([100.0, 100.0], [1000.0, 0.0]);
        let judged = |blocks: &[Block], age: usize| survival(0, blocks, &short_lived, age);
        // 300 pass the age; more than a tenth of them is released.
        assert_eq!(judged(&blocks(10.0, 10.0, 29.0, 0), 0), Some(Verdict::Leaks));
        assert_eq!(judged(&blocks(10.0, 10.0, 31.0, 0), 0), None);
        // Those of the first 27 blocks, 270, have had the time to reach twice the age in the last 27.
        assert_eq!(judged(&blocks(10.0, 244.0 / 27.0, 0.0, 0), 0), Some(Verdict::Leaks));
        assert_eq!(judged(&blocks(10.0, 242.0 / 27.0, 0.0, 0), 0), None);
        // At 1,024 s a window of 1,200 s is too short for that.
        assert_eq!(judged(&blocks(10.0, 0.0, 0.0, 3), 3), Some(Verdict::Leaks));
        // At 512 s it is just long enough: 4 blocks of 30 can tell.
        assert_eq!(judged(&blocks(10.0, 0.0, 0.0, 2), 2), None);
        // More goes back than ever passed: nothing passes.
        assert_eq!(judged(&blocks(-1.0, 0.0, 1.0, 3), 3), None);
        assert_eq!(judged(&[], 0), None);
    }

    #[test]
    fn what_has_a_longer_lifetime_is_no_leak_and_of_what_none_is_known_is_retained() {
        let grow = blocks(10.0, 10.0, 0.0, 0);
        let judged = |live, released| survival(0, &grow, &totals(live, released), 0);
        assert_eq!(judged([100.0, 50.0], [1000.0, 51.0]), None, "most of what grew that old went");
        assert_eq!(judged([100.0, 50.0], [1000.0, 49.0]), Some(Verdict::Leaks));
        assert_eq!(judged([100.0, 50.0], [0.0, 0.0]), Some(Verdict::Retains));
        assert_eq!(judged([1000.0, 50.0], [999.0, 0.0]), Some(Verdict::Retains));
        assert!(stands_alone(0, &totals([100.0, 50.0], [1000.0, 51.0]), 0));
        assert!(stands_alone(0, &totals([100.0, 50.0], [0.0, 0.0]), 0));
        assert!(!stands_alone(0, &totals([100.0, 50.0], [1000.0, 49.0]), 0));
    }

    #[test]
    fn the_clearest_finding_is_the_worst_of_the_least_age() {
        let finding = |verdict, age| Some((Finding { verdict, age, bytes_per_second: 1.0 }, ()));
        let of = |ages: [Option<Verdict>; LANE_AGES - 1]| {
            clearest(|age| ages[age].and_then(|verdict| finding(verdict, age)))
                .map(|(found, ())| (found.verdict, found.age))
        };
        use Verdict::{Leaks, Retains};
        assert_eq!(of([None, Some(Retains), Some(Leaks), Some(Leaks), None]), Some((Leaks, 2)));
        assert_eq!(of([None, Some(Leaks), Some(Retains), None, None]), Some((Leaks, 1)));
        assert_eq!(of([None; LANE_AGES - 1]), None);
    }
}
