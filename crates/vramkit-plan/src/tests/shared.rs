//! What several models or several pools make of a plan, and what no plan may be.

use super::*;

#[test]
fn concurrent_models_fill_what_alignments_and_pins_leave() {
    let aligned = |id| TensorLifetime { alignment: 256, ..tensor("A", id, 0, 1, 1) };
    let models =
        [model("A", vec![aligned("a0"), aligned("a1")]), model("B", vec![tensor("B", "b0", 0, 1, 255)])];
    let filled = plan(&models, Schedule::Concurrent);
    assert_eq!((filled.arena_size, filled.proven_optimal), (ByteSize::new(257), true));
    let io = TensorLifetime { pinned: Some(ByteSize::mib(1)), ..tensor("A", "io", 0, 2, 4096) };
    let models = [
        model("A", vec![io, tensor("A", "x", 0, 2, 4096)]),
        model("B", vec![tensor("B", "b", 0, 2, 65_536)]),
    ];
    let filled = plan(&models, Schedule::Concurrent);
    assert_eq!((filled.arena_size, filled.proven_optimal), (ByteSize::new(1_052_672), true));
}

#[test]
fn an_unsound_plan_is_an_error() {
    struct Rogue;
    impl Search for Rogue {
        fn name(&self) -> &str {
            "rogue"
        }
        fn improve(&self, problem: &Problem, _: &Placement, goal: &Goal<'_>) -> Found {
            let placement = Placement::new(problem, vec![ByteSize::ZERO; problem.buffers.len()]);
            Found { placement: Some(placement), bound: goal.bound }
        }
    }
    // Alignment leaves a gap that the portfolio cannot close.
    let aligned = |id| TensorLifetime { alignment: 4, ..tensor("m", id, 0, 2, 1) };
    let models = [model(
        "m",
        vec![
            aligned("a"),
            TensorLifetime { alignment: 8, ..aligned("b") },
            aligned("c"),
            tensor("m", "d", 0, 2, 9),
        ],
    )];
    let planner = MemoryPlanner::new().search(Box::new(Rogue)).deadline(std::time::Duration::from_secs(1));
    for schedule in [Schedule::Fixed, Schedule::Sequential, Schedule::Concurrent] {
        let error = planner.plan(&models, schedule).unwrap_err();
        assert!(
            matches!(&error, LifetimeError::Unsound { method, .. } if method.contains("rogue")),
            "{error}"
        );
        assert!(error.to_string().contains("live together and overlap in addresses"), "{error}");
    }
}

#[test]
fn weights_and_sizes_are_of_64_bits_together() {
    let heavy = |name: &str, weights| Model { weights: ByteSize::new(weights), ..model(name, vec![]) };
    let error =
        MemoryPlanner::new().plan(&[heavy("a", u64::MAX), heavy("b", 1)], Schedule::Fixed).unwrap_err();
    assert!(matches!(error, LifetimeError::WeightsTooLarge { .. }), "{error}");
}

#[test]
fn a_distribution_is_found_where_relieving_pools_gives_up() {
    let tensor = |id, start, bytes, pools: &[&str]| TensorLifetime {
        pools: pools.iter().map(|&pool| pool.into()).collect(),
        ..tensor("m", id, start, 4, bytes)
    };
    let tensors = vec![
        tensor("t0", 3, 6, &["p2", "p0", "p1"]),
        tensor("t1", 3, 7, &[]),
        tensor("t2", 2, 8, &["p1", "p2"]),
    ];
    let pool = |name: &str, capacity| PoolLimit { name: name.into(), capacity: ByteSize::new(capacity) };
    let pools = [pool("p0", 8), pool("p1", 6), pool("p2", 10)];
    let plan = MemoryPlanner::new().plan_pools(&[model("m", tensors)], Schedule::Fixed, &pools).unwrap();
    let ids =
        |p: usize| plan.pools[p].1.tensors.iter().map(|tensor| tensor.id.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (ids(0), ids(1), ids(2)),
        (vec!["t1".to_owned()], vec!["t0".to_owned()], vec!["t2".to_owned()])
    );
}

#[test]
fn a_pool_with_room_has_the_arena_that_its_tensors_have_without_pools() {
    let pools = [PoolLimit { name: "large".into(), capacity: ByteSize::gib(1) }];
    let random = |seed| {
        let mut random = vramkit_units::SplitMix64::new(seed);
        let mut below = |n: usize| random.below(n) as u64;
        let mut one = |i: u64| {
            let start = below(30);
            tensor("m", &format!("t{i}"), start, start + 1 + below(12), 1 + below(90))
        };
        [model("m", (0..40).map(&mut one).collect())]
    };
    let planner = || MemoryPlanner::thorough(std::time::Duration::from_secs(60));
    let is_search = |models: &[Model; 1]| {
        let first = MemoryPlanner::new().plan_pools(models, Schedule::Fixed, &pools).unwrap();
        first.pools[0].1.arena_size > planner().plan(models, Schedule::Fixed).unwrap().arena_size
    };
    let models = (0..50).map(random).find(is_search).expect("one that greedy does not solve");
    let alone = planner().plan(&models, Schedule::Fixed).unwrap();
    let pooled = planner().plan_pools(&models, Schedule::Fixed, &pools).unwrap();
    assert_eq!(pooled.pools[0].1.arena_size, alone.arena_size);
}

#[test]
fn pools_are_on_one_clock_whatever_is_in_them() {
    let in_pool = |pool: &str, id, start, end| TensorLifetime {
        pools: [pool.into()].into(),
        ..tensor("m", id, start, end, 10)
    };
    let models = [
        model("m", vec![in_pool("fast", "early", 3, 5), in_pool("slow", "late", 40, 45)]),
        Model {
            name: "n".into(),
            ..model("n", vec![TensorLifetime { model: "n".into(), ..in_pool("slow", "next", 7, 9) }])
        },
    ];
    let pool = |name: &str| PoolLimit { name: name.into(), capacity: ByteSize::mib(1) };
    let plan = MemoryPlanner::new()
        .plan_pools(&models, Schedule::Sequential, &[pool("fast"), pool("slow")])
        .unwrap();
    let whole = MemoryPlanner::new().plan(&models, Schedule::Sequential).unwrap();
    for tensor in plan.pools.iter().flat_map(|(_, plan)| plan.tensors.iter()) {
        let same = whole.tensors.iter().find(|other| other.id == tensor.id).unwrap();
        assert_eq!((tensor.start, tensor.end), (same.start, same.end), "{}", tensor.id);
    }
    assert!(plan.pools.iter().all(|(_, plan)| plan.schedule == Schedule::Sequential));
}

#[test]
fn pools_take_what_they_are_allowed_and_can_hold() {
    let pool = |name: &str, capacity| PoolLimit { name: name.into(), capacity: ByteSize::new(capacity) };
    let allowed = |pools: &[&str], tensor| TensorLifetime {
        pools: pools.iter().map(|&pool| pool.into()).collect(),
        ..tensor
    };
    let often = TensorLifetime { reads: (1..9).map(Step).collect(), ..tensor("m", "often", 0, 10, 60) };
    let models = [model(
        "m",
        vec![often, tensor("m", "seldom", 0, 10, 60), allowed(&["slow"], tensor("m", "cold", 0, 10, 10))],
    )];
    let planner = MemoryPlanner::new();
    let pools = [pool("fast", 100), pool("slow", 80)];
    let plan = planner.plan_pools(&models, Schedule::Fixed, &pools).unwrap();
    let ids =
        |i: usize| plan.pools[i].1.tensors.iter().map(|tensor| tensor.id.to_string()).collect::<Vec<_>>();
    assert_eq!((ids(0), ids(1)), (vec!["often".to_owned()], vec!["seldom".to_owned(), "cold".to_owned()]));
    assert_eq!(plan.displaced, ByteSize::new(60));
    let tight = planner.plan_pools(&models, Schedule::Fixed, &[pool("fast", 100), pool("slow", 60)]);
    assert!(matches!(tight, Err(PoolPlanError::Full { .. })), "{tight:?}");
    let Err(PoolPlanError::Full { proven, closest, needs, .. }) = &tight else { unreachable!() };
    assert!(*proven && closest.is_some() && *needs == ByteSize::new(70), "{tight:?}");
    let unknown = planner.plan_pools(&models, Schedule::Fixed, &[pool("fast", 100)]);
    assert!(matches!(unknown, Err(PoolPlanError::Unknown { .. })), "{unknown:?}");
    let none = planner.plan_pools(&models, Schedule::Fixed, &[]);
    assert!(matches!(none, Err(PoolPlanError::Pools)), "{none:?}");
}

/// Ends every search, and counts what it is told.
#[derive(Clone, Default)]
struct Stopper(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl Observer for Stopper {
    fn progress(&self, _: ByteSize, _: ByteSize) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    fn is_cancelled(&self) -> bool {
        true
    }
}

#[test]
fn pools_that_are_too_small_are_given_up_when_they_are_stopped() {
    // Each that leaves the first pool, where its pin is too high, leads to another look at the rest.
    let pinned = |n: u64| TensorLifetime {
        pinned: Some(ByteSize::new(60)),
        ..tensor("m", &n.to_string(), n, n + 1, 1)
    };
    let models = [model("m", (0..300).map(pinned).collect())];
    let pool = |name: &str, bytes| PoolLimit { name: name.into(), capacity: ByteSize::new(bytes) };
    let pools = [pool("low", 50), pool("high", 61)];
    let began = std::time::Instant::now();
    let found = MemoryPlanner::new().plan_pools(&models, Schedule::Fixed, &pools).unwrap();
    let (all, last) = (began.elapsed(), found.pools.iter().map(|(_, plan)| plan.elapsed).sum());
    assert_eq!(found.displaced, ByteSize::new(300));
    // How long that took is all of the looks, not the last two.
    let report = crate::report::PlanReport::of_pools(&found, &Default::default());
    assert!(found.elapsed > last && found.elapsed <= all, "{last:?} {:?} {all:?}", found.elapsed);
    assert_eq!(report.elapsed_seconds, found.elapsed.as_secs_f64());
    let stopper = Stopper::default();
    let error = MemoryPlanner::new().observer(stopper.clone()).plan_pools(&models, Schedule::Fixed, &pools);
    assert!(matches!(error, Err(PoolPlanError::Full { proven: false, closest: Some(_), .. })), "{error:?}");
    let told = stopper.0.load(std::sync::atomic::Ordering::Relaxed);
    // Every step is a part of its own: one look at the first pool, and the plan that is shown.
    assert!(told <= 4 * 300, "{told}");
}

/// Nobody waits for what is known: hours of searching are left when the bound of any part, or of some pools, is above what there is.
#[test]
fn what_cannot_fit_is_refused_at_once() {
    let began = std::time::Instant::now();
    let planner = || MemoryPlanner::thorough(std::time::Duration::from_secs(3600));
    // Of odd sizes between aligned ones: nobody proves the best of it soon.
    let rows = |name: &str| {
        let row = |i: u64| match i % 3 {
            0 => tensor(name, &i.to_string(), 0, 2, 40 + i % 13),
            _ => TensorLifetime { alignment: 64, ..tensor(name, &i.to_string(), 0, 1, 33 + i % 7) },
        };
        model(name, (0..60).map(row).collect())
    };
    let models = [rows("A"), rows("B")];
    for schedule in [Schedule::Fixed, Schedule::Sequential, Schedule::Concurrent] {
        let plan = planner().capacity(ByteSize::new(2_000)).plan(&models, schedule).unwrap();
        assert!(
            plan.proven_bound > ByteSize::new(2_000) && plan.arena_size >= plan.proven_bound,
            "{schedule}"
        );
        let named = plan.conflict.is_some_and(|conflict| conflict.needs > ByteSize::new(2_000));
        assert!(named || schedule == Schedule::Concurrent, "{schedule}");
        let pool = |name: &str, bytes| PoolLimit { name: name.into(), capacity: ByteSize::new(bytes) };
        for pools in [vec![pool("one", 2_000)], vec![pool("fast", 1_100), pool("slow", 900)]] {
            let error = planner().plan_pools(&models, schedule, &pools).unwrap_err();
            let PoolPlanError::Full { proven, closest, shortage, .. } = &error else { unreachable!() };
            let shortage = shortage.as_ref().unwrap();
            assert!(*proven && closest.is_some(), "{error}");
            assert_eq!((shortage.pools.len(), shortage.capacity), (pools.len(), ByteSize::new(2_000)));
            assert!(error.to_string().contains(&format!("needs {} at one time", shortage.needs)), "{error}");
        }
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(600));
}

#[test]
fn concurrent_models_with_pins_have_an_answer_when_they_are_stopped() {
    // Placed one by one, each looks at all that is placed.
    let tensors = |name: &str, pin| {
        let pinned = TensorLifetime { pinned: Some(ByteSize::new(pin)), ..tensor(name, "io", 0, 9, 10) };
        let rest = (0..50).map(|n| TensorLifetime {
            alignment: 1 << (n % 5),
            ..tensor(name, &n.to_string(), n, n + 3, 7 + n)
        });
        model(name, std::iter::once(pinned).chain(rest).collect())
    };
    let models = [tensors("A", 3), tensors("B", 40), tensors("C", 13)];
    let planned = |planner: MemoryPlanner| planner.plan(&models, Schedule::Concurrent).unwrap();
    let stopped = planned(MemoryPlanner::new().observer(Stopper::default()));
    assert_eq!(stopped.method, "stacked above all pins");
    let whole = planned(MemoryPlanner::new());
    assert!(whole.method.starts_with("models together") && whole.arena_size <= stopped.arena_size);
}

#[test]
fn the_place_of_a_group_is_free_while_no_member_lives() {
    let member =
        |id, start, end| TensorLifetime { alias_group: Some("g".into()), ..tensor("m", id, start, end, 10) };
    let gaps = vec![(Step(6), Step(7))];
    let late = TensorLifetime { gaps, ..member("late", 5, 9) };
    let tensors = vec![
        member("b", 2, 5),
        member("a", 0, 1),
        late,
        tensor("m", "between", 1, 2, 10),
        tensor("m", "inside", 6, 7, 10),
    ];
    let shared = plan(&[model("m", tensors)], Schedule::Fixed);
    assert_eq!((shared.arena_size, shared.proven_optimal), (ByteSize::new(10), true));
}
