//! The last floors of a series at one scale: the minimum over each block of time, the oldest first.

use std::collections::VecDeque;

/// How many are kept.
pub(super) const FLOORS: usize = 30;

/// Keeps a floor, in place of the oldest when there are enough.
pub(super) fn keep(floors: &mut VecDeque<f64>, floor: f64) {
    if floors.len() == FLOORS {
        floors.pop_front();
    }
    floors.push_back(floor);
}
