//! Starts that are known to be best, and bounds against every start.

use super::*;
use crate::{OrderBudget, TensorLifetime};
use proptest::prelude::*;
use vramkit_units::SplitMix64;

fn long() -> StartsSearch<'static> {
    let budget = OrderBudget::new(std::time::Duration::from_millis(200), &());
    StartsSearch { seed: 0, threads: 1, budget, capacity: None }
}

fn model(name: &str, rows: &[(u64, u64, u64)]) -> Model {
    let tensors = rows.iter().enumerate().map(|(i, &(start, end, bytes))| {
        let id = i.to_string();
        TensorLifetime {
            alignment: 1,
            ..TensorLifetime::new(name, &id, Step(start), Step(end), ByteSize::new(bytes))
        }
    });
    Model { name: name.into(), weights: ByteSize::ZERO, start: Step(0), tensors: tensors.collect() }
}

#[test]
fn models_that_are_pinned_to_one_place_are_kept_apart() {
    let pinned = |name: &str, start| {
        let mut model = model(name, &[(0, 3, 5)]);
        model.tensors[0].pinned = Some(ByteSize::ZERO);
        Model { start: Step(start), ..model }
    };
    // By load alone the first two would run together beside the large one.
    let large = model("c", &[(0, 3, 10)]);
    let chosen = choose_starts(&[pinned("a", 0), pinned("b", 3), large.clone()], Step(6), &long()).unwrap();
    assert_eq!((chosen.starts, chosen.peak), (vec![Step(0), Step(3), Step(0)], ByteSize::new(15)));
    // Where the given starts do not keep them apart, one after the other does.
    let chosen = choose_starts(&[pinned("a", 0), pinned("b", 0), large.clone()], Step(9), &long()).unwrap();
    assert!(chosen.starts[0].0.abs_diff(chosen.starts[1].0) >= 3, "{:?}", chosen.starts);
    // Where neither does: by load alone the pinned ones would run together again, beside no large one.
    let many = |name: &'static str| ["1", "2", "3"].map(|n| (format!("{name}{n}"), name));
    let named = many("a").into_iter().chain(many("c")).chain([("a4".to_owned(), "a")]);
    let models: Vec<Model> = named
        .map(|(name, kind)| match kind {
            "a" => Model { name: name.as_str().into(), ..pinned(&name, 0) },
            _ => model(&name, &[(0, 3, 10)]),
        })
        .collect();
    let chosen = choose_starts(&models, Step(12), &long()).unwrap();
    assert_eq!(chosen.peak, ByteSize::new(15));
    let starts = models.iter().zip(&chosen.starts).filter(|(model, _)| model.name.starts_with('a'));
    let mut starts: Vec<u64> = starts.map(|(_, start)| start.0).collect();
    starts.sort_unstable();
    assert_eq!(starts, [0, 3, 6, 9]);
    let models = [pinned("a", 0), pinned("b", 0), pinned("d", 0), large];
    let error = choose_starts(&models, Step(6), &long()).unwrap_err();
    assert!(error.to_string().ends_with("pin them apart, give a larger makespan, or none"), "{error}");
}

#[test]
fn peaks_are_moved_apart() {
    // Each has 10 throughout and 100 in the middle third.
    let one = |name| model(name, &[(0, 9, 10), (3, 6, 90)]);
    let starts = choose_starts(&[one("a"), one("b"), one("c")], Step(15), &long()).unwrap();
    assert_eq!((starts.before, starts.peak), (ByteSize::new(300), ByteSize::new(120)));
    let sorted = {
        let mut sorted: Vec<u64> = starts.starts.iter().map(|start| start.0).collect();
        sorted.sort_unstable();
        sorted
    };
    assert!(sorted[0] + 3 <= sorted[1] && sorted[1] + 3 <= sorted[2] && sorted[2] <= 6, "{sorted:?}");
    let error = choose_starts(&[one("a")], Step(8), &long()).unwrap_err().to_string();
    assert!(error.contains("`a` takes 9 steps") && error.contains("at least 9"), "{error}");
}

/// Cut from a rectangle of 24 steps and 30 bytes: put together as they were, they fill it.
#[test]
fn boxes_that_fill_a_rectangle_are_packed() {
    let rows = [(9, 11), (15, 11), (5, 19), (7, 8), (7, 11), (12, 4), (4, 7), (4, 8), (8, 15)];
    let models: Vec<Model> = rows
        .iter()
        .enumerate()
        .map(|(i, &(steps, bytes))| model(&i.to_string(), &[(0, steps, bytes)]))
        .collect();
    let starts = choose_starts(&models, Step(24), &long()).unwrap();
    assert_eq!((starts.peak, starts.bound), (ByteSize::new(30), ByteSize::new(30)));
}

/// Alignments of 16 bytes round two of the boxes up, by more than other starts lose by overlapping.
#[test]
fn a_packing_of_rounded_boxes_is_taken_only_where_its_arena_is_lower() {
    let boxes = [("a", 10, 1, 16), ("b", 3, 4, 1), ("c", 10, 2, 1), ("d", 5, 2, 16)];
    let models = boxes.map(|(name, bytes, steps, alignment)| {
        let mut model = model(name, &[(0, steps, bytes)]);
        model.tensors[0].alignment = alignment;
        model
    });
    let starts = choose_starts(&models, Step(4), &long()).unwrap();
    let at: Vec<u64> = starts.starts.iter().map(|start| start.0).collect();
    assert_eq!((starts.given_end, arena(&models, &at).unwrap()), (Step(4), 21), "{at:?}");
}

/// Models of three tensors, cut from a rectangle: what some free, others take.
#[test]
fn loads_that_fit_one_another_are_put_together() {
    let mut random = SplitMix64::new(3);
    let mut pieces = vec![(0u64, 10_000u64, 1u64 << 40)];
    while pieces.len() < 30 {
        let at = random.below(pieces.len());
        let (from, to, bytes) = pieces.swap_remove(at);
        if random.below(2) == 0 && to - from > 2 {
            let middle = from + 1 + random.below((to - from - 1) as usize) as u64;
            pieces.extend([(from, middle, bytes), (middle, to, bytes)]);
        } else {
            let low = 1 + random.below(bytes as usize - 1) as u64;
            pieces.extend([(from, to, low), (from, to, bytes - low)]);
        }
    }
    pieces.sort_unstable();
    let of = |(i, group): (usize, &[(u64, u64, u64)])| {
        let first = group[0].0;
        let rows: Vec<_> = group.iter().map(|&(from, to, bytes)| (from - first, to - first, bytes)).collect();
        model(&i.to_string(), &rows)
    };
    let models: Vec<Model> = pieces.chunks(3).enumerate().map(of).collect();
    // It ends as soon as it is there.
    let budget = OrderBudget::new(std::time::Duration::from_secs(600), &());
    let starts = choose_starts(&models, Step(10_000), &StartsSearch { budget, ..long() }).unwrap();
    assert_eq!((starts.peak, starts.bound), (ByteSize::new(1 << 40), ByteSize::new(1 << 40)));
}

#[test]
fn hundreds_of_models_are_spread_at_once() {
    // Ramps of 40 steps; all at once they would come to sixty times as much as there is room for.
    let models: Vec<Model> = (0..300)
        .map(|i: u64| {
            let tensors: Vec<_> = (0..20).map(|k| (2 * k, 2 * k + 3, 1 + (i * 37 + k * 11) % 97)).collect();
            model(&i.to_string(), &tensors)
        })
        .collect();
    let budget = OrderBudget::new(std::time::Duration::ZERO, &());
    let search = StartsSearch { seed: 0, threads: 1, budget, capacity: None };
    let unhurried =
        StartsSearch { budget: OrderBudget::new(std::time::Duration::from_millis(500), &()), ..search };
    for (search, times) in [(search, 8), (unhurried, 3)] {
        let starts = choose_starts(&models, Step(600), &search).unwrap();
        assert!(starts.peak.bytes() <= starts.bound.bytes() * times, "{} of {}", starts.peak, starts.bound);
    }
}

/// What thousands come to is in proportion to what hundreds do.
#[test]
fn models_that_are_alike_may_be_many() {
    let alike = |many: u64, rows: &[(u64, u64, u64)]| -> Vec<Model> {
        (0..many).map(|i| model(&i.to_string(), rows)).collect()
    };
    let within = |models: &[Model], milliseconds| {
        let budget = OrderBudget::new(std::time::Duration::from_millis(milliseconds), &());
        choose_starts(models, Step(100), &StartsSearch { budget, ..long() }).unwrap()
    };
    // Fourteen run one after the other.
    for many in [2_001u64, 20_000] {
        let starts = within(&alike(many, &[(0, 7, 1_000)]), 0);
        assert_eq!(starts.peak.bytes(), many.div_ceil(14) * 1_000, "{many}");
    }
    // Where boxes were packed, an arena of their offsets is there.
    let mut random = SplitMix64::new(1);
    let uneven = (0..2_100).map(|i| {
        let (steps, bytes) = (1 + random.below(100) as u64, 1 + random.below(1_000) as u64);
        model(&i.to_string(), &[(0, steps, bytes)])
    });
    let mut uneven: Vec<Model> = uneven.collect();
    let starts = within(&uneven, 0);
    for ((model, &start), &at) in uneven.iter_mut().zip(&starts.starts).zip(starts.offsets.as_ref().unwrap())
    {
        (model.start, model.tensors[0].hint) = (start, Some(at));
    }
    let plan = MemoryPlanner::new().plan(&uneven, Schedule::Fixed).unwrap();
    assert!(plan.arena_size.ratio_of(starts.bound) < 1.1, "{} of {}", plan.arena_size, starts.bound);
    for many in [299u64, 301, 3_000] {
        let starts = within(&alike(many, &[(0, 4, 1_000), (3, 7, 500)]), 1_000);
        assert!(starts.peak.bytes() * 100 <= many * 6_550, "{} of {many}", starts.peak);
    }
}

#[test]
fn no_starts_are_looked_for_where_none_will_do() {
    let models: Vec<Model> = (0..40).map(|i| model(&i.to_string(), &[(0, 5 + i % 3, 100 + i)])).collect();
    let began = std::time::Instant::now();
    let budget = OrderBudget::new(std::time::Duration::from_secs(3600), &());
    let search = StartsSearch { budget, capacity: Some(ByteSize::new(300)), ..long() };
    let starts = choose_starts(&models, Step(50), &search).unwrap();
    assert!(starts.bound > ByteSize::new(300) && starts.peak >= starts.bound);
    assert!(began.elapsed() < std::time::Duration::from_secs(600));
}

#[test]
fn what_cannot_run_one_after_the_other_is_in_the_bound() {
    // Any two of them take more than 10 steps together; spread evenly they would come to 19.
    let models: Vec<Model> = (0..3).map(|i| model(&i.to_string(), &[(0, 6, 10)])).collect();
    let starts = choose_starts(&models, Step(10), &long()).unwrap();
    assert_eq!((starts.peak, starts.bound), (ByteSize::new(30), ByteSize::new(30)));
    // Neither has 100 at an end, but wherever both start, both have it at step 5.
    let models = ["a", "b"].map(|name| model(name, &[(0, 9, 1), (2, 7, 99)]));
    let starts = choose_starts(&models, Step(10), &long()).unwrap();
    assert_eq!(starts.bound, ByteSize::new(200));
}

proptest! {
    /// Two models, against every start of both.
    #[test]
    fn two_models_are_placed_best(
        a in prop::collection::vec((0u64..6, 1u64..5, 1u64..20), 1..5),
        b in prop::collection::vec((0u64..6, 1u64..5, 1u64..20), 1..5),
        more in 0u64..8,
    ) {
        let rows = |rows: Vec<(u64, u64, u64)>| rows.into_iter().map(|(s, l, n)| (s, s + l, n)).collect::<Vec<_>>();
        let models = [model("a", &rows(a)), model("b", &rows(b))];
        let profiles: Vec<Profile> = models.iter().map(|model| Profile::new(model).unwrap()).collect();
        let makespan = profiles[0].steps.max(profiles[1].steps) + more;
        let found = choose_starts(&models, Step(makespan), &long()).unwrap();
        let alone = Models::new(&profiles, makespan, Pins::none(2));
        let all = (0..=makespan - profiles[0].steps).flat_map(|x| (0..=makespan - profiles[1].steps).map(move |y| [x, y]));
        let best = all.map(|starts| alone.cost(&starts).peak).min().unwrap();
        prop_assert_eq!(found.peak.bytes(), best);
        prop_assert!(found.bound <= found.peak);
        let ends = found.starts.iter().zip(&profiles).map(|(start, profile)| start.0 + profile.steps);
        prop_assert!(ends.max().unwrap() <= makespan);
    }
}
