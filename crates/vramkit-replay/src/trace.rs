//! A trace: allocations and frees in order, checked as they are added.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use vramkit_units::ByteSize;

use crate::operation::{Mark, Operation};
use crate::stacks::{Frame, Stacks, plain};

/// No program has allocated more at once: half of a device's address space, so that what is granted for it has addresses too.
const MOST: u64 = 1 << 46;

/// What cannot be replayed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// An allocation of nothing.
    #[error("an allocation of 0 bytes")]
    ZeroSize,
    /// A size that no device has.
    #[error("an allocation of {0} bytes: no device has more than {MOST}")]
    TooLarge(u64),
    /// More than any device has is live.
    #[error("{0} bytes are live at once: no device has more than {MOST}")]
    TooMuch(u64),
    /// An id that is in use.
    #[error("id {0} is allocated again before it is freed")]
    StillLive(String),
    /// A free of something that is not live.
    #[error("id {0} is freed and is not live: freed twice, or never allocated")]
    Unknown(String),
    /// More than 2^32 allocations.
    #[error("more than 2^32 allocations")]
    TooLong,
}

/// Names a live allocation. Most recordings have numbers or addresses, which need no text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Number(u64),
    /// An address that something had before the recording began; another may have it in the recording, and at the same time as far as
    /// that says.
    Before(u64),
    Text(Box<str>),
}

impl Key {
    /// Of a text: a number where it is written as numbers are.
    pub(crate) fn of(id: &str) -> Self {
        let plain = id.len() < 20 && (id == "0" || !id.starts_with(['0', '+']));
        match id.parse() {
            Ok(number) if plain => Self::Number(number),
            _ => Self::Text(id.into()),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) | Self::Before(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Where a request comes from, as far as a recording says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Origin {
    /// Which stack of code.
    pub(crate) stack: u32,
    /// Which text of the program's own.
    pub(crate) annotation: u32,
    /// Whose work it is for.
    pub(crate) stream: u64,
    /// Which private pool it is from; 0 is none.
    pub(crate) pool: u32,
}

/// Allocations and frees of a program, in order.
///
/// ```
/// use vramkit_replay::Trace;
///
/// let mut trace = Trace::new("by hand");
/// trace.allocate("a", 4096, "weights")?;
/// trace.allocate("b", 1024, "activations")?;
/// trace.free("a")?;
/// assert_eq!((trace.peak_live().bytes(), trace.peak_at()), (5120, 1));
/// # Ok::<(), vramkit_replay::TraceError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Where it comes from.
    pub name: String,
    /// Which device of the recorded program it is of, where the recording tells several apart.
    pub device: Option<u32>,
    /// The steps.
    pub operations: Vec<Operation>,
    /// What happens before an operation, by its place, in order.
    pub marks: Vec<(usize, Mark)>,
    /// Most bytes that the recorded program held from its device, where the recording says.
    pub recorded_reserved: Option<ByteSize>,
    /// The settings under which the recorded program ran PyTorch's allocator, as `PYTORCH_CUDA_ALLOC_CONF` has them.
    pub recorded_settings: String,
    /// What is odd about the recording, and what was made of it.
    pub notes: Vec<String>,
    /// Whether it says in which order memory was asked for, and not just what is held at its end.
    pub has_history: bool,
    /// By number, an index into `origins`.
    origin_of: Vec<u32>,
    origins: Vec<Origin>,
    origin_numbers: HashMap<Origin, u32>,
    pub(crate) stacks: Stacks,
    /// Texts of the program's own, `""` first.
    annotations: Vec<String>,
    annotation_numbers: HashMap<String, u32>,
    live: HashMap<Key, (u32, u64)>,
    live_bytes: u64,
    /// Most bytes that the program had at once.
    most_granted: u64,
    peak_live: u64,
    peak_at: usize,
}

impl Trace {
    /// An empty trace.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: plain(&name.into()).into_owned(),
            annotations: vec![String::new()],
            has_history: true,
            ..Self::default()
        }
    }

    /// Adds an allocation of `size` bytes; `owner` may be empty.
    ///
    /// # Errors
    /// A size of 0, more live than any device has (2^46 bytes), or an id that is live.
    pub fn allocate(&mut self, id: &str, size: u64, owner: &str) -> Result<(), TraceError> {
        let stack = self.stacks.named(owner);
        self.allocate_from(Key::of(id), size, Origin { stack, ..Origin::default() })
    }

    /// Adds a request that the program did not get.
    ///
    /// # Errors
    /// A size of 0, or more than any device has, alone or with what is live.
    pub fn attempt(&mut self, size: u64, owner: &str) -> Result<(), TraceError> {
        let stack = self.stacks.named(owner);
        self.attempt_from(size, Origin { stack, ..Origin::default() })
    }

    /// Adds a free.
    ///
    /// # Errors
    /// An id that is not live.
    pub fn free(&mut self, id: &str) -> Result<(), TraceError> {
        self.free_key(&Key::of(id))
    }

    pub(crate) fn allocate_from(&mut self, key: Key, size: u64, origin: Origin) -> Result<(), TraceError> {
        let (number, live) = self.next(size)?;
        match self.live.entry(key) {
            Entry::Occupied(taken) => return Err(TraceError::StillLive(taken.key().to_string())),
            Entry::Vacant(free) => drop(free.insert((number, size))),
        }
        self.live_bytes = live;
        self.most_granted = self.most_granted.max(live);
        self.add(origin, Operation::Allocate { number, size }, live);
        Ok(())
    }

    pub(crate) fn attempt_from(&mut self, size: u64, origin: Origin) -> Result<(), TraceError> {
        let (number, live) = self.next(size)?;
        self.add(origin, Operation::Attempt { number, size }, live);
        Ok(())
    }

    pub(crate) fn free_key(&mut self, key: &Key) -> Result<(), TraceError> {
        let (number, size) = self.live.remove(key).ok_or_else(|| TraceError::Unknown(key.to_string()))?;
        self.live_bytes -= size;
        self.operations.push(Operation::Free { number });
        Ok(())
    }

    /// Adds a mark before the next operation.
    pub(crate) fn mark(&mut self, mark: Mark) {
        self.marks.push((self.operations.len(), mark));
    }

    /// The number and the size of what is live under a key.
    pub(crate) fn live(&self, key: &Key) -> Option<(u32, u64)> {
        self.live.get(key).copied()
    }

    /// Bytes of memory that it takes, about.
    pub(crate) fn bytes(&self) -> u64 {
        let operations = size_of::<Operation>() * self.operations.len();
        (operations + 4 * self.origin_of.len() + 64 * self.live.len() + 32 * self.marks.len()) as u64
    }

    /// Whether an id is live at the end of what has been added.
    pub fn is_live(&self, id: &str) -> bool {
        self.live.contains_key(&Key::of(id))
    }

    /// The number of the next request of this size, and what is live with it.
    fn next(&self, size: u64) -> Result<(u32, u64), TraceError> {
        if size == 0 {
            return Err(TraceError::ZeroSize);
        }
        if size > MOST {
            return Err(TraceError::TooLarge(size));
        }
        let number = u32::try_from(self.origin_of.len()).map_err(|_| TraceError::TooLong)?;
        // Both are at most 2^46.
        let live = self.live_bytes + size;
        if live > MOST { Err(TraceError::TooMuch(live)) } else { Ok((number, live)) }
    }

    fn add(&mut self, origin: Origin, operation: Operation, live: u64) {
        let next = self.origins.len() as u32;
        let known = self.origin_of.last().filter(|&&last| self.origins[last as usize] == origin).copied();
        let number = known.unwrap_or_else(|| *self.origin_numbers.entry(origin).or_insert(next));
        if number == next {
            self.origins.push(origin);
        }
        self.origin_of.push(number);
        self.operations.push(operation);
        if live > self.peak_live {
            (self.peak_live, self.peak_at) = (live, self.operations.len() - 1);
        }
    }

    /// Most bytes that the program had at once, without what it asked for in vain.
    pub(crate) fn most_granted(&self) -> u64 {
        self.most_granted
    }

    /// Most bytes live at once, with what was asked for in vain.
    pub fn peak_live(&self) -> ByteSize {
        ByteSize::new(self.peak_live)
    }

    /// The step at which most bytes are live.
    pub fn peak_at(&self) -> usize {
        self.peak_at
    }

    /// Requests in the trace.
    pub fn allocations(&self) -> usize {
        self.origin_of.len()
    }

    pub(crate) fn origin(&self, number: u32) -> Origin {
        self.origins[self.origin_of[number as usize] as usize]
    }

    /// Names another text of the program's own for what is under a key.
    pub(crate) fn annotate(&mut self, key: &Key, text: &str) {
        let Some((number, _)) = self.live(key) else { return };
        let annotation = self.annotation(text);
        let origin = Origin { annotation, ..self.origin(number) };
        let next = self.origins.len() as u32;
        let found = *self.origin_numbers.entry(origin).or_insert(next);
        if found == next {
            self.origins.push(origin);
        }
        self.origin_of[number as usize] = found;
    }

    pub(crate) fn annotation(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let text = &*plain(text);
        if let Some(&number) = self.annotation_numbers.get(text) {
            return number;
        }
        let number = self.annotations.len() as u32;
        self.annotations.push(text.to_owned());
        self.annotation_numbers.insert(text.to_owned(), number);
        number
    }

    pub(crate) fn annotation_text(&self, annotation: u32) -> &str {
        &self.annotations[annotation as usize]
    }

    /// The stack that an allocation was asked for from, innermost frame first; empty where the recording does not say.
    pub fn frames(&self, number: u32) -> impl Iterator<Item = &Frame> {
        self.stacks.frames(self.origin(number).stack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_replayed_is_refused() {
        let mut trace = Trace::new("t");
        assert_eq!(trace.allocate("a", 0, ""), Err(TraceError::ZeroSize));
        assert_eq!(trace.allocate("a", 1 << 63, ""), Err(TraceError::TooLarge(1 << 63)));
        trace.allocate("all of it", MOST, "").unwrap();
        assert_eq!(trace.allocate("a", 1, ""), Err(TraceError::TooMuch(MOST + 1)));
        let mut trace = Trace::new("t");
        trace.allocate("a", 100, "x").unwrap();
        assert_eq!(trace.allocate("a", 1, ""), Err(TraceError::StillLive("a".to_owned())));
        trace.allocate("b", 50, "x").unwrap();
        trace.free("a").unwrap();
        assert_eq!(trace.free("a"), Err(TraceError::Unknown("a".to_owned())));
        trace.allocate("a", 60, "y").unwrap();
        assert_eq!((trace.peak_live(), trace.peak_at(), trace.allocations()), (ByteSize::new(150), 1, 3));
        assert_eq!(trace.frames(2).map(ToString::to_string).collect::<Vec<_>>(), ["y"]);
    }

    #[test]
    fn what_was_asked_for_in_vain_counts_while_it_is_asked_for() {
        let mut trace = Trace::new("t");
        trace.allocate("a", 100, "").unwrap();
        trace.attempt(50, "").unwrap();
        trace.allocate("b", 10, "").unwrap();
        assert_eq!((trace.peak_live(), trace.peak_at(), trace.operations.len()), (ByteSize::new(150), 1, 3));
        assert_eq!(trace.attempt(0, ""), Err(TraceError::ZeroSize));
        assert_eq!(trace.attempt(MOST, ""), Err(TraceError::TooMuch(MOST + 110)));
    }

    #[test]
    fn ids_are_what_they_are_written_as() {
        let mut trace = Trace::new("t");
        for id in ["1", "01", "+1", "0", "00", "18446744073709551615", "18446744073709551616", ""] {
            trace.allocate(id, 1, "").unwrap();
            assert!(trace.is_live(id));
        }
        trace.free("01").unwrap();
        assert!(trace.is_live("1") && !trace.is_live("01"));
    }
}
