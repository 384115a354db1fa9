//! Against all orders: the lowest peak of small dataflows.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::budget::OrderBudget;
use super::dataflow::{Dataflow, FlowValue};
use super::recompute::Recomputed;
use proptest::prelude::*;
use vramkit_units::ByteSize;

fn flow(rows: &[(u64, Option<usize>, &[usize], bool)], steps: usize) -> Dataflow {
    let value = |&(bytes, maker, readers, stays): &(u64, Option<usize>, &[usize], bool)| FlowValue {
        size: ByteSize::new(bytes),
        maker,
        readers: readers.to_vec(),
        stays,
        over: None,
    };
    Dataflow { cheap: vec![true; steps], values: rows.iter().map(value).collect() }
}

/// As long as it takes.
fn endless() -> OrderBudget<'static> {
    OrderBudget::new(Duration::MAX, &())
}

fn is_possible(flow: &Dataflow, order: &[usize]) -> bool {
    let mut position = vec![usize::MAX; flow.steps()];
    order.iter().enumerate().for_each(|(at, &step)| position[step] = at);
    let after = |value: &FlowValue| {
        value.maker.is_none_or(|maker| value.readers.iter().all(|&reader| position[maker] < position[reader]))
    };
    order.len() == flow.steps() && !position.contains(&usize::MAX) && flow.values.iter().all(after)
}

/// The lowest peak of any order, by trying all.
fn lowest(flow: &Dataflow) -> u64 {
    fn go(flow: &Dataflow, order: &mut Vec<usize>, best: &mut u64) {
        if order.len() == flow.steps() {
            *best = (*best).min(flow.peak_of(order).bytes());
        }
        for step in 0..flow.steps() {
            let waits = |value: &FlowValue| {
                value.readers.contains(&step) && value.maker.is_some_and(|m| !order.contains(&m))
            };
            if !order.contains(&step) && !flow.values.iter().any(waits) {
                order.push(step);
                go(flow, order, best);
                order.pop();
            }
        }
    }
    let mut best = u64::MAX;
    go(flow, &mut Vec::new(), &mut best);
    best
}

#[test]
fn two_branches_run_one_after_the_other() {
    // Each branch makes 100 and reduces it to 1; the file makes both before it reduces either.
    let flow = flow(
        &[
            (10, None, &[0, 1], false),
            (100, Some(0), &[2], false),
            (100, Some(1), &[3], false),
            (1, Some(2), &[4], false),
            (1, Some(3), &[4], false),
            (1, Some(4), &[], true),
        ],
        5,
    );
    let found = flow.best_order(&[0, 1, 2, 3, 4], &endless());
    assert_eq!(flow.peak_of(&[0, 1, 2, 3, 4]), ByteSize::new(210));
    assert_eq!((found.peak, found.proven), (ByteSize::new(111), true));
    assert!(is_possible(&flow, &found.order));
}

#[test]
fn what_nobody_reads_is_live_in_the_smallest_step() {
    // Both branches make as much in all; beside the input that nobody reads only the small step goes first.
    let rows = |a: usize, b: usize| {
        flow(&[(4, None, &[], false), (4, Some(a), &[2], false), (1, Some(b), &[2], false)], 3)
    };
    for flow in [rows(0, 1), rows(1, 0)] {
        let found = flow.best_order(&[0, 1, 2], &endless());
        assert_eq!((found.peak, found.proven), (ByteSize::new(5), true));
    }
}

#[test]
fn what_is_cheap_is_made_again_rather_than_kept() {
    // A skip of 50 over a wide middle, made from an input that is wanted again anyway.
    let flow = flow(
        &[
            (50, None, &[0, 4], false),
            (50, Some(0), &[1, 4], false),
            (10, Some(1), &[2], false),
            (100, Some(2), &[3], false),
            (10, Some(3), &[4], false),
            (1, Some(4), &[], true),
        ],
        5,
    );
    let order = [0, 1, 2, 3, 4];
    let again = flow.recompute(&order, &endless());
    assert_eq!(again.repeats, [0]);
    assert!(is_possible(&again.flow, &again.order));
    let peaks = (flow.peak_of(&order).bytes(), again.flow.peak_of(&again.order).bytes());
    assert_eq!(peaks, (210, 160));
    // With as much elsewhere nothing is gained, and nothing made again.
    let mut other = flow.clone();
    other.cheap.extend([true, true]);
    let size = ByteSize::new(209);
    other.values.push(FlowValue { size, maker: Some(5), readers: vec![6], ..FlowValue::default() });
    let order = [0, 1, 2, 3, 4, 5, 6];
    let same = other.recompute(&order, &endless());
    assert_eq!((same.repeats, other.peak_of(&order).bytes()), (vec![], 210));
}

#[test]
fn what_no_sum_can_hold_is_left_as_it_is() {
    let flow = flow(&[(u64::MAX, None, &[0, 1], false), (u64::MAX, Some(0), &[1], false)], 2);
    assert_eq!(flow.best_order(&[0, 1], &endless()).order, [0, 1]);
    assert!(flow.recompute(&[0, 1], &endless()).repeats.is_empty());
}

/// Large dataflows by their kind: one chain with skips, chains side by side, a grid, one at random.
fn large(kind: &str, steps: usize) -> Dataflow {
    // A generator of Lehmer's: the same numbers every time.
    let mut seed = 1u64;
    let mut random = move |below: usize| {
        seed = seed * 48_271 % 0x7fff_ffff;
        seed as usize % below.max(1)
    };
    let side = steps.isqrt().max(1);
    let mut values: Vec<FlowValue> = Vec::new();
    for step in 0..steps {
        let readers: Vec<usize> = match kind {
            "chain" => vec![step + 1, step + 2 + random(50)],
            // Chains of eight that all end in the last step, given one layer of all of them after the other.
            "parallel" => vec![step + steps / 8],
            "grid" => {
                let right = (step % side + 1 < side).then_some(step + 1);
                right.into_iter().chain([step + side]).collect()
            }
            // Everything reads the first value, and feeds the last step.
            "fan" if step == 0 => (1..steps).collect(),
            "fan" => vec![steps - 1],
            _ => (0..3).map(|_| step + 1 + random(200)).collect(),
        };
        let mut readers: Vec<usize> = readers.into_iter().map(|reader| reader.min(steps - 1)).collect();
        readers.retain(|&reader| reader > step);
        readers.sort_unstable();
        readers.dedup();
        let size = ByteSize::new(1 + random(1 << 20) as u64);
        values.push(FlowValue { size, maker: Some(step), readers, ..FlowValue::default() });
    }
    Dataflow { cheap: (0..steps).map(|step| step % 3 != 0).collect(), values }
}

#[test]
fn large_graphs_keep_to_their_time() {
    for kind in ["chain", "parallel", "grid", "fan", "random"] {
        for steps in [100, 3_000, 20_000] {
            let flow = large(kind, steps);
            let given: Vec<usize> = (0..steps).collect();
            let start = Instant::now();
            let best = flow.best_order(&given, &OrderBudget::new(Duration::from_millis(200), &()));
            let again = flow.recompute(&best.order, &OrderBudget::new(Duration::from_millis(200), &()));
            let taken = start.elapsed();
            assert!(is_possible(&flow, &best.order), "{kind} {steps}");
            assert!(is_possible(&again.flow, &again.order), "{kind} {steps}");
            let peaks = [flow.peak_of(&given), best.peak, again.flow.peak_of(&again.order)];
            assert!(peaks.is_sorted_by(|a, b| a >= b), "{kind} {steps}: {peaks:?}");
            // Machines that test are busy; without a look at the clock it would be minutes.
            assert!(taken < Duration::from_secs(20), "{kind} {steps}: {taken:?}");
        }
    }
}

#[test]
fn whoever_ends_the_search_gets_an_order() {
    let flow = large("parallel", 3_001);
    let given: Vec<usize> = (0..3_001).collect();
    let ended = AtomicBool::new(true);
    let budget = OrderBudget::new(Duration::MAX, &ended);
    let start = Instant::now();
    let best = flow.best_order(&given, &budget);
    let again = flow.recompute(&best.order, &budget);
    assert!(is_possible(&flow, &best.order) && again.repeats.is_empty());
    assert!(best.bound <= best.peak && best.proven == (best.bound == best.peak));
    assert!(best.peak < flow.peak_of(&given), "the greedy order takes no time");
    assert!(start.elapsed() < Duration::from_secs(4));
}

/// Dataflows of up to seven steps in which later steps read what earlier ones make.
fn flows() -> impl Strategy<Value = Dataflow> {
    let value = (1u64..100, 0usize..8, prop::collection::vec(0usize..7, 0..3), prop::bool::weighted(0.2));
    (1usize..8, prop::collection::vec(value, 1..12)).prop_map(|(steps, rows)| {
        let values = rows.into_iter().map(|(bytes, maker, readers, stays)| {
            let maker = (maker < steps).then_some(maker);
            let mut readers: Vec<usize> = readers
                .into_iter()
                .filter(|&reader| reader < steps && maker.is_none_or(|maker| maker < reader))
                .collect();
            readers.sort_unstable();
            readers.dedup();
            FlowValue { size: ByteSize::new(bytes), maker, readers, stays, over: None }
        });
        Dataflow { cheap: vec![true; steps], values: values.collect() }
    })
}

/// The same where some values take the place of what their maker is the only step to read.
fn flows_in_place() -> impl Strategy<Value = Dataflow> {
    flows().prop_map(|mut flow| {
        for v in 0..flow.values.len() {
            let under = |other: &FlowValue| {
                flow.values[v].maker.is_some_and(|maker| other.readers == [maker]) && !other.stays
            };
            if let Some(under) = flow.values.iter().position(under) {
                flow.values[v].size = flow.values[under].size;
                flow.values[v].over = Some(under);
            }
        }
        flow
    })
}

proptest! {
    #[test]
    fn the_lowest_peak_in_place_is_found_and_proven(flow in flows_in_place()) {
        let given: Vec<usize> = (0..flow.steps()).collect();
        let found = flow.best_order(&given, &endless());
        prop_assert!(is_possible(&flow, &found.order));
        prop_assert_eq!((found.peak.bytes(), found.proven), (lowest(&flow), true));
        let apart = Dataflow {
            values: flow.values.iter().map(|value| FlowValue { over: None, ..value.clone() }).collect(),
            ..flow.clone()
        };
        prop_assert!(flow.peak_of(&given) <= apart.peak_of(&given));
    }

    #[test]
    fn the_lowest_peak_is_found_and_proven(flow in flows()) {
        let given: Vec<usize> = (0..flow.steps()).collect();
        let found = flow.best_order(&given, &endless());
        prop_assert!(is_possible(&flow, &found.order));
        prop_assert_eq!(found.peak, flow.peak_of(&found.order));
        prop_assert_eq!((found.peak.bytes(), found.proven), (lowest(&flow), true));
    }

    #[test]
    fn without_time_there_is_an_order_no_worse_than_the_one_given(flow in flows()) {
        let given: Vec<usize> = (0..flow.steps()).collect();
        let found = flow.best_order(&given, &OrderBudget::new(Duration::ZERO, &()));
        prop_assert!(is_possible(&flow, &found.order));
        prop_assert!(found.peak <= flow.peak_of(&given));
        prop_assert!(!found.proven || found.peak.bytes() == lowest(&flow));
    }

    #[test]
    fn no_order_is_below_its_bound(flow in flows(), sizes in prop::collection::vec(0u64..3, 12)) {
        // Values of no size, and of the same.
        let mut flow = flow;
        flow.values.iter_mut().zip(sizes).for_each(|(value, size)| value.size = ByteSize::new(size));
        let given: Vec<usize> = (0..flow.steps()).collect();
        let found = flow.best_order(&given, &endless());
        prop_assert_eq!((found.peak.bytes(), found.bound.bytes(), found.proven), (lowest(&flow), lowest(&flow), true));
    }

    #[test]
    fn recomputing_never_raises_the_peak(flow in flows()) {
        let order: Vec<usize> = (0..flow.steps()).collect();
        let Recomputed { flow: again, order: order_again, repeats } = flow.recompute(&order, &endless());
        prop_assert!(is_possible(&again, &order_again));
        prop_assert_eq!(again.steps(), flow.steps() + repeats.len());
        prop_assert!(again.peak_of(&order_again) <= flow.peak_of(&order));
        prop_assert!(repeats.is_empty() || again.peak_of(&order_again) <= flow.peak_of(&order));
    }
}
