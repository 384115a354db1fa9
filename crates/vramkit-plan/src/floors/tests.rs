//! Searches over floors: every placement is valid and no worse than before, perfect packings are found, answers repeat.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{FloorSearch, WindowSearch};
use crate::placement::Placement;
use crate::problem::{Buffer, Gap, Problem};
use crate::search::{Goal, Search};
use vramkit_units::{ByteSize, SplitMix64};

/// A buffer over ranks of time.
fn buffer(start: u32, end: u32, size: u64, alignment: u64) -> Buffer {
    Buffer { start, end, size: ByteSize::new(size), alignment, pinned: None }
}

/// A rectangle cut from edge to edge at random into `pieces`, shuffled: its height is the optimum.
fn cut(pieces: usize, seed: u64) -> Problem {
    let mut random = SplitMix64::new(seed);
    let mut tiles = vec![(0u32, 1u32 << 16, 0u64, 1u64 << 20)];
    while tiles.len() < pieces {
        let area = |&i: &usize| u64::from(tiles[i].1 - tiles[i].0) * (tiles[i].3 - tiles[i].2);
        let some: Vec<usize> = (0..3).map(|_| random.below(tiles.len())).collect();
        let i = some.into_iter().max_by_key(area).unwrap();
        let (a, b, low, high) = tiles.swap_remove(i);
        if random.below(2) == 0 && b - a > 1 {
            let at = a + 1 + random.below((b - a - 1) as usize) as u32;
            tiles.extend([(a, at, low, high), (at, b, low, high)]);
        } else if high - low > 1 {
            let at = low + 1 + random.below((high - low - 1) as usize) as u64;
            tiles.extend([(a, b, low, at), (a, b, at, high)]);
        } else {
            tiles.push((a, b, low, high));
        }
    }
    for i in (1..tiles.len()).rev() {
        tiles.swap(i, random.below(i + 1));
    }
    let mut starts: Vec<u32> = tiles.iter().map(|tile| tile.0).collect();
    starts.sort_unstable();
    starts.dedup();
    let rank = |time: u32| starts.partition_point(|&start| start < time) as u32;
    let buffers = tiles.iter().map(|&(a, b, low, high)| buffer(rank(a), rank(b), high - low, 1));
    Problem { buffers: buffers.collect(), gaps: Vec::new(), ranks: starts.len() as u32 }
}

/// Everything above all else: valid, and as bad as can be.
fn tower(problem: &Problem) -> Placement {
    let mut top = 0u64;
    let offsets = problem.buffers.iter().map(|buffer| match buffer.pinned {
        Some(pin) => pin,
        None => {
            let at = top.max(PINS).next_multiple_of(buffer.alignment);
            top = at + buffer.size.bytes();
            ByteSize::new(at)
        }
    });
    Placement::new(problem, offsets.collect())
}

/// Pins lie below this.
const PINS: u64 = 1 << 14;

fn goal(problem: &Problem, seconds: f64) -> Goal<'static> {
    let bound = problem.lower_bound();
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    Goal { bound, enough: bound, deadline, seed: 1, threads: 2, observer: &() }
}

/// Ends the test where two that are live together touch, or one is not where it may be.
fn check(problem: &Problem, placement: &Placement) {
    let n = problem.buffers.len();
    for i in 0..n {
        let (own, at) = (&problem.buffers[i], placement.offsets[i]);
        assert!(at.bytes().is_multiple_of(own.alignment));
        assert!(own.pinned.is_none_or(|pin| pin == at));
        assert!(at + own.size <= placement.arena);
        for j in 0..i {
            let (other, there) = (&problem.buffers[j], placement.offsets[j]);
            let is_apart = at + own.size <= there || there + other.size <= at;
            assert!(is_apart || !problem.meet(i, j), "{i} and {j} overlap");
        }
    }
}

/// Buffers with alignments, some of them pinned.
fn problems() -> impl Strategy<Value = Problem> {
    let one = (0u32..60, 1u32..20, 1u64..5000, 0u32..4, 0u8..12);
    proptest::collection::vec(one, 70..110).prop_map(|rows| {
        let mut buffers = Vec::new();
        let mut pins = 0u64;
        for (start, length, size, alignment, kind) in rows {
            let mut own = buffer(start, start + length, size, 1 << (2 * alignment));
            let at = pins.next_multiple_of(own.alignment);
            if kind == 0 && at + size < PINS {
                own.pinned = Some(ByteSize::new(at));
                pins = at + size;
            }
            buffers.push(own);
        }
        Problem { buffers, gaps: Vec::new(), ranks: 80 }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_found_is_valid_and_lower(problem in problems()) {
        let tower = tower(&problem);
        check(&problem, &tower);
        let (floors, windows): (&dyn Search, &dyn Search) = (&FloorSearch, &WindowSearch);
        for search in [floors, windows] {
            let found = search.improve(&problem, &tower, &goal(&problem, 0.2));
            prop_assert_eq!(found.bound, problem.lower_bound());
            if let Some(placement) = found.placement {
                check(&problem, &placement);
                prop_assert!(placement.arena < tower.arena);
                prop_assert!(placement.arena >= problem.max_load());
            }
        }
    }
}

#[test]
fn cut_rectangles_fit_together_again() {
    // With time to spare.
    for seed in 1..4 {
        let problem = cut(200, seed);
        let goal = goal(&problem, 60.0);
        let found = FloorSearch.improve(&problem, &tower(&problem), &goal).placement.unwrap();
        check(&problem, &found);
        assert_eq!(found.arena, problem.max_load(), "seed {seed}");
    }
}

#[test]
fn windows_improve_on_what_is_given() {
    let problem = cut(300, 5);
    let tower = tower(&problem);
    let found = WindowSearch.improve(&problem, &tower, &goal(&problem, 2.0)).placement.unwrap();
    check(&problem, &found);
    assert!(found.arena.bytes() * 4 < tower.arena.bytes(), "{} of {}", found.arena, tower.arena);
}

#[test]
fn passes_do_not_depend_on_threads() {
    let problem = cut(200, 6);
    let one = Goal { threads: 1, ..goal(&problem, 60.0) };
    let many = Goal { threads: 5, ..goal(&problem, 60.0) };
    let tower = tower(&problem);
    assert_eq!(FloorSearch.improve(&problem, &tower, &one), FloorSearch.improve(&problem, &tower, &many));
}

#[test]
fn small_huge_and_gapped_problems_are_left() {
    let few = cut(20, 7);
    assert_eq!(FloorSearch.improve(&few, &tower(&few), &goal(&few, 1.0)).placement, None);
    let mut gapped = cut(200, 8);
    let long = gapped.buffers.iter().position(|buffer| buffer.end - buffer.start > 2).unwrap();
    let start = gapped.buffers[long].start + 1;
    gapped.gaps.push(Gap { buffer: long as u32, start, end: start + 1 });
    assert_eq!(FloorSearch.improve(&gapped, &tower(&gapped), &goal(&gapped, 1.0)).placement, None);
    let huge = Problem { buffers: vec![buffer(0, 1, u64::MAX / 80, 1); 70], gaps: vec![], ranks: 1 };
    let given = Placement { offsets: vec![ByteSize::ZERO; 70], arena: ByteSize::new(u64::MAX) };
    let goal = Goal { bound: ByteSize::ZERO, enough: ByteSize::ZERO, ..goal(&few, 1.0) };
    assert_eq!(WindowSearch.improve(&huge, &given, &goal).placement, None);
}
