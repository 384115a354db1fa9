//! A trace: allocations and frees in order, checked as they are added.

use hashbrown::HashMap;

use vramkit_units::ByteSize;

/// No program has allocated more at once: the address space of a device.
const MOST: u64 = 1 << 47;

/// One step of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Memory is asked for.
    Allocate {
        /// Which allocation of the trace this is, from 0 in order.
        number: u32,
        /// Bytes asked for, at least 1.
        size: u64,
    },
    /// Memory is given back.
    Free {
        /// Which allocation.
        number: u32,
    },
}

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
    /// What each allocation is for, by number, as an index into `owners`.
    pub owner_of: Vec<u16>,
    /// Who allocates: the names that the recording gives, `""` first.
    pub owners: Vec<String>,
    /// Most bytes that the recorded program held from its device, where the recording says.
    pub recorded_reserved: Option<ByteSize>,
    live: HashMap<String, (u32, u64)>,
    owner_numbers: HashMap<String, u16>,
    live_bytes: u64,
    peak_live: u64,
    peak_at: usize,
}

impl Trace {
    /// An empty trace.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), owners: vec![String::new()], ..Self::default() }
    }

    /// Adds an allocation of `size` bytes; `owner` may be empty.
    ///
    /// # Errors
    /// A size of 0, more live than any device has (2^47 bytes), or an id that is live.
    pub fn allocate(&mut self, id: &str, size: u64, owner: &str) -> Result<(), TraceError> {
        if size == 0 {
            return Err(TraceError::ZeroSize);
        }
        if size > MOST {
            return Err(TraceError::TooLarge(size));
        }
        let number = u32::try_from(self.owner_of.len()).map_err(|_| TraceError::TooLong)?;
        if self.live.contains_key(id) {
            return Err(TraceError::StillLive(id.to_owned()));
        }
        // Both are at most 2^47.
        let live_bytes = self.live_bytes + size;
        if live_bytes > MOST {
            return Err(TraceError::TooMuch(live_bytes));
        }
        self.live_bytes = live_bytes;
        self.live.insert(id.to_owned(), (number, size));
        let owner = self.owner(owner);
        self.owner_of.push(owner);
        self.operations.push(Operation::Allocate { number, size });
        if self.live_bytes > self.peak_live {
            (self.peak_live, self.peak_at) = (self.live_bytes, self.operations.len() - 1);
        }
        Ok(())
    }

    /// Adds a free.
    ///
    /// # Errors
    /// An id that is not live.
    pub fn free(&mut self, id: &str) -> Result<(), TraceError> {
        let (number, size) = self.live.remove(id).ok_or_else(|| TraceError::Unknown(id.to_owned()))?;
        self.live_bytes -= size;
        self.operations.push(Operation::Free { number });
        Ok(())
    }

    /// Whether an id is live at the end of what has been added.
    pub fn is_live(&self, id: &str) -> bool {
        self.live.contains_key(id)
    }

    /// Most bytes live at once.
    pub fn peak_live(&self) -> ByteSize {
        ByteSize::new(self.peak_live)
    }

    /// The step at which most bytes are live.
    pub fn peak_at(&self) -> usize {
        self.peak_at
    }

    /// Allocations in the trace.
    pub fn allocations(&self) -> usize {
        self.owner_of.len()
    }

    fn owner(&mut self, name: &str) -> u16 {
        if name.is_empty() {
            return 0;
        }
        if let Some(&number) = self.owner_numbers.get(name) {
            return number;
        }
        // Beyond 2^16 names, nobody.
        let Ok(number) = u16::try_from(self.owners.len()) else { return 0 };
        self.owners.push(name.to_owned());
        self.owner_numbers.insert(name.to_owned(), number);
        number
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
        assert_eq!(trace.owner_of, [1, 1, 2]);
    }
}
