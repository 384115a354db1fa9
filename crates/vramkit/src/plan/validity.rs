//! Is a placement sound? A sweep over time that keeps the live buffers by address: O(n log n), against
//! neighbours only.

use std::collections::BTreeMap;

use super::problem::Buffer;

/// Two buffers that are live together and overlap in addresses, as indices into `placed`; `None` when there
/// are none. Offsets and sizes do not pass 2^64 together.
pub(super) fn first_clash(placed: &[(Buffer, u64)]) -> Option<(usize, usize)> {
    let mut events: Vec<(u32, bool, usize)> = Vec::with_capacity(placed.len() * 2);
    for (i, (buffer, _)) in placed.iter().enumerate() {
        // Ends sort before starts at one time: lifetimes are half-open.
        events.push((buffer.start, true, i));
        events.push((buffer.end, false, i));
    }
    events.sort_unstable();
    let mut live: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
    for (_, starts, i) in events {
        let (buffer, offset) = placed[i];
        let end = offset + buffer.size;
        if !starts {
            live.remove(&offset);
            continue;
        }
        if let Some((_, &(below_end, below))) = live.range(..=offset).next_back()
            && below_end > offset
        {
            return Some((below, i));
        }
        if let Some((&above_offset, &(_, above))) = live.range(offset..).next()
            && above_offset < end
        {
            return Some((above, i));
        }
        live.insert(offset, (end, i));
    }
    None
}
