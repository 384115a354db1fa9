//! Against the definition: every placement checked pair by pair, every optimum by trying all orders.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::ExactSearch;
use crate::greedy;
use crate::search::{Goal, Search};
use crate::{Buffer, Found, Gap, Placement, Problem};
use vramkit_units::ByteSize;

/// The validator: written from the definition, sharing nothing with the planner but the problem.
fn fault(problem: &Problem, offsets: &[ByteSize]) -> Option<String> {
    let live = |i: usize, rank: u32| {
        let inside = |gap: &&Gap| gap.buffer as usize == i && gap.start <= rank && rank < gap.end;
        let buffer = problem.buffers[i];
        buffer.start <= rank && rank < buffer.end && problem.gaps.iter().find(inside).is_none()
    };
    for (i, a) in problem.buffers.iter().enumerate() {
        if !offsets[i].bytes().is_multiple_of(a.alignment) || a.pinned.is_some_and(|pin| pin != offsets[i]) {
            return Some(format!("{i} is at {}", offsets[i]));
        }
        for (j, b) in problem.buffers.iter().enumerate().take(i) {
            let apart = offsets[i] + a.size <= offsets[j] || offsets[j] + b.size <= offsets[i];
            if !apart && (0..problem.ranks).any(|rank| live(i, rank) && live(j, rank)) {
                return Some(format!("{i} and {j} overlap"));
            }
        }
    }
    None
}

/// The smallest arena, by trying every order of offsets: taken from the bottom up, each buffer of some best
/// placement can lie on those before it.
fn smallest(problem: &Problem) -> ByteSize {
    fn together(problem: &Problem, i: usize, j: usize) -> bool {
        let meet = |a: (u32, u32), b: (u32, u32)| a.0.max(b.0) < a.1.min(b.1);
        problem.runs(i).any(|a| problem.runs(j).any(|b| meet(a, b)))
    }
    fn go(problem: &Problem, placed: &mut Vec<(usize, u64)>, arena: u64, best: &mut u64) {
        if placed.len() == problem.buffers.len() {
            *best = arena;
            return;
        }
        for i in 0..problem.buffers.len() {
            if placed.iter().any(|&(j, _)| i == j) {
                continue;
            }
            let buffer = problem.buffers[i];
            let under = placed.iter().filter(|&&(j, _)| together(problem, i, j));
            let top = under.map(|&(j, offset)| offset + problem.buffers[j].bytes()).max().unwrap_or(0);
            let offset = match buffer.pin() {
                Some(pin) if pin < top => continue,
                Some(pin) => pin,
                None => top.next_multiple_of(buffer.alignment),
            };
            if offset + buffer.bytes() < *best {
                placed.push((i, offset));
                go(problem, placed, arena.max(offset + buffer.bytes()), best);
                placed.pop();
            }
        }
    }
    let mut best = u64::MAX;
    go(problem, &mut Vec::new(), 0, &mut best);
    ByteSize::new(best)
}

fn search(problem: &Problem, incumbent: &Placement, enough: ByteSize, seed: u64, threads: usize) -> Found {
    let bound = problem.lower_bound();
    let deadline = Instant::now() + Duration::from_secs(600);
    let goal = Goal { bound, enough: enough.max(bound), deadline, seed, threads, observer: &() };
    ExactSearch.improve(problem, incumbent, &goal)
}

/// Everything one above the other: a placement that leaves all the work to the search.
fn tower(problem: &Problem) -> Placement {
    let mut top = problem.buffers.iter().filter_map(|b| Some(b.pin()? + b.bytes())).max().unwrap_or(0);
    let offsets = problem.buffers.iter().map(|buffer| {
        let offset = buffer.pin().unwrap_or(top.next_multiple_of(buffer.alignment));
        top = top.max(offset + buffer.bytes());
        ByteSize::new(offset)
    });
    let offsets = offsets.collect();
    Placement::new(problem, offsets)
}

/// Up to `most` buffers with everything that a problem may have, over few ranks so that they meet often.
fn problems(most: usize) -> impl Strategy<Value = Problem> {
    let buffer = (0u32..8, 1u32..6, 1u64..12, prop::sample::select(vec![0u32, 0, 0, 1, 2]));
    let gap = prop::option::weighted(0.2, (1u32..4, 1u32..3));
    let pin = prop::option::weighted(0.1, 0u64..8);
    (prop::collection::vec((buffer, gap, pin), 1..=most), 1u64..4).prop_map(|(rows, grain)| {
        let mut problem = Problem { ranks: 16, ..Problem::default() };
        for ((start, length, size, shift), gap, pin) in rows {
            let end = start + length;
            let i = problem.buffers.len();
            let alignment = 1 << shift;
            let pinned = pin.map(|pin| ByteSize::new(pin * 4 * grain));
            problem.buffers.push(Buffer { start, end, size: ByteSize::new(size * grain), alignment, pinned });
            if let Some((from, long)) = gap.filter(|(from, long)| start + from + long < end) {
                problem.gaps.push(Gap { buffer: i as u32, start: start + from, end: start + from + long });
            }
            // Pins that contradict one another are refused before anything is searched.
            let pins: Vec<Option<u64>> = problem.buffers.iter().map(Buffer::pin).collect();
            if problem.first_clash(&pins).is_some() {
                problem.buffers[i].pinned = None;
            }
        }
        let all: Vec<u32> = (0..problem.buffers.len() as u32).collect();
        problem.restrict(&all)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The arena found is the smallest there is, and the proof says so.
    #[test]
    fn the_optimum_is_found_and_proven(problem in problems(7), seed in 0u64..4) {
        let best = smallest(&problem);
        let tower = tower(&problem);
        prop_assert_eq!(fault(&problem, &tower.offsets), None);
        let found = search(&problem, &tower, ByteSize::ZERO, seed, 1);
        let placement = found.placement.unwrap_or(tower);
        prop_assert_eq!(fault(&problem, &placement.offsets), None);
        prop_assert_eq!((placement.arena, found.bound), (best, best));
    }

    /// Every capacity is answered rightly, whichever is asked first.
    #[test]
    fn a_capacity_is_met_or_refuted(problem in problems(6), extra in 0u64..20) {
        let best = smallest(&problem);
        let asked = problem.lower_bound() + ByteSize::new(extra);
        let tower = tower(&problem);
        if tower.arena <= asked {
            return Ok(());
        }
        let found = search(&problem, &tower, asked, 0, 2);
        match found.placement {
            Some(placement) if best <= asked => {
                prop_assert!(placement.arena <= asked && found.bound <= best);
                prop_assert_eq!(fault(&problem, &placement.offsets), None);
            }
            // When it is not to be had, the least that is to be had is found.
            placement => prop_assert_eq!((placement.map_or(tower.arena, |p| p.arena), found.bound), (best, best)),
        }
    }

    /// Greedy placements keep every constraint too.
    #[test]
    fn greedy_keeps_the_constraints(problem in problems(30)) {
        let (placement, _) = greedy::best(&problem, ByteSize::ZERO, &|| false);
        prop_assert_eq!(fault(&problem, &placement.offsets), None);
        prop_assert!(placement.arena >= problem.lower_bound());
    }
}

/// Rows of a full rectangle, cut at random: the optimum is its height, and no order of the portfolio reaches it.
fn cut_rectangle(pieces: usize, seed: u64) -> (Problem, ByteSize) {
    let mut random = vramkit_units::SplitMix64::new(seed);
    let (width, height) = (200u32, 1000u64);
    let mut boxes = vec![(0u32, width, 0u64, height)];
    while boxes.len() < pieces {
        // The largest of three, so that the pieces are of a kind.
        let area = |&i: &usize| u64::from(boxes[i].1 - boxes[i].0) * (boxes[i].3 - boxes[i].2);
        let i = (0..3).map(|_| random.below(boxes.len())).max_by_key(area).unwrap();
        let (start, end, low, high) = boxes[i];
        if random.below(2) == 0 && end - start > 1 {
            let cut = start + 1 + random.below((end - start - 1) as usize) as u32;
            boxes[i] = (start, cut, low, high);
            boxes.push((cut, end, low, high));
        } else if high - low > 1 {
            let cut = low + 1 + random.below((high - low - 1) as usize) as u64;
            boxes[i] = (start, end, low, cut);
            boxes.push((start, end, cut, high));
        }
    }
    let buffer = |&(start, end, low, high): &_| {
        let size = ByteSize::new(high - low);
        Buffer { start, end, size, alignment: 1, pinned: None }
    };
    let problem = Problem { buffers: boxes.iter().map(buffer).collect(), gaps: Vec::new(), ranks: width };
    let all: Vec<u32> = (0..problem.buffers.len() as u32).collect();
    (problem.restrict(&all), ByteSize::new(height))
}

#[test]
fn cut_rectangles_are_put_together_again() {
    let hard = (0..).map(|seed| cut_rectangle(80, seed)).filter_map(|(problem, height)| {
        let (greedy, _) = greedy::best(&problem, height, &|| false);
        (greedy.arena > height).then_some((problem, height, greedy))
    });
    for (problem, height, greedy) in hard.take(5) {
        let found = search(&problem, &greedy, ByteSize::ZERO, 0, 1);
        let placement = found.placement.unwrap();
        assert_eq!((placement.arena, found.bound), (height, height));
        assert_eq!(fault(&problem, &placement.offsets), None);
    }
}

#[test]
fn the_answer_depends_on_seed_and_threads_alone() {
    let (problem, _) = cut_rectangle(60, 7);
    let (greedy, _) = greedy::best(&problem, ByteSize::ZERO, &|| false);
    for (seed, threads) in [(0, 1), (5, 1), (5, 3)] {
        let once = search(&problem, &greedy, ByteSize::ZERO, seed, threads);
        assert_eq!(once, search(&problem, &greedy, ByteSize::ZERO, seed, threads));
    }
}

#[test]
fn a_search_ends_when_it_is_told_to() {
    let (problem, _) = cut_rectangle(400, 1);
    let (greedy, _) = greedy::best(&problem, ByteSize::ZERO, &|| false);
    let cancelled = std::sync::atomic::AtomicBool::new(true);
    let deadline = Instant::now() + Duration::from_secs(600);
    let bound = problem.lower_bound();
    let goal = Goal { bound, enough: bound, deadline, seed: 0, threads: 1, observer: &cancelled };
    assert_eq!(ExactSearch.improve(&problem, &greedy, &goal), Found { placement: None, bound });
}
