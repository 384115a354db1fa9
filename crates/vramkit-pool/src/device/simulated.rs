//! A device of any size without memory behind it: an 80 GiB card on a laptop, with faults on demand.
//!
//! It keeps the same book as a real device, remembers what was written as a map of ranges, and fails as its
//! schedule says: the n-th commit, a seeded share of all commits, other processes taking memory, a slow or
//! lost driver. The same calls in the same order from the same seed give the same results.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::{
    AddressRange, Allowed, Backing, Checked, Device, DeviceError, DeviceInfo, DeviceKind, DeviceMemory,
    Origin, RawMemory, Reading, Reservation,
};
use vramkit_units::ByteSize;
use vramkit_units::SplitMix64;

/// Something that goes wrong. Operations and commits are counted from 1; reserving, releasing, committing,
/// decommitting and moving bytes are operations, reading numbers and what the book refuses are not.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The n-th commit is refused for lack of memory.
    CommitFails {
        /// Which one.
        nth: u64,
    },
    /// Each commit is refused with this probability, drawn from the device's seed.
    CommitsFailAtRandom {
        /// Between 0 and 1.
        ratio: f64,
    },
    /// From this operation on, other processes hold this much (a later entry replaces an earlier one).
    OthersHold {
        /// The operation before which the change takes place.
        from_operation: u64,
        /// What they hold.
        bytes: ByteSize,
    },
    /// Every operation takes this long.
    SlowDriver {
        /// The time added.
        delay: Duration,
    },
    /// From this operation on the device is gone.
    Lost {
        /// The first operation that fails.
        from_operation: u64,
    },
}

/// Sets up a [`SimulatedDevice`].
///
/// ```
/// use vramkit_pool::ByteSize;
/// use vramkit_pool::device::{Backing, DeviceError, Fault, SimulatedDevice};
///
/// let card = SimulatedDevice::builder(ByteSize::gib(1)).fault(Fault::CommitFails { nth: 1 }).build();
/// let memory = card.reserve(ByteSize::mib(4))?;
/// assert!(matches!(memory.commit(memory.range()), Err(DeviceError::OutOfMemory { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SimulatedDeviceBuilder {
    id: String,
    capacity: ByteSize,
    granularity: ByteSize,
    virtual_memory: bool,
    seed: u64,
    faults: Vec<Fault>,
}

impl SimulatedDeviceBuilder {
    /// What it is called; `sim` unless set.
    pub fn id(mut self, id: &str) -> Self {
        self.id = id.to_owned();
        self
    }

    /// The unit of committing; 2 MiB unless set. Rounded up to a power of two.
    pub fn granularity(mut self, granularity: ByteSize) -> Self {
        self.granularity = ByteSize::new(granularity.bytes().max(1).next_power_of_two());
        self
    }

    /// Whether addresses cost nothing, as they do unless this says otherwise. Where they do, a pool has those of its
    /// capacity alone, as on a card whose driver has no virtual memory management.
    pub fn virtual_memory(mut self, virtual_memory: bool) -> Self {
        self.virtual_memory = virtual_memory;
        self
    }

    /// Where random faults are drawn from; 0 unless set.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Adds a fault to the schedule.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// The device.
    pub fn build(self) -> SimulatedDevice {
        let state = State {
            next_base: 1 << 44,
            contents: BTreeMap::new(),
            operations: 0,
            commits: 0,
            others: None,
            random: SplitMix64::new(self.seed),
        };
        SimulatedDevice(Checked::new(Simulation {
            id: self.id,
            capacity: self.capacity,
            granularity: self.granularity,
            virtual_memory: self.virtual_memory,
            faults: self.faults,
            state: Mutex::new(state),
        }))
    }
}

/// A device of any size without memory behind it, with faults on demand: the same calls in the same order from the
/// same seed give the same results.
///
/// ```
/// use vramkit_pool::ByteSize;
/// use vramkit_pool::device::{Device, SimulatedDevice};
///
/// let card = SimulatedDevice::new(ByteSize::gib(80)); // on any machine: no memory is behind it
/// assert_eq!(card.memory().total_bytes.value, Some(ByteSize::gib(80)));
/// ```
#[derive(Debug)]
pub struct SimulatedDevice(Checked<Simulation>);

#[derive(Debug)]
struct Simulation {
    id: String,
    capacity: ByteSize,
    granularity: ByteSize,
    virtual_memory: bool,
    faults: Vec<Fault>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Addresses are never handed out twice, so a stale one is always noticed.
    next_base: u64,
    /// What committed ranges hold, by first address; ranges do not overlap. Bytes never written read as 0.
    contents: BTreeMap<u64, Piece>,
    operations: u64,
    commits: u64,
    /// What other processes hold, where that was said since it was built.
    others: Option<ByteSize>,
    random: SplitMix64,
}

#[derive(Clone, Debug)]
struct Piece {
    end: u64,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Fill(u32),
    Bytes(Box<[u8]>),
}

impl SimulatedDevice {
    /// A device of this capacity that never fails.
    pub fn new(capacity: ByteSize) -> Self {
        Self::builder(capacity).build()
    }

    /// A device of this capacity, to be set up.
    pub fn builder(capacity: ByteSize) -> SimulatedDeviceBuilder {
        SimulatedDeviceBuilder {
            id: "sim".to_owned(),
            capacity,
            granularity: ByteSize::mib(2),
            virtual_memory: true,
            seed: 0,
            faults: Vec::new(),
        }
    }

    /// From now on other processes hold so much, whatever the schedule says.
    pub fn others_hold(&self, bytes: ByteSize) {
        self.0.raw().lock().others = Some(bytes);
    }

    /// How many commits have been asked for; the faults' `nth` counts the same way.
    pub fn commits(&self) -> u64 {
        self.0.raw().lock().commits
    }
}

impl Device for SimulatedDevice {
    fn info(&self) -> DeviceInfo {
        self.0.info()
    }

    fn memory(&self) -> DeviceMemory {
        self.0.memory()
    }

    fn instance(&self) -> u64 {
        self.0.instance()
    }
}

impl Backing for SimulatedDevice {
    fn reserve(&self, size: ByteSize) -> Result<Box<dyn Reservation>, DeviceError> {
        self.0.reserve(size)
    }

    fn has_virtual_memory(&self) -> bool {
        self.0.raw().virtual_memory
    }
}

impl Simulation {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Counts an operation and applies what the schedule has for it.
    fn begin(&self) -> Result<std::sync::MutexGuard<'_, State>, DeviceError> {
        for fault in &self.faults {
            if let Fault::SlowDriver { delay } = fault {
                std::thread::sleep(*delay);
            }
        }
        let mut state = self.lock();
        state.operations += 1;
        let lost = |fault: &Fault| matches!(fault, Fault::Lost { from_operation } if *from_operation <= state.operations);
        if self.faults.iter().any(lost) {
            return Err(DeviceError::Lost { device: self.id.clone() });
        }
        Ok(state)
    }

    /// What other processes hold now.
    fn others(&self, state: &State) -> ByteSize {
        if let Some(said) = state.others {
            return said;
        }
        let held = self.faults.iter().filter_map(|fault| match fault {
            Fault::OthersHold { from_operation, bytes } if *from_operation <= state.operations => {
                Some((*from_operation, *bytes))
            }
            _ => None,
        });
        held.max_by_key(|(from, _)| *from).map_or(ByteSize::ZERO, |(_, bytes)| bytes)
    }

    fn free(&self, state: &State, committed: ByteSize) -> ByteSize {
        self.capacity.saturating_sub(committed).saturating_sub(self.others(state))
    }
}

impl State {
    /// Forgets what `range` holds, keeping what lies beside it.
    fn clear(&mut self, range: AddressRange) {
        let (start, end) = (range.base, range.end());
        let before = self.contents.range(..start).next_back().map(|(&at, piece)| (at, piece.clone()));
        if let Some((at, piece)) = before
            && piece.end > start
        {
            self.contents.insert(at, piece.cut(at, at, start));
            if piece.end > end {
                self.contents.insert(end, piece.cut(at, end, piece.end));
            }
        }
        let inside: Vec<u64> = self.contents.range(start..end).map(|(&at, _)| at).collect();
        for at in inside {
            let piece = self.contents.remove(&at).expect("listed above");
            if piece.end > end {
                self.contents.insert(end, piece.cut(at, end, piece.end));
            }
        }
    }

    fn put(&mut self, range: AddressRange, content: Content) {
        self.clear(range);
        if !range.size.is_zero() {
            self.contents.insert(range.base, Piece { end: range.end(), content });
        }
    }
}

impl Piece {
    /// The part `[from, to)` of a piece that starts at `at`.
    fn cut(&self, at: u64, from: u64, to: u64) -> Self {
        let content = match &self.content {
            Content::Fill(pattern) => Content::Fill(*pattern),
            Content::Bytes(bytes) => Content::Bytes(bytes[(from - at) as usize..(to - at) as usize].into()),
        };
        Self { end: to, content }
    }
}

impl RawMemory for Simulation {
    fn info(&self) -> DeviceInfo {
        const WHY: &str = "a simulated device computes nothing";
        DeviceInfo {
            id: self.id.clone(),
            name: format!("simulated device of {}", self.capacity),
            uuid: None,
            kind: DeviceKind::Simulated,
            granularity: self.granularity,
            unified: Reading::known(false, Origin::Simulation),
            multiprocessors: Reading::unavailable(Origin::Simulation, WHY),
            l2_cache_bytes: Reading::unavailable(Origin::Simulation, WHY),
            bus_width_bits: Reading::unavailable(Origin::Simulation, WHY),
            compute_capability: Reading::unavailable(Origin::Simulation, WHY),
        }
    }

    fn memory(&self, committed: ByteSize) -> DeviceMemory {
        let state = self.lock();
        DeviceMemory {
            total_bytes: Reading::known(self.capacity, Origin::Configured),
            free_bytes: Reading::known(self.free(&state, committed), Origin::Simulation),
            committed_bytes: Reading::known(committed, Origin::Simulation),
        }
    }

    fn reserve(&self, size: ByteSize) -> Result<u64, DeviceError> {
        let mut state = self.begin()?;
        let unable = || DeviceError::AddressSpace {
            device: self.id.clone(),
            requested: size,
            reason: "the simulated address space has 2^47 bytes".to_owned(),
        };
        if size.bytes() > 1 << 47 {
            return Err(unable());
        }
        let base = state.next_base.next_multiple_of(self.granularity.bytes());
        state.next_base = base.checked_add(size.bytes()).ok_or_else(unable)?;
        Ok(base)
    }

    fn release(&self, reservation: Allowed<'_>) -> Result<(), DeviceError> {
        let counted = self.begin().map(drop);
        // What a lost device held is gone as well.
        self.lock().clear(reservation.range());
        counted
    }

    fn commit(&self, granules: Allowed<'_>, committed: ByteSize) -> Result<(), DeviceError> {
        let mut state = self.begin()?;
        state.commits += 1;
        let mut refused = granules.size() > self.free(&state, committed);
        for fault in &self.faults {
            refused |= match *fault {
                Fault::CommitFails { nth } => nth == state.commits,
                Fault::CommitsFailAtRandom { ratio } => state.random.unit() < ratio,
                _ => false,
            };
        }
        if refused {
            return Err(DeviceError::OutOfMemory {
                device: self.id.clone(),
                requested: granules.size(),
                available: self.free(&state, committed),
                total: self.capacity,
            });
        }
        Ok(())
    }

    fn decommit(&self, granules: Allowed<'_>) -> Result<(), DeviceError> {
        self.begin()?.clear(granules.range());
        Ok(())
    }

    fn fill(&self, range: Allowed<'_>, pattern: u32) -> Result<(), DeviceError> {
        self.begin()?.put(range.range(), Content::Fill(pattern));
        Ok(())
    }

    fn write(&self, to: Allowed<'_>, bytes: &[u8]) -> Result<(), DeviceError> {
        self.begin()?.put(to.range(), Content::Bytes(bytes.into()));
        Ok(())
    }

    fn read(&self, from: Allowed<'_>, into: &mut [u8]) -> Result<(), DeviceError> {
        let (state, from, to) = (self.begin()?, from.base(), from.end());
        into.fill(0);
        let first = state.contents.range(..=from).next_back().map_or(from, |(&at, _)| at);
        for (&at, piece) in state.contents.range(first..to) {
            let (start, end) = (at.max(from), piece.end.min(to));
            for address in start..end {
                into[(address - from) as usize] = match &piece.content {
                    Content::Fill(pattern) => pattern.to_le_bytes()[(address % 4) as usize],
                    Content::Bytes(bytes) => bytes[(address - at) as usize],
                };
            }
        }
        Ok(())
    }

    fn copy(&self, from: Allowed<'_>, to: Allowed<'_>) -> Result<(), DeviceError> {
        let mut state = self.begin()?;
        let (from, target) = (from.range(), to.range());
        let to = target.base;
        let first = state.contents.range(..=from.base).next_back().map_or(from.base, |(&at, _)| at);
        let pieces: Vec<(u64, Piece)> = state
            .contents
            .range(first..from.end())
            .map(|(&at, piece)| (at, piece.clone()))
            .filter(|(_, piece)| piece.end > from.base)
            .collect();
        state.clear(target);
        for (at, piece) in pieces {
            let (start, end) = (at.max(from.base), piece.end.min(from.end()));
            if start >= end {
                continue;
            }
            let mut moved = piece.cut(at, start, end);
            let shift = (to % 4 + 4 - from.base % 4) % 4;
            if let Content::Fill(pattern) = &mut moved.content {
                // The pattern is tied to addresses: moved by `shift` mod 4, the same bytes are its rotation.
                *pattern = pattern.rotate_left(8 * shift as u32);
            }
            let base = to + (start - from.base);
            moved.end = base + (end - start);
            state.contents.insert(base, moved);
        }
        Ok(())
    }

    fn resident(&self, _reservation: Allowed<'_>, committed: ByteSize) -> Reading<ByteSize> {
        Reading::known(committed, Origin::Simulation)
    }
}
