//! Private pools: of graphs, and of a program's own. New recordings name an entry's pool; of old ones it is known by the segments that are
//! there at the end.

use hashbrown::HashMap;

use super::card::Card;
use super::entry::{Action, Entry};
use crate::values::{Key, Kind, Value, Values};

pub(super) struct Pools<'a> {
    values: &'a Values,
    /// By their ids, from 1 on.
    numbers: HashMap<(i64, i64), u32>,
    /// Where segments of private pools lie: from, to, whose, and since which entry.
    segments: Vec<(i64, i64, u32, usize)>,
    /// Whether a pool was told by its segment alone.
    pub(super) guessed: bool,
}

impl<'a> Pools<'a> {
    pub(super) fn new(values: &'a Values, card: &Card<'_>) -> Self {
        let mut pools = Self { values, numbers: HashMap::new(), segments: Vec::new(), guessed: false };
        for &segment in &card.segments {
            let pool = pools.of(values.field(segment, Key::SegmentPoolId));
            let from = values.int_of(segment, Key::Address);
            if let Some((from, pool)) = from.zip(pool).filter(|(_, pool)| *pool > 0) {
                let size = values.int_of(segment, Key::TotalSize).unwrap_or(0);
                pools.segments.push((from, from.saturating_add(size), pool, 0));
            }
        }
        pools.segments.sort_unstable();
        if !pools.segments.is_empty() {
            // What was at the address before the segment was taken was somebody else's.
            let mut taken: HashMap<i64, usize> = HashMap::new();
            for (at, &value) in card.entries.iter().enumerate() {
                if let Ok(Entry { action: Action::Reserve, address, .. }) = Entry::of(values, value) {
                    taken.insert(address, at);
                }
            }
            for segment in &mut pools.segments {
                segment.3 = taken.get(&segment.0).copied().unwrap_or(0);
            }
        }
        pools
    }

    /// The number of a pool by its id; 0 of the default one, `None` where none is named.
    fn of(&mut self, id: Option<Kind>) -> Option<u32> {
        let Some(Kind::List(list)) = id else { return None };
        let &[first, second] = self.values.items(list) else { return None };
        match (self.values.kind(first), self.values.kind(second)) {
            (Kind::Int(0), Kind::Int(0)) => Some(0),
            (Kind::Int(first), Kind::Int(second)) => {
                let next = self.numbers.len() as u32 + 1;
                Some(*self.numbers.entry((first, second)).or_insert(next))
            }
            _ => None,
        }
    }

    /// The pool of an entry, which is the `at`-th, or of a block.
    pub(super) fn of_entry(&mut self, value: Value, address: i64, at: usize) -> u32 {
        if let Some(named) = self.of(self.values.field(value, Key::PoolId)) {
            return named;
        }
        let after = self.segments.partition_point(|&(from, ..)| from <= address);
        let segment = after.checked_sub(1).map(|at| self.segments[at]);
        let pool = segment
            .filter(|&(_, to, _, since)| address < to && since <= at)
            .map_or(0, |(_, _, pool, _)| pool);
        self.guessed |= pool > 0;
        pool
    }
}
