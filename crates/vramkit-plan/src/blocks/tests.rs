//! What is cut from a whole comes together again, and nothing else becomes wrong.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Blocks, LooseBlocks};
use crate::search::{Goal, Search};
use crate::{Buffer, ByteSize, FloorSearch, Placement, Problem};
use vramkit_units::SplitMix64;

const SIDE: u32 = 1 << 16;

/// A square that is cut edge to edge, and into pinwheels, by numbers that say where; as many pieces as there are numbers, and more.
fn cut(side: u32, numbers: &[(u32, u32, u8)]) -> Vec<(u32, u32, u64)> {
    let mut tiles = vec![(0, side, 0, side)];
    for &(which, at, how) in numbers {
        let i = which as usize % tiles.len();
        let (a, b, low, high) = tiles[i];
        if b - a < 8 || high - low < 8 {
            continue;
        }
        let (x, y) = (a + 1 + at % ((b - a) / 2 - 1), low + 1 + at / 7 % ((high - low) / 2 - 1));
        let (end, top) =
            (b - 1 - at % ((b - x) / 2 - 1).max(1), high - 1 - at / 5 % ((high - y) / 2 - 1).max(1));
        let pieces = match how % 3 {
            0 => vec![(a, x, low, high), (x, b, low, high)],
            1 => vec![(a, b, low, y), (a, b, y, high)],
            _ => vec![
                (a, end, low, y),
                (end, b, low, top),
                (x, b, top, high),
                (a, x, y, high),
                (x, end, y, top),
            ],
        };
        tiles.splice(i..=i, pieces);
    }
    tiles.into_iter().map(|(a, b, low, high)| (a, b, u64::from(high - low))).collect()
}

/// Rows as a problem, on a clock of those moments at which something begins.
fn problem(rows: &[(u32, u32, u64)], alignment: u64) -> Problem {
    let mut starts: Vec<u32> = rows.iter().map(|row| row.0).collect();
    starts.sort_unstable();
    starts.dedup();
    let rank = |at: u32| starts.partition_point(|&start| start < at) as u32;
    let buffer = |&(a, b, size): &(u32, u32, u64)| Buffer {
        start: rank(a),
        end: rank(b),
        size: ByteSize::new(size * alignment),
        alignment,
        pinned: None,
    };
    Problem { buffers: rows.iter().map(buffer).collect(), gaps: Vec::new(), ranks: starts.len() as u32 }
}

fn found(problem: &Problem) -> Option<Placement> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let load = problem.lower_bound();
    let goal = Goal { bound: load, enough: load, deadline, seed: 0, threads: 1, observer: &() };
    let placement = Blocks { searches: vec![Box::new(FloorSearch)] }.place(problem, &goal);
    if let Some(placement) = &placement {
        let offsets: Vec<Option<u64>> = placement.offsets.iter().map(|offset| Some(offset.bytes())).collect();
        assert_eq!(problem.first_clash(&offsets), None);
        assert!(
            offsets.iter().zip(&problem.buffers).all(|(at, own)| at.unwrap().is_multiple_of(own.alignment))
        );
    }
    placement
}

/// The squared square of order 21 (Duijvestijn, 1978), each square of which is divided likewise.
fn squares() -> Vec<(u32, u32, u64)> {
    let code = [50, 35, 27, 8, 19, 15, 17, 11, 6, 24, 29, 25, 9, 2, 7, 18, 16, 42, 4, 37, 33];
    let mut heights = [0u32; 112];
    let mut own: Vec<(u32, u32)> = Vec::new();
    for size in code {
        let low = heights.into_iter().min().unwrap();
        let x = heights.iter().position(|&height| height == low).unwrap();
        heights[x..x + size as usize].fill(low + size);
        own.push((x as u32, size));
    }
    let squares =
        own.iter().flat_map(|&(x, side)| own.iter().map(move |&(a, b)| (112 * x + a * side, b * side)));
    squares.map(|(x, side)| (x, x + side, u64::from(side))).collect()
}

#[test]
fn squares_in_squares_reach_their_load() {
    let problem = problem(&squares(), 1);
    assert_eq!(found(&problem).map(|found| found.arena), Some(problem.max_load()));
}

/// A square that is cut in so many ways at random: edge to edge in two of them, into pinwheels in three.
fn cut_at_random(side: u32, cuts: usize, ways: usize) -> Vec<(u32, u32, u64)> {
    let mut random = SplitMix64::new(1);
    let mut below = |n: usize| random.below(n) as u32;
    let numbers: Vec<_> = (0..cuts).map(|_| (below(1 << 30), below(1 << 30), below(ways) as u8)).collect();
    cut(side, &numbers)
}

fn comes_together(rows: &[(u32, u32, u64)], alignment: u64) {
    let problem = problem(rows, alignment);
    assert_eq!(found(&problem).map(|found| found.arena), Some(problem.max_load()));
}

#[test]
fn what_is_cut_edge_to_edge_at_random_comes_together() {
    let rows = cut_at_random(SIDE, 1000, 2);
    assert!(rows.len() > 800);
    comes_together(&rows, 256);
}

/// All offsets are multiples of the alignment, whatever the sizes are.
#[test]
fn sizes_between_two_multiples_come_together_as_those_above_them() {
    let rows = cut_at_random(SIDE, 700, 2);
    let mut problem = problem(&rows, 256);
    let above = problem.max_load();
    let mut random = SplitMix64::new(5);
    problem.buffers.iter_mut().for_each(|own| own.size -= ByteSize::new(random.below(256) as u64));
    assert!(found(&problem).is_some_and(|found| found.arena <= above));
}

/// Where cuts meet by chance at most moments.
#[test]
fn what_is_cut_in_small_whole_numbers_comes_together() {
    let rows = cut_at_random(1200, 1500, 2);
    assert!(rows.len() > 500, "{}", rows.len());
    comes_together(&rows, 1);
}

#[test]
fn what_is_cut_into_pinwheels_comes_together() {
    let rows = cut_at_random(SIDE, 500, 3);
    assert!(rows.len() > 500, "{}", rows.len());
    comes_together(&rows, 1);
}

/// By how much of what is live at most a packing by loose blocks is higher; none where it brings nothing.
fn above(problem: &Problem, wanted: f64) -> Option<f64> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let load = problem.max_load();
    let of_load = |part: f64| ByteSize::new((load.bytes() as f64 * part) as u64);
    let enough = load + of_load(wanted);
    let goal = Goal { bound: load, enough, deadline, seed: 0, threads: 1, observer: &() };
    let nothing = Placement { offsets: Vec::new(), arena: load + of_load(0.15) };
    let search = LooseBlocks { searches: vec![Box::new(FloorSearch)] };
    let placement = search.improve(problem, &nothing, &goal).placement?;
    let offsets: Vec<Option<u64>> = placement.offsets.iter().map(|offset| Some(offset.bytes())).collect();
    assert_eq!(problem.first_clash(&offsets), None);
    Some(placement.arena.ratio_of(load) - 1.0)
}

#[test]
fn what_was_cut_and_is_a_little_smaller_comes_nearly_together() {
    let rows = cut_at_random(SIDE, 700, 2);
    let mut random = SplitMix64::new(3);
    let mut part = |of: u64| if random.below(2) == 0 { of / (20 + random.below(40) as u64) } else { 0 };
    let lower: Vec<_> = rows.iter().map(|&(a, b, size)| (a, b, 1000 * size - part(1000 * size))).collect();
    let fewer: Vec<_> =
        rows.iter().copied().enumerate().filter(|(i, _)| i % 50 != 7).map(|(_, row)| row).collect();
    for (rows, what) in [(lower, "lower"), (fewer, "fewer")] {
        let above = above(&problem(&rows, 1), 0.05);
        assert!(above.is_some_and(|above| above <= 0.05), "{what}: {above:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// `above` checks what is found.
    #[test]
    fn nothing_overlaps_in_loose_blocks(
        numbers in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u8>()), 100..200),
        coarse in 0..10u32,
        lower in prop::collection::vec(0..200u64, 7),
    ) {
        let rows = cut(SIDE, &numbers).into_iter().map(|(a, b, size)| (a >> coarse, b >> coarse, size));
        let lower = |i: usize, size: u64| (size - size * lower[i % 7] / 1000).max(1);
        let rows = rows.filter(|(a, b, _)| a < b).enumerate().map(|(i, (a, b, size))| (a, b, lower(i, size)));
        prop_assert!(above(&problem(&rows.collect::<Vec<_>>(), 1), 0.0).is_none_or(|above| above >= 0.0));
    }

    /// Whatever happens at one moment, in whole numbers as small as these: `found` checks what is found.
    #[test]
    fn nothing_overlaps(
        numbers in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u8>()), 100..200),
        coarse in 6..12u32,
        shift in 0..9u32,
    ) {
        let rows = cut(SIDE, &numbers).into_iter().map(|(a, b, size)| (a >> coarse, b >> coarse, size));
        let rows: Vec<_> = rows.filter(|(a, b, _)| a < b).collect();
        let problem = problem(&rows, 1 << shift);
        let arena = found(&problem).map(|found| found.arena);
        prop_assert!(arena.is_none_or(|arena| arena >= problem.max_load()));
    }
}
