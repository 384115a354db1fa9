//! What no choice of starts can stay below.
//!
//! Each model's load is cut into slices, from the bottom up, each as long as the load is at least so high. Three bounds:
//!
//! - a model alone has its own peak;
//! - a slice that is longer than the model can be moved by is live at some steps wherever the model starts;
//! - every byte is a track on which slices lie one after the other within the makespan, so whatever a slice counts for
//!   by its length, slices that fit on one track must not count for more than one. With lengths themselves that is the area spread
//!   evenly; with a threshold of up to half of the makespan those that leave less than it count as whole and those shorter
//!   than it as nothing, so that what cannot run one after the other adds up (a dual feasible function: Fekete and
//!   Schepers, "New classes of fast lower bounds for bin packing problems", 2001).

use std::cmp::Reverse;

use super::profile::Profile;

/// The fewest bytes that must be live together at some step.
pub(super) fn bound(profiles: &[Profile], makespan: u64) -> u64 {
    let alone = profiles.iter().map(Profile::peak).max().unwrap_or(0);
    let own: Vec<Vec<Slice>> = profiles.iter().map(slices).collect();
    alone.max(anywhere(profiles, &own, makespan)).max(tracks(own.concat(), makespan))
}

/// A part of a load: so many bytes from a step on for so many steps.
#[derive(Clone, Copy, Debug)]
struct Slice {
    from: u64,
    steps: u64,
    bytes: u64,
}

impl Slice {
    /// Bytes times steps: of two numbers of 64 bits.
    fn area(&self) -> u128 {
        u128::from(self.steps) * u128::from(self.bytes)
    }
}

/// A load cut into slices, each as long as it can be.
fn slices(profile: &Profile) -> Vec<Slice> {
    let mut slices = Vec::new();
    // Slices that have begun, the lower first: their first step, and the load that they reach up to.
    let mut open: Vec<(u64, u64)> = Vec::new();
    // Ends those above a load; where what follows on that load begins.
    let mut close = |open: &mut Vec<(u64, u64)>, level: u64, step: u64| {
        let mut from = step;
        while let Some((first, top)) = open.pop_if(|&mut (_, top)| top > level) {
            let below = open.last().map_or(0, |&(_, top)| top).max(level);
            slices.push(Slice { from: first, steps: step - first, bytes: top - below });
            from = first;
        }
        from
    };
    let mut until = 0;
    for run in &profile.runs {
        if run.from > until {
            close(&mut open, 0, until);
        }
        let from = close(&mut open, run.bytes, run.from);
        if open.last().is_none_or(|&(_, top)| top < run.bytes) {
            open.push((from, run.bytes));
        }
        until = run.to;
    }
    close(&mut open, 0, until);
    slices
}

/// The most that is live at some step wherever all models start.
fn anywhere(profiles: &[Profile], own: &[Vec<Slice>], makespan: u64) -> u64 {
    let mut changes: Vec<(u64, i128)> = Vec::new();
    for (profile, slices) in profiles.iter().zip(own) {
        let latest = makespan - profile.steps;
        for slice in slices.iter().filter(|slice| slice.steps > latest) {
            changes.push((slice.from + latest, i128::from(slice.bytes)));
            changes.push((slice.from + slice.steps, -i128::from(slice.bytes)));
        }
    }
    changes.sort_unstable();
    let (mut load, mut most) = (0i128, 0i128);
    for (_, change) in changes {
        load += change;
        most = most.max(load);
    }
    u64::try_from(most).unwrap_or(0)
}

/// What slices come to on tracks, with the threshold that says most; 0 where their area cannot be counted.
fn tracks(mut slices: Vec<Slice>, makespan: u64) -> u64 {
    let Some(whole) = slices.iter().map(Slice::area).try_fold(0, u128::checked_add) else { return 0 };
    slices.sort_by_key(|slice| Reverse(slice.steps));
    let lengths = slices.iter().map(|slice| slice.steps);
    let nearly = lengths.clone().map(|steps| (makespan - steps).saturating_add(1));
    let mut thresholds: Vec<u64> = lengths.chain(nearly).filter(|&steps| steps <= makespan / 2).collect();
    thresholds.extend([0, makespan / 2]);
    thresholds.sort_unstable();
    thresholds.dedup();
    // The longest first: of them so many count as whole, and those up to `counted` by their length.
    let (mut full, mut full_bytes, mut counted, mut area) = (0, 0u128, slices.len(), whole);
    let mut best = 0;
    for threshold in thresholds {
        while let Some(slice) = slices.get(full).filter(|slice| slice.steps > makespan - threshold) {
            full_bytes += u128::from(slice.bytes);
            area -= slice.area();
            full += 1;
        }
        while counted > full && slices[counted - 1].steps < threshold {
            counted -= 1;
            area -= slices[counted].area();
        }
        best = best.max(full_bytes + area.div_ceil(u128::from(makespan.max(1))));
    }
    u64::try_from(best).unwrap_or(0)
}
