//! Orders of whole families of graphs, against their optimum found in other ways.

#[path = "../examples/order/families.rs"]
mod families;

use std::collections::HashMap;
use std::time::Duration;

use families::{Start, chains, random, renumbered, reversed, series_parallel, tree};
use vramkit_plan::{Dataflow, FlowValue, OrderBudget, StepOrder};
use vramkit_units::ByteSize;

fn best(flow: &Dataflow) -> StepOrder {
    let given: Vec<usize> = (0..flow.steps()).collect();
    let found = flow.best_order(&given, &OrderBudget::new(Duration::from_secs(60), &()));
    let mut position = vec![usize::MAX; flow.steps()];
    found.order.iter().enumerate().for_each(|(at, &step)| position[step] = at);
    assert_eq!(found.order.len(), flow.steps());
    for value in &flow.values {
        let is_after = |&reader: &usize| value.maker.is_none_or(|maker| position[maker] < position[reader]);
        assert!(value.readers.iter().all(is_after), "what is read is made before");
    }
    assert_eq!(flow.peak_of(&found.order), found.peak);
    assert!(found.bound <= found.peak && found.proven == (found.bound == found.peak));
    found
}

/// The lowest peak of any order, set by set of steps done.
fn lowest(flow: &Dataflow) -> u64 {
    let steps = flow.steps();
    let mut waits = vec![0u32; steps];
    for value in &flow.values {
        for &reader in &value.readers {
            waits[reader] |= value.maker.map_or(0, |maker| 1 << maker);
        }
    }
    let sets: Vec<u32> = flow
        .values
        .iter()
        .map(|value| value.readers.iter().fold(0, |set, &reader| set | 1 << reader))
        .collect();
    let live = |done: u32| -> u64 {
        let values = flow.values.iter().zip(&sets);
        let is_live = |maker: Option<usize>, set: u32, stays: bool| {
            maker.is_none_or(|maker| done >> maker & 1 == 1) && (stays || set & !done != 0)
        };
        values
            .filter(|(value, set)| is_live(value.maker, **set, value.stays))
            .map(|(value, _)| value.size.bytes())
            .sum()
    };
    let made: Vec<u64> = (0..steps)
        .map(|step| {
            flow.values.iter().filter(|value| value.maker == Some(step)).map(|value| value.size.bytes()).sum()
        })
        .collect();
    let mut layer = HashMap::from([(0u32, 0u64)]);
    for _ in 0..steps {
        let mut next: HashMap<u32, u64> = HashMap::new();
        for (&done, &peak) in &layer {
            let before = live(done);
            for step in (0..steps).filter(|&step| done >> step & 1 == 0 && waits[step] & !done == 0) {
                let peak = peak.max(before + made[step]);
                let known = next.entry(done | 1 << step).or_insert(peak);
                *known = (*known).min(peak);
            }
        }
        layer = next;
    }
    layer.into_values().max().unwrap_or(0)
}

/// The lowest peak of chains that begin with nothing and end in one step: Liu's order, by its definition.
fn by_hills_and_valleys(flow: &Dataflow) -> u64 {
    let last = flow.steps() - 1;
    let mut parts: Vec<(u64, u64)> = Vec::new();
    let (mut sizes, mut ends) = (Vec::new(), 0);
    for value in flow.values.iter().filter(|value| value.maker != Some(last)) {
        sizes.push(value.size.bytes());
        if value.readers == [last] {
            ends += value.size.bytes();
            // During each step what it reads is live besides what it makes.
            let during: Vec<u64> =
                (0..sizes.len()).map(|at| sizes[at] + at.checked_sub(1).map_or(0, |at| sizes[at])).collect();
            let (mut from, mut floor) = (0, 0);
            while from < sizes.len() {
                let hill = (from..sizes.len()).rev().max_by_key(|&at| (during[at], at)).unwrap_or(from);
                let valley =
                    (hill..sizes.len()).min_by_key(|&at| (sizes[at], usize::MAX - at)).unwrap_or(hill);
                parts.push((during[hill] - floor, sizes[valley] - floor));
                (from, floor) = (valley + 1, sizes[valley]);
            }
            sizes.clear();
        }
    }
    parts.sort_by_key(|(hill, delta)| delta.wrapping_sub(*hill) as i64);
    let mut live = 0;
    let mut peak = ends + 1;
    for (hill, delta) in parts {
        peak = peak.max(live + hill);
        live += delta;
    }
    peak
}

#[test]
fn chains_are_in_their_best_order() {
    for count in [2, 3, 5, 10, 20, 40, 60] {
        for longest in [2, 6, 50] {
            for seed in 0..3 {
                let flow = chains(count, longest, Start::Own, seed);
                let found = best(&flow);
                assert_eq!(found.peak.bytes(), by_hills_and_valleys(&flow), "{count} {longest} {seed}");
                assert!(found.proven);
            }
        }
    }
}

#[test]
fn what_is_built_from_rows_and_branches_is_solved() {
    for seed in 0..12 {
        for steps in [20, 100, 400] {
            let tree = tree(steps, seed);
            let all = [
                series_parallel(steps, false, seed),
                chains(steps / 10, 12, Start::Kept, seed),
                reversed(&tree),
                tree,
            ];
            for (family, flow) in all.iter().enumerate() {
                assert!(best(flow).proven, "{family} {steps} {seed}");
            }
        }
    }
}

#[test]
fn small_graphs_are_solved() {
    let mut all: Vec<(String, Dataflow)> = Vec::new();
    for seed in 0..60 {
        let steps = 4 + seed as usize % 15;
        all.push((format!("random {seed}"), random(steps, 4 + seed as usize % 9, seed)));
        all.push((format!("tree {seed}"), tree(steps, seed)));
        all.push((format!("reversed {seed}"), reversed(&tree(steps, seed))));
        all.push((format!("nested {seed}"), series_parallel(steps, false, seed)));
        all.push((format!("shared {seed}"), series_parallel(steps, true, seed)));
        let start = [Start::Own, Start::Shared, Start::Kept][seed as usize % 3];
        all.push((format!("chains {seed}"), chains(2 + seed as usize % 3, 5, start, seed)));
    }
    for (name, flow) in all.iter().filter(|(_, flow)| flow.steps() <= 20) {
        let found = best(flow);
        assert_eq!((found.peak.bytes(), found.proven), (lowest(flow), true), "{name}");
    }
}

#[test]
fn numbers_make_no_difference() {
    for seed in 0..6 {
        let all = [
            random(60, 20, seed),
            families::randwire(32, 4, 0.75, false, seed),
            chains(8, 10, Start::Shared, seed),
            series_parallel(80, true, seed),
            families::grid(7, seed),
        ];
        // Each once more with an input that nobody reads.
        let unread = FlowValue { size: ByteSize::new(5_000), ..FlowValue::default() };
        let with_unread = |flow: &Dataflow| Dataflow {
            values: flow.values.iter().chain([&unread]).cloned().collect(),
            ..flow.clone()
        };
        let all: Vec<Dataflow> = all.iter().map(with_unread).chain(all.iter().cloned()).collect();
        for (family, flow) in all.iter().enumerate() {
            let found = best(flow);
            for other in 0..3 {
                let again = best(&renumbered(flow, other));
                assert_eq!((found.peak, found.bound), (again.peak, again.bound), "{family} {seed} {other}");
            }
        }
    }
}
