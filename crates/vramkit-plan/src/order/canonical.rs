//! Ranks of a dataflow's steps that follow from its structure and sizes, not from how the steps are numbered.
//!
//! Each step gets a colour from what it makes and reads, refined by the colours of those before it and of those after it
//! (Weisfeiler and Leman, 1968; along the order of a graph without circles one pass carries a difference all the way). Steps
//! are then ranked one after the other: of those that can be done the one whose makers came last, then the one of least
//! colour. Steps that no colour tells apart are in general images of each other, and which comes first makes no
//! difference to what is found; their numbers decide.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::dataflow::Dataflow;

/// Passes in both directions.
const PASSES: usize = 3;

/// Spreads the bits of a number (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
pub(super) fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// For each step its rank. `None` where no order is possible.
pub(super) fn ranks(flow: &Dataflow) -> Option<Vec<usize>> {
    let n = flow.steps();
    let (mut reads, mut makes) = (vec![Vec::new(); n], vec![Vec::new(); n]);
    for (v, value) in flow.values.iter().enumerate() {
        value.readers.iter().for_each(|&reader| reads[reader].push(v));
        value.maker.into_iter().for_each(|maker| makes[maker].push(v));
    }
    let order = possible(flow, &reads, &makes)?;
    let first = |value: &super::dataflow::FlowValue| {
        mix(value.size.bytes() ^ mix(u64::from(value.stays) | u64::from(value.maker.is_none()) << 1))
    };
    let own: Vec<u64> = flow.values.iter().map(first).collect();
    let mut colours = vec![0u64; n];
    let sum = |values: &[usize], of: &dyn Fn(usize) -> u64| {
        values.iter().fold(0u64, |sum, &v| sum.wrapping_add(mix(of(v))))
    };
    for _ in 0..PASSES {
        let before = colours.clone();
        // A value's colour is that of its maker; then that of all its readers.
        for &step in &order {
            let made = |v: usize| own[v] ^ flow.values[v].maker.map_or(0, |maker| mix(colours[maker]));
            let seen = sum(&reads[step], &made);
            colours[step] = mix(before[step] ^ mix(seen.wrapping_add(sum(&makes[step], &|v| own[v] ^ 1))));
        }
        let before = colours.clone();
        for &step in order.iter().rev() {
            let read = |v: usize| {
                let readers = flow.values[v].readers.iter();
                own[v] ^ mix(readers.fold(0u64, |sum, &reader| sum.wrapping_add(mix(colours[reader]))))
            };
            let seen = sum(&makes[step], &read);
            // Who else reads what it reads counts too.
            let shared = sum(&reads[step], &|v| {
                let readers = flow.values[v].readers.iter();
                own[v] ^ readers.fold(2u64, |sum, &reader| sum.wrapping_add(mix(before[reader])))
            });
            colours[step] = mix(before[step] ^ mix(seen).wrapping_add(mix(shared ^ 3)));
        }
    }
    let mut ranks = vec![usize::MAX; n];
    let mut waits: Vec<usize> = made_elsewhere(flow, &reads);
    let mut ready: BTreeSet<(Reverse<usize>, u64, usize)> =
        (0..n).filter(|&step| waits[step] == 0).map(|step| (Reverse(0), colours[step], step)).collect();
    let mut count = 0;
    while let Some((_, _, step)) = ready.pop_first() {
        ranks[step] = count;
        count += 1;
        for &v in &makes[step] {
            for &reader in &flow.values[v].readers {
                waits[reader] -= 1;
                if waits[reader] == 0 {
                    ready.insert((Reverse(count), colours[reader], reader));
                }
            }
        }
    }
    Some(ranks)
}

/// For each step how many values it reads that a step makes.
fn made_elsewhere(flow: &Dataflow, reads: &[Vec<usize>]) -> Vec<usize> {
    let made = |values: &Vec<usize>| values.iter().filter(|&&v| flow.values[v].maker.is_some()).count();
    reads.iter().map(made).collect()
}

/// Any order that is possible.
fn possible(flow: &Dataflow, reads: &[Vec<usize>], makes: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut waits = made_elsewhere(flow, reads);
    let mut order: Vec<usize> = (0..waits.len()).filter(|&step| waits[step] == 0).collect();
    let mut at = 0;
    while let Some(&step) = order.get(at) {
        at += 1;
        for &reader in makes[step].iter().flat_map(|&v| &flow.values[v].readers) {
            waits[reader] -= 1;
            if waits[reader] == 0 {
                order.push(reader);
            }
        }
    }
    (order.len() == waits.len()).then_some(order)
}
