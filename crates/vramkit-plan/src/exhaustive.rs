//! Against trying everything: small workloads under every schedule, and over pools, beside a search that shares nothing
//! with the planner but the lifetimes.
//!
//! What is claimed must be true (optimal, impossible), what is given out sound, and what is small is solved.

use std::time::Duration;

use super::*;
use crate::report::{PlanReport, ReportOptions};
use vramkit_units::{ByteSize, SplitMix64, Step};

/// Workloads of each kind that are tried.
const CASES: u64 = 2_500;

const SCHEDULES: [Schedule; 3] = [Schedule::Fixed, Schedule::Sequential, Schedule::Concurrent];

/// A tensor as the definition has it.
#[derive(Clone, Debug)]
struct Piece {
    model: usize,
    runs: Vec<(u64, u64)>,
    size: u64,
    alignment: u64,
    pinned: Option<u64>,
}

fn pieces(models: &[Model], schedule: Schedule) -> Vec<Piece> {
    let mut clock = 0;
    let mut all = Vec::new();
    for (m, model) in models.iter().enumerate() {
        let first = model.tensors.iter().map(|tensor| tensor.start.0).min().unwrap_or(0);
        let shift = |step: u64| match schedule {
            Schedule::Fixed => step + model.start.0,
            Schedule::Sequential => step - first + clock,
            Schedule::Concurrent => step,
        };
        let mut last = clock;
        for tensor in &model.tensors {
            let mut ends = vec![shift(tensor.start.0)];
            ends.extend(tensor.gaps.iter().flat_map(|gap| [shift(gap.0.0), shift(gap.1.0)]));
            ends.push(shift(tensor.end.0));
            last = last.max(shift(tensor.end.0));
            all.push(Piece {
                model: m,
                runs: ends.chunks(2).map(|run| (run[0], run[1])).collect(),
                size: tensor.size.bytes(),
                alignment: tensor.alignment,
                pinned: tensor.pinned.map(ByteSize::bytes),
            });
        }
        clock = last;
    }
    all
}

impl Piece {
    fn takes_room(&self) -> bool {
        self.size > 0 && self.runs.iter().any(|run| run.0 < run.1)
    }

    /// Whether both may be live at one time.
    fn meets(&self, other: &Self, schedule: Schedule) -> bool {
        let both = self.takes_room() && other.takes_room();
        let meet = |a: &(u64, u64), b: &(u64, u64)| (a.0..a.1).any(|step| b.0 <= step && step < b.1);
        both && (schedule == Schedule::Concurrent && self.model != other.model
            || self.runs.iter().any(|a| other.runs.iter().any(|b| meet(a, b))))
    }
}

/// What is wrong with offsets, pair by pair.
fn fault(pieces: &[&Piece], offsets: &[u64], arena: u64, schedule: Schedule) -> Option<String> {
    for (i, (a, &at)) in pieces.iter().zip(offsets).enumerate() {
        if at % a.alignment != 0 || a.pinned.is_some_and(|pin| pin != at) {
            return Some(format!("{a:?} is at {at}"));
        }
        if a.takes_room() && at + a.size > arena {
            return Some(format!("{a:?} at {at} ends outside {arena}"));
        }
        for (b, &bt) in pieces.iter().zip(offsets).skip(i + 1) {
            if a.meets(b, schedule) && at < bt + b.size && bt < at + a.size {
                return Some(format!("{a:?} at {at} and {b:?} at {bt} overlap"));
            }
        }
    }
    None
}

/// The smallest arena, or `None` where pins touch. Every order is tried: taken from the lowest up, each piece of some
/// best placement lies on the bottom, on what is under it, or where it is pinned.
fn smallest(pieces: &[&Piece], schedule: Schedule) -> Option<u64> {
    fn go(
        pieces: &[&Piece],
        meets: &[Vec<bool>],
        ends: &mut Vec<(usize, u64)>,
        arena: u64,
        best: &mut Option<u64>,
    ) {
        if ends.len() == pieces.len() {
            *best = Some(best.map_or(arena, |best| best.min(arena)));
            return;
        }
        for (i, piece) in pieces.iter().enumerate() {
            if ends.iter().any(|end| end.0 == i) {
                continue;
            }
            let top = ends.iter().filter(|(j, _)| meets[i][*j]).map(|end| end.1).max().unwrap_or(0);
            let at = piece.pinned.unwrap_or(top.next_multiple_of(piece.alignment));
            let end = at + piece.size;
            if at >= top && best.is_none_or(|best| end < best) {
                ends.push((i, end));
                go(pieces, meets, ends, arena.max(end), best);
                ends.pop();
            }
        }
    }
    let pieces: Vec<&Piece> = pieces.iter().copied().filter(|piece| piece.takes_room()).collect();
    let meets: Vec<Vec<bool>> =
        pieces.iter().map(|a| pieces.iter().map(|b| a.meets(b, schedule)).collect()).collect();
    let mut best = None;
    go(&pieces, &meets, &mut Vec::new(), 0, &mut best);
    best
}

/// Draws workloads.
struct Draw(SplitMix64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0.below(n as usize) as u64
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn tensor(&mut self, model: &str, i: u64, largest: u64) -> TensorLifetime {
        let start = self.below(5);
        let end = start + if self.one_in(12) { 0 } else { 1 + self.below(4) };
        let size = if self.one_in(12) { 0 } else { 1 + self.below(largest) };
        let mut tensor =
            TensorLifetime::new(model, &format!("t{i}"), Step(start), Step(end), ByteSize::new(size));
        tensor.alignment = [1, 1, 1, 2, 4, 8, 16][self.below(7) as usize];
        if self.one_in(6) {
            tensor.pinned = Some(ByteSize::new(tensor.alignment * self.below(4)));
        }
        if self.one_in(4) && end - start >= 3 {
            tensor.gaps = vec![(Step(start + 1), Step(start + 2))];
        }
        tensor
    }

    /// Up to `most` tensors in one to three models.
    fn models(&mut self, most: u64, largest: u64) -> Vec<Model> {
        let count = 1 + self.below(3);
        let one_alignment = self.one_in(3).then(|| 1u64 << self.below(4));
        let model = |m: u64, start: u64| Model {
            name: format!("m{m}").into(),
            weights: ByteSize::ZERO,
            start: Step(start),
            tensors: Vec::new(),
        };
        let mut models: Vec<Model> = (0..count).map(|m| model(m, self.below(4))).collect();
        for i in 0..1 + self.below(most) {
            let own = &mut models[self.below(count) as usize];
            let mut tensor = self.tensor(&own.name, i, largest);
            if let Some(alignment) = one_alignment {
                (tensor.alignment, tensor.pinned) = (alignment, None);
            }
            own.tensors.push(tensor);
        }
        models
    }
}

/// Planners that may search for as long as they like, and that may not search at all.
fn planners() -> [(MemoryPlanner, bool); 2] {
    let thorough = MemoryPlanner::thorough(Duration::from_secs(3600)).threads(1);
    [(thorough, true), (MemoryPlanner::new(), false)]
}

fn check(models: &[Model], schedule: Schedule, planner: &MemoryPlanner, is_thorough: bool, label: &str) {
    let pieces = pieces(models, schedule);
    let pieces: Vec<&Piece> = pieces.iter().collect();
    let best = smallest(&pieces, schedule);
    let (plan, best) = match (planner.plan(models, schedule), best) {
        (Ok(plan), Some(best)) => (plan, best),
        (Err(LifetimeError::Pin { .. }), None) => return,
        (other, _) => panic!("{label}: {best:?}, but {other:?}\n{models:?}"),
    };
    let offsets: Vec<u64> = plan.offsets.iter().map(|offset| offset.bytes()).collect();
    let arena = plan.arena_size.bytes();
    assert_eq!(fault(&pieces, &offsets, arena, schedule), None, "{label}\n{models:?}");
    let others = plan.tensors.to_vec();
    assert!(plan.is_valid(&plan.tensors) && plan.is_valid(&others), "{label}");
    assert!(plan.proven_bound.bytes() <= best, "{label}: {best} {plan:?}");
    assert!(plan.lower_bound <= plan.proven_bound, "{label}: {plan:?}");
    assert!(!plan.proven_optimal || arena == best, "{label}: {best} does, {arena} is claimed\n{models:?}");
    assert!(
        arena > plan.lower_bound.bytes() || plan.proven_optimal,
        "{label}: at its bound, and not optimal"
    );
    let report = PlanReport::new(&plan, &ReportOptions::default());
    assert!(report.lower_bound_bytes.bytes() <= best, "{label}");
    let is_met = report.lower_bound_bytes == report.arena_bytes;
    assert_eq!((report.proven_optimal, report.gap_ratio == 0.0), (is_met, is_met), "{label}");
    assert!((0.0..=1.0).contains(&report.reduction_of_separate_total_ratio), "{label}");
    assert!(report.sum_of_aligned_peaks_bytes >= report.sum_of_peaks_bytes, "{label}");
    if is_thorough {
        assert_eq!((arena, plan.proven_optimal), (best, true), "{label}: not solved\n{models:?}");
    }
}

#[test]
fn small_workloads_are_solved_under_every_schedule() {
    for schedule in SCHEDULES {
        for seed in 0..CASES {
            let models = Draw(SplitMix64::new(seed)).models(7, 24);
            for (planner, is_thorough) in planners() {
                check(&models, schedule, &planner, is_thorough, &format!("{schedule} {seed}"));
            }
        }
    }
}

#[test]
fn every_capacity_of_small_workloads_is_answered() {
    for seed in 0..CASES {
        let mut draw = Draw(SplitMix64::new(seed ^ 0xca9));
        let models = draw.models(6, 24);
        let schedule = SCHEDULES[(seed % 3) as usize];
        let pieces = pieces(&models, schedule);
        let Some(best) = smallest(&pieces.iter().collect::<Vec<_>>(), schedule) else { continue };
        let capacity = (best + draw.below(9)).saturating_sub(4);
        let [(planner, _), _] = planners();
        let plan = planner.capacity(ByteSize::new(capacity)).plan(&models, schedule).unwrap();
        assert_eq!(plan.arena_size.bytes() <= capacity, best <= capacity, "{seed}: {best} {models:?}");
        assert!(plan.proven_bound.bytes() <= best, "{seed}");
        assert!(best <= capacity || plan.proven_bound.bytes() > capacity, "{seed}: not refuted {models:?}");
    }
}

/// Whether pieces can be distributed over pools of some capacities, each in one that it is allowed in.
fn is_possible(pieces: &[Piece], allowed: &[Vec<usize>], pools: &[u64], schedule: Schedule) -> bool {
    fn go<'a>(
        pieces: &'a [Piece],
        allowed: &[Vec<usize>],
        inside: &mut Vec<Vec<&'a Piece>>,
        pools: &[u64],
        schedule: Schedule,
    ) -> bool {
        let Some((piece, rest)) = pieces.split_first() else { return true };
        allowed[0].iter().any(|&pool| {
            inside[pool].push(piece);
            let fits = smallest(&inside[pool], schedule).is_some_and(|arena| arena <= pools[pool])
                && go(rest, &allowed[1..], inside, pools, schedule);
            inside[pool].pop();
            fits
        })
    }
    go(pieces, allowed, &mut vec![Vec::new(); pools.len()], pools, schedule)
}

/// A workload for pools: the models, the pools, and what each tensor is allowed in.
fn for_pools(seed: u64) -> (Vec<Model>, Vec<PoolLimit>, Vec<Vec<usize>>) {
    let mut draw = Draw(SplitMix64::new(seed ^ 0x9001));
    let mut models = draw.models(6, 10);
    let limit =
        |p: u64, capacity: u64| PoolLimit { name: format!("p{p}").into(), capacity: ByteSize::new(capacity) };
    let pools: Vec<PoolLimit> = (0..1 + draw.below(3)).map(|p| limit(p, 4 + draw.below(14))).collect();
    let mut allowed = Vec::new();
    for tensor in models.iter_mut().flat_map(|model| &mut model.tensors) {
        tensor.alignment = tensor.alignment.min(4);
        tensor.pinned = tensor.pinned.filter(|pin| pin.bytes() < 8);
        let mut order: Vec<usize> = (0..pools.len()).collect();
        order.sort_by_cached_key(|_| draw.below(100));
        order.truncate(draw.below(pools.len() as u64 + 1) as usize);
        tensor.pools = order.iter().map(|&p| pools[p].name.clone()).collect();
        allowed.push(if order.is_empty() { (0..pools.len()).collect() } else { order });
    }
    (models, pools, allowed)
}

#[test]
fn small_workloads_are_distributed_over_pools_whenever_they_can_be() {
    let mut outcomes = [0; 2];
    for seed in 0..CASES {
        let (models, limits, allowed) = for_pools(seed);
        let schedule = SCHEDULES[(seed % 3) as usize];
        let pieces = pieces(&models, schedule);
        let tensors: Vec<&TensorLifetime> = models.iter().flat_map(|model| &model.tensors).collect();
        let capacities: Vec<u64> = limits.iter().map(|limit| limit.capacity.bytes()).collect();
        let possible = is_possible(&pieces, &allowed, &capacities, schedule);
        outcomes[usize::from(possible)] += 1;
        for (planner, is_thorough) in planners() {
            let plan = match planner.plan_pools(&models, schedule, &limits) {
                Ok(plan) => plan,
                Err(PoolPlanError::Full { proven, closest, .. }) => {
                    assert!(!(proven && possible), "{seed}: there is a distribution\n{models:?} {limits:?}");
                    assert!(proven || !is_thorough, "{seed}: small, and left open\n{models:?} {limits:?}");
                    let over = |(pool, plan): &(PoolLimit, AllocationPlan)| plan.arena_size > pool.capacity;
                    assert!(closest.is_none_or(|closest| closest.pools.iter().any(over)), "{seed}");
                    continue;
                }
                Err(PoolPlanError::Lifetimes(LifetimeError::Pin { .. }))
                    if !possible && limits.len() == 1 =>
                {
                    continue;
                }
                Err(error) => panic!("{seed}: {error}\n{models:?}"),
            };
            assert!(possible, "{seed}");
            let mut seen = 0;
            for (p, (limit, plan)) in plan.pools.iter().enumerate() {
                assert!(plan.arena_size <= limit.capacity, "{seed}");
                let place = |id: &str| tensors.iter().position(|tensor| &*tensor.id == id).unwrap();
                let ids: Vec<usize> = plan.tensors.iter().map(|planned| place(&planned.id)).collect();
                assert!(ids.iter().all(|&i| allowed[i].contains(&p)), "{seed}");
                let inside: Vec<&Piece> = ids.iter().map(|&i| &pieces[i]).collect();
                let offsets: Vec<u64> = plan.offsets.iter().map(|offset| offset.bytes()).collect();
                assert_eq!(fault(&inside, &offsets, plan.arena_size.bytes(), schedule), None, "{seed}");
                seen += ids.len();
            }
            assert_eq!(seen, tensors.len(), "{seed}");
            let report = PlanReport::of_pools(&plan, &ReportOptions::default());
            let is_met = report.lower_bound_bytes == report.arena_bytes;
            assert_eq!((report.proven_optimal, report.gap_ratio == 0.0), (is_met, is_met), "{seed}");
            assert!(report.lower_bound_bytes <= report.arena_bytes, "{seed}");
        }
    }
    assert!(outcomes.iter().all(|&n| n > CASES / 8), "both answers are asked for: {outcomes:?}");
}
