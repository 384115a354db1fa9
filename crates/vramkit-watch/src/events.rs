//! Which events stay where there is not room for all.
//!
//! Programs can make as many as they like of some kinds, and a card is lost once. So of each rank the last ones have a quarter of
//! the room for sure, and what is over goes from the lowest rank that has more than that, oldest first.

use std::collections::VecDeque;

use crate::tick::{EventKind, WatchEvent};

/// How many ranks there are.
const RANKS: usize = 3;
/// What part of the room a rank has for sure.
const PART: usize = 4;

/// The higher, the longer it stays.
fn rank(kind: EventKind) -> usize {
    match kind {
        EventKind::Decided | EventKind::Unknown => 0,
        EventKind::LevelChanged
        | EventKind::GrowingFast
        | EventKind::SustainedGrowth
        | EventKind::FullSoon
        | EventKind::LeakSuspected
        | EventKind::Retains
        | EventKind::Cleared => 1,
        // What is here, what answers, and what is kept.
        EventKind::Appeared
        | EventKind::Lost
        | EventKind::Back
        | EventKind::SourceLate
        | EventKind::SourceFailing
        | EventKind::SourceBack
        | EventKind::RecorderFailing
        | EventKind::RecorderBack => 2,
    }
}

/// Lets events in their order go until there are `most`.
pub(crate) fn bound(events: &mut VecDeque<WatchEvent>, most: usize) {
    let mut counts = [0usize; RANKS];
    events.iter().for_each(|event| counts[rank(event.kind)] += 1);
    let mut over = events.len().saturating_sub(most);
    let mut going = counts.map(|count| {
        let going = over.min(count.saturating_sub(most / PART));
        over -= going;
        going
    });
    if going == [0; RANKS] {
        return;
    }
    events.retain(|event| {
        let left = &mut going[rank(event.kind)];
        let goes = *left > 0;
        *left -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(number: usize, kind: EventKind) -> WatchEvent {
        WatchEvent::new(String::new(), String::new(), kind, number.to_string())
    }

    proptest! {
        /// So many, in order; the last of each rank for sure; and none goes for one of a lower rank that has more than its part.
        #[test]
        fn the_last_of_each_rank_stay(
            kinds in prop::collection::vec(prop::sample::select(vec![EventKind::Decided, EventKind::LevelChanged, EventKind::Lost]), 0..200),
            most in 0usize..80,
        ) {
            let events: Vec<WatchEvent> = kinds.into_iter().enumerate().map(|(i, kind)| event(i, kind)).collect();
            let mut left = VecDeque::from(events.clone());
            bound(&mut left, most);
            prop_assert_eq!(left.len(), events.len().min(most));
            let stays: Vec<bool> = events.iter().map(|event| left.contains(event)).collect();
            let mut below_is_over = false;
            for kind in [EventKind::Decided, EventKind::LevelChanged, EventKind::Lost] {
                let own: Vec<bool> = events.iter().zip(&stays).filter(|(event, _)| event.kind == kind).map(|(_, stays)| *stays).collect();
                let kept = own.iter().filter(|stays| **stays).count();
                prop_assert!(kept >= own.len().min(most / PART));
                prop_assert!(own.is_sorted(), "the oldest go first");
                prop_assert!(!below_is_over || kept == own.len());
                below_is_over |= kept > most / PART && kept < own.len();
            }
        }
    }
}
