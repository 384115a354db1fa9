//! What a file holds: values in tables that refer to each other by number.
//!
//! A value is one word. Texts are kept once. Of dictionaries only what somebody may ask for is kept. A million lists inside each other,
//! or a list inside itself, are as good as any other: nothing here descends.

use std::hash::{BuildHasher as _, Hasher as _};
use std::ops::{Range, RangeInclusive};

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

/// A value: what it is in its low three bits, the rest above them. Small numbers are there themselves, all else by its number in a
/// table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value(u32);

/// More than any table has: what is left of a value for numbers.
const MOST: usize = 1 << 29;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Nothing, or something that nobody here can use.
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Its number in the table of texts, and so for the others.
    Text(u32),
    List(u32),
    Dict(u32),
    /// A class or function, by the number of its name.
    Class(u32),
}

impl Value {
    pub(crate) const NONE: Self = Self(0);

    fn tagged(tag: u32, number: u32) -> Self {
        Self(number << 3 | tag)
    }

    pub(crate) fn bool(value: bool) -> Self {
        Self::tagged(0, 1 + u32::from(value))
    }

    /// A number that is small enough.
    #[inline]
    pub(crate) fn small(number: i32) -> Option<Self> {
        let shifted = number << 3;
        (shifted >> 3 == number).then_some(Self(shifted as u32 | 2))
    }

    pub(crate) fn text(number: u32) -> Self {
        Self::tagged(3, number)
    }

    pub(crate) fn list(number: u32) -> Self {
        Self::tagged(4, number)
    }

    pub(crate) fn dict(number: u32) -> Self {
        Self::tagged(5, number)
    }

    pub(crate) fn class(number: u32) -> Self {
        Self::tagged(7, number)
    }
}

/// Keys of dictionaries that somebody may ask for; of others nothing is kept. Their texts come first in the table, in this order.
macro_rules! keys {
    ($($name:ident $text:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Key { $($name),* }
        const KEYS: &[&str] = &[$($text),*];
    };
}

keys! {
    Action "action", Addr "addr", Size "size", Stream "stream", Frames "frames", UserMetadata "user_metadata", PoolId "pool_id",
    Device "device", Address "address", TotalSize "total_size", Blocks "blocks", State "state", RequestedSize "requested_size",
    SegmentPoolId "segment_pool_id", DeviceTraces "device_traces", Segments "segments", Filename "filename", Line "line", Name "name",
    AllocatorSettings "allocator_settings", AllocConf "PYTORCH_CUDA_ALLOC_CONF", NewAllocConf "PYTORCH_ALLOC_CONF",
    ExpandableSegments "expandable_segments", MaxSplitSize "max_split_size",
    GarbageCollectionThreshold "garbage_collection_threshold", History "history", RealSize "real_size",
    Divisions "roundup_power2_divisions",
    From1 "1", From2 "2", From4 "4", From8 "8", From16 "16", From32 "32", From64 "64", From128 "128", From256 "256", From512 "512",
    From1024 "1024", From2048 "2048", From4096 "4096", From8192 "8192", From16384 "16384", From32768 "32768",
}

/// Keys of the allocator's divisions: from so many MiB on.
pub(crate) const DIVISIONS: [Key; 16] = [
    Key::From1,
    Key::From2,
    Key::From4,
    Key::From8,
    Key::From16,
    Key::From32,
    Key::From64,
    Key::From128,
    Key::From256,
    Key::From512,
    Key::From1024,
    Key::From2048,
    Key::From4096,
    Key::From8192,
    Key::From16384,
    Key::From32768,
];

/// Words that stand in every entry, and come behind the keys in the table of texts: what an entry tells.
pub(crate) const ACTIONS: [&str; 12] = [
    "alloc",
    "free_requested",
    "free_completed",
    "oom",
    "annotate",
    "segment_alloc",
    "segment_map",
    "segment_free",
    "segment_unmap",
    "snapshot",
    "user_defined",
    "workspace_snapshot",
];

/// Where a list's items are.
#[derive(Clone, Copy)]
struct List {
    start: u32,
    /// [`LONG`] for one in a table of its own.
    length: u32,
}

impl List {
    fn range(self) -> Range<usize> {
        self.start as usize..(self.start + self.length) as usize
    }
}

const LONG: u32 = u32::MAX;

/// Lengths of lists that are kept once: stacks, which stand in many entries.
const SHARED: RangeInclusive<usize> = 4..=512;

/// Two at a time, which takes half as long as one by one.
fn hash_of_items(hasher: &DefaultHashBuilder, items: &[Value]) -> u64 {
    let mut state = hasher.build_hasher();
    let (pairs, odd) = items.as_chunks();
    for [first, second] in pairs {
        state.write_u64(u64::from(first.0) << 32 | u64::from(second.0));
    }
    for last in odd {
        state.write_u32(last.0);
    }
    state.finish()
}

#[derive(Default)]
pub(crate) struct Values {
    texts: Vec<Box<str>>,
    text_numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Those that are not small.
    ints: Vec<i64>,
    floats: Vec<f64>,
    lists: Vec<List>,
    items: Vec<Value>,
    /// Lists of which others may be copies, each once.
    shared: HashTable<List>,
    long: Vec<Vec<Value>>,
    /// Where a dictionary's pairs begin, and how many there are.
    dicts: Vec<(u32, u32)>,
    keys: Vec<u32>,
    values: Vec<Value>,
    /// What is taken by all of these, about.
    bytes: u64,
    /// What the file is of.
    pub(crate) root: Option<Value>,
    /// The first thing that the file asks to be called.
    pub(crate) called: Option<String>,
    /// Bytes behind the end of what was read.
    pub(crate) trailing: bool,
}

impl Values {
    pub(crate) fn new() -> Self {
        let mut values = Self::default();
        for text in KEYS.iter().chain(&ACTIONS) {
            values.intern(text);
        }
        values
    }

    /// Bytes that it takes, about.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A text's number.
    #[inline]
    pub(crate) fn intern(&mut self, text: &str) -> u32 {
        let hash = self.hasher.hash_one(text);
        let next = self.texts.len() as u32;
        let (texts, hasher) = (&self.texts, &self.hasher);
        let entry = self.text_numbers.entry(
            hash,
            |&number| *texts[number as usize] == *text,
            |&number| hasher.hash_one(&*texts[number as usize]),
        );
        let number = *entry.or_insert(next).get();
        if number == next {
            self.texts.push(text.into());
            self.bytes += text.len() as u64 + 40;
        }
        number
    }

    /// Whether a table has more than values can tell apart.
    pub(crate) fn is_full(&self) -> bool {
        let lengths =
            [self.texts.len(), self.ints.len(), self.floats.len(), self.lists.len(), self.dicts.len()];
        // Between two looks come less than this many.
        lengths.into_iter().max().unwrap_or(0) > MOST - (1 << 21)
    }

    #[inline]
    pub(crate) fn new_int(&mut self, number: i64) -> Value {
        if let Some(small) = i32::try_from(number).ok().and_then(Value::small) {
            return small;
        }
        self.ints.push(number);
        self.bytes += 8;
        Value::tagged(1, (self.ints.len() - 1) as u32)
    }

    pub(crate) fn new_float(&mut self, number: f64) -> Value {
        self.floats.push(number);
        self.bytes += 8;
        Value::tagged(6, (self.floats.len() - 1) as u32)
    }

    pub(crate) fn new_list(&mut self, items: &[Value]) -> Value {
        let place = self.place(items);
        self.lists.push(place);
        self.bytes += 8;
        Value::list((self.lists.len() - 1) as u32)
    }

    /// Where these items are, which may be those of another list too: what a place holds never changes.
    fn place(&mut self, items: &[Value]) -> List {
        let new = List { start: self.items.len() as u32, length: items.len() as u32 };
        if SHARED.contains(&items.len()) {
            let (known, hasher) = (&self.items, &self.hasher);
            let entry = self.shared.entry(
                hash_of_items(hasher, items),
                |place| known[place.range()] == *items,
                |place| hash_of_items(hasher, &known[place.range()]),
            );
            match entry {
                Entry::Occupied(found) => return *found.get(),
                Entry::Vacant(free) => drop(free.insert(new)),
            }
            self.bytes += 8;
        }
        self.items.extend_from_slice(items);
        self.bytes += 4 * items.len() as u64;
        new
    }

    pub(crate) fn new_dict(&mut self) -> Value {
        self.dicts.push((self.keys.len() as u32, 0));
        self.bytes += 8;
        Value::dict((self.dicts.len() - 1) as u32)
    }

    /// Adds items at the end of a list.
    pub(crate) fn extend(&mut self, list: u32, more: &[Value]) {
        let place = self.lists[list as usize];
        if place.length == 0 {
            self.lists[list as usize] = self.place(more);
            return;
        }
        self.bytes += 4 * more.len() as u64;
        if place.length == LONG {
            self.long[place.start as usize].extend_from_slice(more);
        } else if place.range().end == self.items.len() {
            self.items.extend_from_slice(more);
            self.lists[list as usize].length += more.len() as u32;
        } else {
            // Something else lies behind it: the list goes to a place of its own.
            let mut long = self.items[place.range()].to_vec();
            long.extend_from_slice(more);
            self.bytes += 4 * u64::from(place.length) + 24;
            self.lists[list as usize] = List { start: self.long.len() as u32, length: LONG };
            self.long.push(long);
        }
    }

    /// Puts pairs into a dictionary: those of keys that are known. The last of a key counts.
    #[inline]
    pub(crate) fn insert(&mut self, dict: u32, pairs: impl Iterator<Item = (Value, Value)>) {
        let (mut start, mut length) = self.dicts[dict as usize];
        if length > 0 && (start + length) as usize != self.keys.len() {
            let range = start as usize..(start + length) as usize;
            start = self.keys.len() as u32;
            self.keys.extend_from_within(range.clone());
            self.values.extend_from_within(range);
            self.bytes += 8 * u64::from(length);
        } else if length == 0 {
            start = self.keys.len() as u32;
        }
        for (key, value) in pairs {
            let Kind::Text(key) = self.kind(key) else { continue };
            if key as usize >= KEYS.len() {
                continue;
            }
            match self.keys[start as usize..].iter().position(|&known| known == key) {
                Some(at) => self.values[start as usize + at] = value,
                None => {
                    self.keys.push(key);
                    self.values.push(value);
                    length += 1;
                    self.bytes += 8;
                }
            }
        }
        self.dicts[dict as usize] = (start, length);
    }

    #[inline]
    pub(crate) fn kind(&self, value: Value) -> Kind {
        let number = value.0 >> 3;
        match value.0 & 7 {
            0 if number > 0 => Kind::Bool(number == 2),
            1 => Kind::Int(self.ints[number as usize]),
            2 => Kind::Int(i64::from(value.0 as i32 >> 3)),
            3 => Kind::Text(number),
            4 => Kind::List(number),
            5 => Kind::Dict(number),
            6 => Kind::Float(self.floats[number as usize]),
            7 => Kind::Class(number),
            _ => Kind::None,
        }
    }

    pub(crate) fn text(&self, number: u32) -> &str {
        &self.texts[number as usize]
    }

    pub(crate) fn items(&self, list: u32) -> &[Value] {
        let place = self.lists[list as usize];
        if place.length == LONG { &self.long[place.start as usize] } else { &self.items[place.range()] }
    }

    /// A number below [`Self::places`] that tells a list's items from those of any other, though lists of the same items may have the same;
    /// `None` for an empty one, and for one that has grown where there was no room behind it.
    pub(crate) fn place_of(&self, list: u32) -> Option<u32> {
        // No place ends where another does: each is made at the end of all, and grows there alone.
        let List { start, length } = self.lists[list as usize];
        if length == LONG { None } else { (start + length).checked_sub(1).filter(|_| length > 0) }
    }

    /// How many places of items there are at most.
    pub(crate) fn places(&self) -> usize {
        self.items.len()
    }

    /// How many dictionaries there are.
    pub(crate) fn dicts(&self) -> usize {
        self.dicts.len()
    }

    /// How many values lists and dictionaries have, all together.
    pub(crate) fn count(&self) -> usize {
        self.items.len() + self.values.len() + self.long.iter().map(Vec::len).sum::<usize>()
    }

    /// What a dictionary has under a key.
    #[inline]
    pub(crate) fn field(&self, dict: Value, key: Key) -> Option<Kind> {
        let Kind::Dict(dict) = self.kind(dict) else { return None };
        let (start, length) = self.dicts[dict as usize];
        let range = start as usize..(start + length) as usize;
        let at = self.keys[range.clone()].iter().position(|&known| known == key as u32)?;
        Some(self.kind(self.values[range.start + at]))
    }

    /// Which of [`ACTIONS`] a dictionary has under `action`; `Some(None)` for another.
    #[inline]
    pub(crate) fn action_of(&self, dict: Value) -> Option<Option<usize>> {
        match self.field(dict, Key::Action)? {
            Kind::Text(text) => {
                Some((text as usize).checked_sub(KEYS.len()).filter(|at| *at < ACTIONS.len()))
            }
            _ => None,
        }
    }

    pub(crate) fn list_of(&self, dict: Value, key: Key) -> Option<&[Value]> {
        match self.field(dict, key)? {
            Kind::List(list) => Some(self.items(list)),
            _ => None,
        }
    }

    pub(crate) fn int_of(&self, dict: Value, key: Key) -> Option<i64> {
        match self.field(dict, key)? {
            Kind::Int(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn text_of(&self, dict: Value, key: Key) -> Option<&str> {
        match self.field(dict, key)? {
            Kind::Text(text) => Some(self.text(text)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_they_were() {
        let mut values = Values::new();
        for number in
            [0, 1, -1, (1 << 28) - 1, 1 << 28, -(1 << 28), -(1 << 28) - 1, 1 << 47, i64::MAX, i64::MIN]
        {
            let value = values.new_int(number);
            assert_eq!(values.kind(value), Kind::Int(number));
        }
        assert_eq!(
            [false, true].map(|value| values.kind(Value::bool(value))),
            [Kind::Bool(false), Kind::Bool(true)]
        );
        assert_eq!(values.kind(Value::NONE), Kind::None);
        let float = values.new_float(0.5);
        assert_eq!(values.kind(float), Kind::Float(0.5));
        assert_eq!(values.intern("action"), Key::Action as u32);
        assert_eq!(values.intern("32768"), Key::From32768 as u32);
        assert_eq!(values.intern("x"), values.intern("x"));
    }

    #[test]
    fn lists_and_dictionaries_grow_wherever_they_lie() {
        let mut values = Values::new();
        let small = |number: i32| Value::small(number).expect("it is small");
        let (first, second) = (values.new_list(&[small(1)]), values.new_list(&[]));
        for number in 2..5 {
            values.extend(0, &[small(number)]);
            values.extend(1, &[small(-number)]);
        }
        let ints = |values: &Values, list: Value| -> Vec<i64> {
            let Kind::List(list) = values.kind(list) else { panic!() };
            let int =
                |&value: &Value| if let Kind::Int(number) = values.kind(value) { number } else { panic!() };
            values.items(list).iter().map(int).collect()
        };
        assert_eq!((ints(&values, first), ints(&values, second)), (vec![1, 2, 3, 4], vec![-2, -3, -4]));
        // Lists of the same items have one place, and still grow alone.
        let row: Vec<Value> = (10..15).map(small).collect();
        let twins = [values.new_list(&row), values.new_list(&[]), values.new_list(&row)];
        let taken = values.places();
        values.extend(3, &row);
        assert_eq!([2, 3, 4].map(|list| values.place_of(list)), [Some(taken as u32 - 1); 3]);
        assert_eq!(values.places(), taken);
        values.extend(4, &[small(15)]);
        values.extend(2, &[small(16)]);
        values.extend(4, &[small(17)]);
        assert_eq!(
            twins.map(|list| ints(&values, list)),
            [vec![10, 11, 12, 13, 14, 16], vec![10, 11, 12, 13, 14], vec![10, 11, 12, 13, 14, 15, 17]]
        );
        assert_ne!(values.place_of(3), values.place_of(4));
        assert_eq!(values.place_of(2), None);
        let (one, two) = (values.new_dict(), values.new_dict());
        let key = |key: Key| Value::text(key as u32);
        let other = Value::text(values.intern("nobody asks"));
        values.insert(0, [(key(Key::Size), small(1)), (other, small(9))].into_iter());
        values.insert(1, [(key(Key::Size), small(2))].into_iter());
        values.insert(0, [(key(Key::Addr), small(3)), (key(Key::Size), small(4))].into_iter());
        assert_eq!((values.int_of(one, Key::Size), values.int_of(one, Key::Addr)), (Some(4), Some(3)));
        assert_eq!((values.int_of(two, Key::Size), values.int_of(two, Key::Addr)), (Some(2), None));
    }
}
