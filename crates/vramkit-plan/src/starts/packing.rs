//! Boxes into rooms: with those joined first that may have been cut from one another or not, from either side.

use vramkit_units::SplitMix64;

use super::boxes::{self, Sides};
use super::joined;

/// Rounds in which boxes are joined, at least.
const JOINED: usize = 16;

/// Tries to pack boxes into a room, half of the times with those joined first that may have been cut from one another.
pub(super) fn pack_in_parts(
    boxes: &[Sides],
    room: Sides,
    width: usize,
    random: &mut SplitMix64,
    is_over: &dyn Fn() -> bool,
) -> Option<Vec<(u64, u64)>> {
    if random.below(2) == 0 {
        return pack_turned(boxes, room, width, random, is_over);
    }
    let joined = joined::join(boxes, room, width.max(JOINED), random, is_over);
    let sides: Vec<Sides> = joined.iter().map(|joined| joined.sides).collect();
    let corners = pack_turned(&sides, room, width, random, is_over)?;
    let mut all = vec![(0, 0); boxes.len()];
    joined.iter().zip(corners).for_each(|(joined, at)| joined.place(at, &mut all));
    Some(all)
}

/// Tries to pack boxes into a room, filling what lies across from the first step on, or from the lowest address.
fn pack_turned(
    boxes: &[Sides],
    room: Sides,
    width: usize,
    random: &mut SplitMix64,
    is_over: &dyn Fn() -> bool,
) -> Option<Vec<(u64, u64)>> {
    if random.below(2) == 0 {
        return boxes::pack(boxes, room, width, random, is_over);
    }
    let turned: Vec<Sides> = boxes.iter().map(|sides| sides.turned()).collect();
    let corners = boxes::pack(&turned, room.turned(), width, random, is_over)?;
    Some(corners.into_iter().map(|(up, across)| (across, up)).collect())
}
