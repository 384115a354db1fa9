use super::*;
use proptest::prelude::*;
use vramkit_units::{ByteSize, Step};

mod shared;

fn tensor(model: &str, id: &str, start: u64, end: u64, bytes: u64) -> TensorLifetime {
    TensorLifetime {
        alignment: 1,
        ..TensorLifetime::new(model, id, Step(start), Step(end), ByteSize::new(bytes))
    }
}

fn model(name: &str, tensors: Vec<TensorLifetime>) -> Model {
    Model { name: name.into(), weights: ByteSize::ZERO, start: Step(0), tensors }
}

fn plan(models: &[Model], schedule: Schedule) -> AllocationPlan {
    let plan = MemoryPlanner::new().plan(models, schedule).unwrap();
    assert_eq!(plan.check(&plan.tensors), Ok(()));
    assert!(plan.arena_size >= plan.lower_bound);
    plan
}

/// Requirement P8, in MB.
fn three_models() -> Vec<Model> {
    let tensor = |m, id, start, end, mb: u64| tensor(m, id, start, end, mb * 1_000_000);
    vec![
        model(
            "A",
            vec![tensor("A", "T1", 0, 10, 100), tensor("A", "T2", 5, 15, 50), tensor("A", "T3", 10, 20, 200)],
        ),
        model("B", vec![tensor("B", "T4", 12, 22, 100), tensor("B", "T5", 18, 28, 50)]),
        model("C", vec![tensor("C", "T6", 22, 32, 200), tensor("C", "T7", 25, 35, 100)]),
    ]
}

#[test]
fn the_three_models_reach_the_optimum_under_every_schedule() {
    for (schedule, arena) in
        [(Schedule::Fixed, 350), (Schedule::Sequential, 300), (Schedule::Concurrent, 700)]
    {
        let plan = plan(&three_models(), schedule);
        assert_eq!((plan.arena_size, plan.proven_optimal), (ByteSize::mb(arena), true), "{schedule}");
        assert_eq!((plan.sum_of_sizes(), plan.sum_of_peaks()), (ByteSize::mb(800), ByteSize::mb(700)));
    }
    let plan = plan(&three_models(), Schedule::Fixed);
    assert_eq!(plan.reduction_of(plan.sum_of_sizes()), 0.5625);
    assert_eq!(plan.reduction_of(plan.sum_of_peaks()), 0.5);
}

#[test]
fn shareable_pairs_are_counted_and_listed_with_reasons() {
    let tensors = on_one_clock(&three_models(), Schedule::Fixed).unwrap();
    let analyzer = LifetimeAnalyzer::new(&tensors, Schedule::Fixed);
    let all = analyzer.opportunities();
    let across: Vec<_> = all.iter().filter(|pair| pair.across_models()).collect();
    assert_eq!((all.len() as u64, across.len()), (analyzer.shareable_pairs(), 11));
    for (first, second) in [("T1", "T4"), ("T3", "T6")] {
        assert!(across.iter().any(|pair| (&*pair.first.id, &*pair.second.id) == (first, second)));
    }
    let pair = across.iter().find(|pair| &*pair.first.id == "T3").unwrap();
    assert_eq!(pair.saved(), ByteSize::mb(200));
    assert_eq!(pair.reason(), "`T3` ends at step 20, `T6` starts at step 22");
}

#[test]
fn edge_cases_have_plans() {
    assert_eq!(plan(&[], Schedule::Fixed).arena_size, ByteSize::ZERO);
    assert_eq!(plan(&[model("m", vec![])], Schedule::Concurrent).arena_size, ByteSize::ZERO);
    assert_eq!(
        plan(&[model("m", vec![tensor("m", "a", 0, 1, 7)])], Schedule::Fixed).arena_size,
        ByteSize::new(7)
    );
    let idle =
        plan(&[model("m", vec![tensor("m", "a", 3, 3, 7), tensor("m", "b", 0, 9, 0)])], Schedule::Fixed);
    assert_eq!(
        (idle.arena_size, idle.lower_bound, idle.proven_optimal),
        (ByteSize::ZERO, ByteSize::ZERO, true)
    );
    let high = TensorLifetime { pinned: Some(ByteSize::new(4096)), ..tensor("m", "high", 2, 2, 7) };
    let pinned = plan(&[model("m", vec![high])], Schedule::Fixed);
    assert_eq!((pinned.arena_size, pinned.offsets[0]), (ByteSize::ZERO, ByteSize::new(4096)));
    // The largest arena that there is; exact search leaves it to the portfolio.
    for bytes in [1 << 63, (1 << 63) - 1] {
        let halves = vec![tensor("m", "a", 0, 2, bytes), tensor("m", "b", 1, 3, u64::MAX - bytes)];
        for schedule in [Schedule::Fixed, Schedule::Sequential, Schedule::Concurrent] {
            let planner = MemoryPlanner::thorough(std::time::Duration::MAX);
            let full = planner.plan(&[model("m", halves.clone())], schedule).unwrap();
            assert_eq!((full.arena_size, full.proven_optimal), (ByteSize::MAX, true));
            assert!(full.offsets.contains(&ByteSize::ZERO) && full.is_valid(&full.tensors));
        }
    }
    let all: Vec<_> = (0..20).map(|i| tensor("m", &i.to_string(), 0, 5, 3)).collect();
    assert_eq!(plan(&[model("m", all)], Schedule::Fixed).arena_size, ByteSize::new(60));
    let huge = plan(
        &[model("m", vec![tensor("m", "a", 0, 5, 1 << 63), tensor("m", "b", 0, 5, (1 << 62) + 1)])],
        Schedule::Fixed,
    );
    assert_eq!(huge.arena_size, ByteSize::new((1 << 63) + (1 << 62) + 1));
}

#[test]
fn nonsense_is_refused_with_the_tensor_named() {
    let refuse = |models: &[Model], schedule| MemoryPlanner::new().plan(models, schedule).unwrap_err();
    let one = |tensors| refuse(&[model("m", tensors)], Schedule::Fixed);
    assert!(matches!(one(vec![tensor("m", "a", 5, 4, 1)]), LifetimeError::EndBeforeStart { .. }));
    assert!(matches!(
        one(vec![tensor("m", "a", 0, 4, 1), tensor("m", "a", 5, 6, 1)]),
        LifetimeError::DuplicateId { .. }
    ));
    assert!(matches!(
        one(vec![TensorLifetime { alignment: 3, ..tensor("m", "a", 0, 4, 1) }]),
        LifetimeError::Alignment { .. }
    ));
    assert!(matches!(
        one(vec![TensorLifetime { reads: vec![Step(4)], ..tensor("m", "a", 0, 4, 1) }]),
        LifetimeError::ReadOutsideLife { .. }
    ));
    let too_large = one(vec![tensor("m", "a", 0, 4, u64::MAX), tensor("m", "b", 7, 8, 1)]);
    assert!(matches!(too_large, LifetimeError::TooLarge { .. }));
    // What never lives is as large as it likes.
    let never = vec![tensor("m", "a", 0, 4, 7), tensor("m", "b", 7, 7, u64::MAX), tensor("m", "c", 2, 2, 9)];
    for schedule in [Schedule::Fixed, Schedule::Sequential, Schedule::Concurrent] {
        let plan = MemoryPlanner::new().plan(&[model("m", never.clone())], schedule).unwrap();
        assert_eq!((plan.arena_size, plan.sum_of_sizes()), (ByteSize::new(7), ByteSize::new(7)));
        assert!(plan.is_valid(&plan.tensors) && plan.shared_pairs() == 0);
    }
    let twice = [model("m", vec![]), model("m", vec![])];
    assert!(matches!(refuse(&twice, Schedule::Fixed), LifetimeError::DuplicateModel(_)));
    let late = Model { start: Step(u64::MAX - 2), ..model("m", vec![tensor("m", "a", 0, 4, 1)]) };
    assert!(matches!(refuse(&[late], Schedule::Fixed), LifetimeError::ClockOverflow(_)));
    let pin = |id: &str, at| TensorLifetime { pinned: Some(ByteSize::new(at)), ..tensor("m", id, 0, 4, 10) };
    let clash = one(vec![pin("a", 0), pin("b", 9)]).to_string();
    assert!(clash.contains("`b`") && clash.contains("`a` is pinned over it"), "{clash}");
    assert!(matches!(one(vec![TensorLifetime { alignment: 4, ..pin("a", 6) }]), LifetimeError::Pin { .. }));
}

#[test]
fn the_fullest_step_counts_an_alias_group_once() {
    let view =
        |id, start, end| TensorLifetime { alias_group: Some("g".into()), ..tensor("m", id, start, end, 10) };
    let tensors =
        vec![view("a", 0, 2), view("b", 0, 2), tensor("m", "c", 4, 6, 15), tensor("m", "d", 5, 6, 1)];
    let plan = plan(&[model("m", tensors)], Schedule::Fixed);
    let (step, places) = plan.fullest_step().unwrap();
    let places: Vec<_> = places.into_iter().map(|place| (place.size.bytes(), place.tensors)).collect();
    assert_eq!((step, places), (Step(5), vec![(15, vec![2]), (1, vec![3])]));
    // The place of a group has the size of its largest member, whichever lives.
    let group = |id, start, end, bytes| TensorLifetime {
        alias_group: Some("g".into()),
        ..tensor("m", id, start, end, bytes)
    };
    let tensors = vec![group("a", 0, 1, 100), group("b", 0, 5, 1), tensor("m", "c", 1, 5, 99)];
    let plan = self::plan(&[model("m", tensors)], Schedule::Fixed);
    let (step, places) = plan.fullest_step().unwrap();
    assert_eq!(places.iter().map(|place| place.size).sum::<ByteSize>(), plan.lower_bound);
    let places: Vec<_> = places.into_iter().map(|place| (place.size.bytes(), place.tensors)).collect();
    assert_eq!((step, places), (Step(1), vec![(100, vec![1]), (99, vec![2])]));
}

#[test]
fn pins_and_alias_groups_are_kept() {
    let pinned = TensorLifetime { pinned: Some(ByteSize::new(100)), ..tensor("m", "p", 0, 10, 50) };
    let group = |id: &str, start, end| TensorLifetime {
        alias_group: Some("g".into()),
        ..tensor("m", id, start, end, 40)
    };
    let models = [model("m", vec![pinned, group("x", 0, 4), group("y", 3, 8), tensor("m", "z", 2, 9, 60)])];
    let plan = plan(&models, Schedule::Fixed);
    let at = |id: &str| plan.offsets[plan.tensors.iter().position(|tensor| &*tensor.id == id).unwrap()];
    assert_eq!(at("p"), ByteSize::new(100));
    assert_eq!(at("x"), at("y"));
    assert_eq!((plan.arena_size, plan.lower_bound), (ByteSize::new(150), ByteSize::new(150)));
    let two = [models[0].clone(), Model { name: "n".into(), ..models[0].clone() }];
    assert!(matches!(MemoryPlanner::new().plan(&two, Schedule::Concurrent), Err(LifetimeError::Pin { .. })));
    // Several models may be pinned, where they do not touch.
    let beside = TensorLifetime { pinned: Some(ByteSize::new(20)), ..tensor("n", "q", 0, 10, 50) };
    let beside = [models[0].clone(), model("n", vec![beside])];
    assert_eq!(self::plan(&beside, Schedule::Concurrent).lower_bound, ByteSize::new(200));
    let one = [model("n", vec![tensor("n", "a", 0, 1, 9)]), models[0].clone()];
    assert_eq!(self::plan(&one, Schedule::Concurrent).arena_size, ByteSize::new(159));
}

#[test]
fn a_wrong_plan_is_found_out() {
    let good = plan(&three_models(), Schedule::Fixed);
    let spoil = |change: &dyn Fn(&mut AllocationPlan)| {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(!bad.is_valid(&good.tensors));
        bad.check(&good.tensors).unwrap_err()
    };
    assert!(matches!(spoil(&|p| p.offsets[1] = p.offsets[0]), PlanFault::Overlap(..)));
    assert!(matches!(spoil(&|p| p.arena_size = ByteSize::new(1)), PlanFault::OutOfBounds { .. }));
    assert!(matches!(spoil(&|p| p.offsets[3] = ByteSize::new(u64::MAX)), PlanFault::OutOfBounds { .. }));
    let mut others = good.tensors.to_vec();
    others[0].size = ByteSize::new(1);
    assert!(matches!(good.check(&others), Err(PlanFault::Changed { .. })));
    others[0].id = "stranger".into();
    assert!(matches!(good.check(&others), Err(PlanFault::Missing { .. })));
    let concurrent = plan(&three_models(), Schedule::Concurrent);
    let mut bad = concurrent.clone();
    bad.offsets.swap(0, 3);
    bad.offsets[0] = bad.offsets[5];
    assert!(matches!(bad.check(&concurrent.tensors), Err(PlanFault::Overlap(..))));
}

/// Cut from a full rectangle of height 6; no order of the portfolio puts it together again, nor the given one.
fn hard_rows(start: u64) -> Vec<TensorLifetime> {
    let rows = [
        (1, 10, 2),
        (7, 12, 1),
        (1, 10, 1),
        (7, 12, 1),
        (8, 10, 1),
        (10, 12, 4),
        (0, 1, 5),
        (1, 7, 2),
        (0, 1, 1),
        (1, 8, 1),
    ];
    let row = |(i, &(s, e, n)): (usize, &(u64, u64, u64))| {
        tensor("m", &format!("{start} {i}"), start + s, start + e, n)
    };
    rows.iter().enumerate().map(row).collect()
}

#[test]
fn every_part_has_an_answer_before_one_is_searched() {
    struct Teller;
    impl Search for Teller {
        fn name(&self) -> &str {
            "teller"
        }
        fn improve(&self, _: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found {
            goal.observer.progress(incumbent.arena, incumbent.arena);
            Found { placement: None, bound: incumbent.arena }
        }
    }
    // Two parts each; once what is proven of one is enough for all, no other is searched.
    let models = [model("m", [hard_rows(0), hard_rows(100)].concat())];
    let planner = MemoryPlanner::new().search(Box::new(Teller)).deadline(std::time::Duration::from_secs(60));
    let plan = planner.plan(&models, Schedule::Fixed).unwrap();
    let steps: Vec<_> = plan.steps.iter().map(|step| (step.part, step.method == "teller")).collect();
    assert_eq!(steps, [(0, false), (1, false), (2, false), (3, false), (1, true)]);
}

#[test]
fn a_search_is_asked_where_a_gap_is_left_and_may_close_it() {
    struct Prover;
    impl Search for Prover {
        fn name(&self) -> &str {
            "prover"
        }
        fn improve(&self, problem: &Problem, incumbent: &Placement, goal: &Goal<'_>) -> Found {
            assert!(incumbent.arena > goal.enough && goal.enough >= goal.bound && goal.seed == 5);
            assert!(problem.max_load() <= goal.bound);
            Found { placement: None, bound: incumbent.arena }
        }
    }
    let models = [model("m", hard_rows(0))];
    let greedy = plan(&models, Schedule::Fixed);
    assert!(!greedy.proven_optimal, "greedy leaves a gap here");
    let planner =
        MemoryPlanner::new().search(Box::new(Prover)).deadline(std::time::Duration::from_secs(1)).seed(5);
    let searched = planner.plan(&models, Schedule::Fixed).unwrap();
    assert_eq!(searched.arena_size, greedy.arena_size);
    assert!(searched.proven_optimal);
}

#[test]
fn what_sticks_out_goes_first_next_time() {
    // 1,500 buffers scattered at random, among many that live long: no order of the portfolio is near the load.
    let mut random = vramkit_units::SplitMix64::new(7);
    let tensors: Vec<_> = (0..1500)
        .map(|i| {
            let start = random.below(3000) as u64;
            let end = start + 1 + random.below(400) as u64;
            tensor("m", &i.to_string(), start, end, 1 + random.below(1000) as u64)
        })
        .collect();
    let models = [model("m", tensors)];
    let greedy = plan(&models, Schedule::Fixed);
    assert!(!greedy.proven_optimal);
    let planner = |threads| {
        let planner = MemoryPlanner::new().search(Box::new(SqueakyWheel)).threads(threads);
        planner.deadline(std::time::Duration::from_secs(600))
    };
    let better = planner(1).plan(&models, Schedule::Fixed).unwrap();
    assert_eq!(better.check(&better.tensors), Ok(()));
    assert!(better.arena_size < greedy.arena_size, "{} {}", better.arena_size, greedy.arena_size);
    assert_eq!(better.method, "squeaky wheel");
    let again = planner(3).plan(&models, Schedule::Fixed).unwrap();
    assert_eq!(better.offsets, again.offsets, "whatever the number of threads");
}

#[test]
fn gaps_are_used_and_their_faults_named() {
    let gap = |start, end| (Step(start), Step(end));
    let holed = TensorLifetime { gaps: vec![gap(2, 8)], ..tensor("m", "holed", 0, 10, 70) };
    let models = [model("m", vec![holed.clone(), tensor("m", "inside", 2, 8, 60)])];
    let plan = plan(&models, Schedule::Fixed);
    assert_eq!((plan.arena_size, plan.lower_bound), (ByteSize::new(70), ByteSize::new(70)));
    let longer = [model("m", vec![holed.clone(), tensor("m", "longer", 2, 9, 60)])];
    assert_eq!(self::plan(&longer, Schedule::Fixed).arena_size, ByteSize::new(130));
    let wrong: [&[(u64, u64)]; 5] = [&[(0, 2)], &[(3, 3)], &[(8, 10)], &[(2, 4), (4, 6)], &[(5, 6), (2, 3)]];
    for gaps in wrong {
        let gaps = gaps.iter().map(|&(start, end)| gap(start, end)).collect();
        let tensors = vec![TensorLifetime { gaps, ..holed.clone() }];
        let error = MemoryPlanner::new().plan(&[model("m", tensors)], Schedule::Fixed).unwrap_err();
        assert!(matches!(error, LifetimeError::Gap { .. }), "{error}");
    }
    let read = vec![TensorLifetime { reads: vec![Step(5)], ..holed }];
    let error = MemoryPlanner::new().plan(&[model("m", read)], Schedule::Fixed).unwrap_err();
    assert!(matches!(error, LifetimeError::ReadOutsideLife { .. }), "{error}");
}

#[test]
fn what_cannot_fit_is_named_and_irreducible() {
    let planner = |capacity| {
        let planner =
            MemoryPlanner::new().search(Box::new(ExactSearch)).deadline(std::time::Duration::from_secs(60));
        planner.capacity(ByteSize::new(capacity))
    };
    // One step is too full: T3, T4 and T2 at step 12.
    let plan = planner(320_000_000).plan(&three_models(), Schedule::Fixed).unwrap();
    let conflict = plan.conflict.unwrap();
    assert_eq!((conflict.step, conflict.needs), (Some(Step(12)), ByteSize::mb(350)));
    assert_eq!((conflict.tensors, conflict.irreducible), (vec![2, 3, 1], true));
    assert_eq!(planner(350_000_000).plan(&three_models(), Schedule::Fixed).unwrap().conflict, None);

    // One is pinned where there is nothing.
    let high = TensorLifetime { pinned: Some(ByteSize::new(1 << 62)), ..tensor("m", "high", 0, 9, 10) };
    let tensors = vec![tensor("m", "a", 0, 9, 10), high, tensor("m", "b", 1, 5, 20)];
    let conflict = planner(100).plan(&[model("m", tensors)], Schedule::Fixed).unwrap().conflict.unwrap();
    assert_eq!((conflict.tensors, conflict.needs), (vec![1], ByteSize::new((1 << 62) + 10)));
    // Nine bytes are live at most, but alignment makes ten of them: two tensors, whatever the others do.
    let aligned = |alignment, tensor| TensorLifetime { alignment, ..tensor };
    let mut tensors: Vec<_> = (0..20).map(|i| tensor("m", &i.to_string(), i % 7, i % 7 + 1, 1)).collect();
    tensors.push(aligned(2, tensor("m", "two", 7, 9, 2)));
    tensors.push(aligned(4, tensor("m", "seven", 8, 10, 7)));
    let plan = planner(9).plan(&[model("m", tensors)], Schedule::Fixed).unwrap();
    assert_eq!((plan.lower_bound, plan.proven_bound), (ByteSize::new(9), ByteSize::new(10)));
    let conflict = plan.conflict.unwrap();
    assert_eq!((conflict.tensors, conflict.irreducible), (vec![20, 21], true));
    assert_eq!((conflict.step, conflict.needs), (Some(Step(8)), ByteSize::new(10)));
}

/// Any workload: models, tensors with alignments, some groups.
fn workloads() -> impl Strategy<Value = Vec<Model>> {
    let tensor = (0u64..40, 0u64..15, 0u64..1000, 0u32..9, prop::option::weighted(0.2, 0u8..3));
    prop::collection::vec(prop::collection::vec(tensor, 0..25), 0..4).prop_map(|models| {
        type Row = (u64, u64, u64, u32, Option<u8>);
        let model = |(m, tensors): (usize, Vec<Row>)| {
            let name = format!("m{m}");
            let tensors = tensors.into_iter().enumerate().map(|(i, (start, length, size, shift, group))| {
                TensorLifetime {
                    alignment: 1 << shift,
                    alias_group: group.map(|g| g.to_string().into()),
                    ..self::tensor(&name, &i.to_string(), start, start + length, size)
                }
            });
            self::model(&name, tensors.collect())
        };
        models.into_iter().enumerate().map(model).collect()
    })
}

proptest! {
    /// Against the definition: no two tensors that may be live together overlap, whatever the schedule.
    #[test]
    fn every_plan_is_sound(models in workloads(), schedule in prop::sample::select(vec![Schedule::Fixed, Schedule::Sequential, Schedule::Concurrent])) {
        let plan = MemoryPlanner::new().plan(&models, schedule).unwrap();
        prop_assert_eq!(plan.check(&plan.tensors), Ok(()));
        for (i, (a, at)) in plan.tensors.iter().zip(&plan.offsets).enumerate() {
            prop_assert!(at.bytes().is_multiple_of(a.alignment));
            prop_assert!(!a.takes_room() || *at + a.size <= plan.arena_size);
            for (b, bt) in plan.tensors.iter().zip(&plan.offsets).skip(i + 1) {
                let one_group = a.model == b.model && a.alias_group.is_some() && a.alias_group == b.alias_group;
                let both_take_room = a.size.bytes().min(b.size.bytes()) > 0 && a.start < a.end && b.start < b.end;
                let together = if a.model != b.model && schedule == Schedule::Concurrent { both_take_room } else { a.overlaps(b) };
                if together && !one_group {
                    prop_assert!(*at + a.size <= *bt || *bt + b.size <= *at, "{:?} {:?}", a, b);
                }
            }
        }
        prop_assert!(plan.lower_bound <= plan.arena_size);
        let analyzer = LifetimeAnalyzer::new(&plan.tensors, schedule);
        prop_assert_eq!(analyzer.peak().unwrap(), plan.lower_bound);
        prop_assert_eq!(analyzer.opportunities().len() as u64, analyzer.shareable_pairs());
        // Deterministic.
        let again = MemoryPlanner::new().plan(&models, schedule).unwrap();
        prop_assert_eq!(plan.offsets, again.offsets);
    }

    /// A plan disturbed anywhere is judged as the definition does.
    #[test]
    fn validity_agrees_with_the_definition(models in workloads(), moves in prop::collection::vec((any::<prop::sample::Index>(), 0u64..1500), 1..4)) {
        let mut plan = MemoryPlanner::new().plan(&models, Schedule::Fixed).unwrap();
        prop_assume!(!plan.tensors.is_empty());
        let tensors = plan.tensors.iter().map(|t| TensorLifetime { alignment: 1, alias_group: None, ..t.clone() });
        plan.tensors = tensors.collect::<Vec<_>>().into();
        plan.arena_size = ByteSize::new(4096);
        for (pick, offset) in moves {
            let i = pick.index(plan.tensors.len());
            plan.offsets[i] = ByteSize::new(offset);
        }
        let all: Vec<_> = plan.tensors.iter().zip(&plan.offsets).filter(|(t, _)| !t.size.is_zero()).collect();
        let sound = all.iter().enumerate().all(|(i, (a, at))| {
            all[i + 1..].iter().all(|(b, bt)| !a.overlaps(b) || **at + a.size <= **bt || **bt + b.size <= **at)
        });
        let mut inside = plan.tensors.iter().zip(&plan.offsets).filter(|(tensor, _)| tensor.takes_room());
        let inside = inside.all(|(t, at)| *at + t.size <= plan.arena_size);
        prop_assert_eq!(plan.is_valid(&plan.tensors.clone()), sound && inside);
    }

    /// Over pools too every tensor has a place, in a pool that it is allowed in, and every pool's plan is sound.
    #[test]
    fn every_pooled_plan_is_sound(models in workloads(), small in 500u64..4000) {
        let pool = |name: &str, capacity| PoolLimit { name: name.into(), capacity: ByteSize::new(capacity) };
        let pools = [pool("small", small), pool("middle", 2 * small), pool("large", u64::MAX / 4)];
        let plan = MemoryPlanner::new().plan_pools(&models, Schedule::Fixed, &pools).unwrap();
        let all: usize = plan.pools.iter().map(|(_, plan)| plan.tensors.len()).sum();
        prop_assert_eq!(all, models.iter().map(|model| model.tensors.len()).sum::<usize>());
        for (pool, plan) in &plan.pools {
            prop_assert!(plan.arena_size <= pool.capacity);
            prop_assert_eq!(plan.check(&plan.tensors), Ok(()));
        }
    }
}
