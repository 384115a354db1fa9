//! A device from its raw calls: the book, the checks, the locks and the counts that every device needs, once.
//!
//! In: a [`RawMemory`], which takes addresses, puts memory behind them and moves bytes, without asking whether it
//! should. Out: a [`Backing`] whose reservations are owned and checked. A raw call is never made for a range that the
//! book has not allowed, nor while memory of the same reservation comes or goes.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, RwLock};

use super::backing::asker;
use super::regions::Region;
use super::{
    AddressRange, Backing, Device, DeviceError, DeviceInfo, DeviceMemory, HostMemory, Origin, Reading,
    Reservation,
};
use crate::sync::{lock_std, read, write};
use vramkit_units::ByteSize;

/// Most bytes that the default [`fill`](RawMemory::fill) and [`copy`](RawMemory::copy) move at once.
const PIECE: u64 = 1 << 20;

/// A range that the book has allowed, for the length of one call: it lies in a reservation of the device that is
/// called, and is in the state that the call's description says. Only the book makes one.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'a> {
    range: AddressRange,
    call: PhantomData<&'a ()>,
}

impl Allowed<'_> {
    fn new(range: AddressRange) -> Self {
        Self { range, call: PhantomData }
    }

    /// The range.
    pub fn range(self) -> AddressRange {
        self.range
    }

    /// Its first address.
    pub fn base(self) -> u64 {
        self.range.base
    }

    /// One past its last address.
    pub fn end(self) -> u64 {
        self.range.end()
    }

    /// How many bytes it has.
    pub fn size(self) -> ByteSize {
        self.range.size
    }

    /// A part of it; `None` when that does not lie inside.
    pub fn part(self, offset: u64, size: ByteSize) -> Option<Self> {
        self.range.part(offset, size).map(Self::new)
    }
}

/// What a device does once the book has allowed it. See [`Checked`].
///
/// A type whose calls follow addresses as pointers relies on [`Allowed`]: it stays private to its module, so that
/// nobody can hand it what another device's book has allowed.
pub trait RawMemory: Send + Sync + fmt::Debug + 'static {
    /// What the device is. The id and the granularity are read once; the latter is rounded up to a power of two.
    fn info(&self) -> DeviceInfo;

    /// How much memory it has, when this program has `committed` of it.
    fn memory(&self, committed: ByteSize) -> DeviceMemory;

    /// Takes addresses: `size` is a multiple of the granularity, and so is the base that comes back.
    fn reserve(&self, size: ByteSize) -> Result<u64, DeviceError>;

    /// Gives a whole reservation back, with the memory that is still behind parts of it. Nobody can reach it any more,
    /// whatever is returned.
    fn release(&self, reservation: Allowed<'_>) -> Result<(), DeviceError>;

    /// Puts memory behind granules that have none. `committed` is what this program has of the device so far; one
    /// commit is asked for at a time.
    fn commit(&self, granules: Allowed<'_>, committed: ByteSize) -> Result<(), DeviceError>;

    /// Takes the memory behind granules away. What they hold when they are committed again is anything.
    fn decommit(&self, granules: Allowed<'_>) -> Result<(), DeviceError>;

    /// Copies bytes to committed memory of the same length.
    fn write(&self, to: Allowed<'_>, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Copies committed memory to as many bytes.
    fn read(&self, from: Allowed<'_>, into: &mut [u8]) -> Result<(), DeviceError>;

    /// Fills committed memory; see [`Reservation::fill`]. By writing, unless the device has something better.
    fn fill(&self, range: Allowed<'_>, pattern: u32) -> Result<(), DeviceError> {
        let pattern = pattern.rotate_right(8 * (range.base() % 4) as u32).to_le_bytes();
        let bytes: Vec<u8> =
            pattern.iter().copied().cycle().take(range.size().bytes().min(PIECE) as usize).collect();
        // Pieces are multiples of four bytes long, so each begins with the same byte of the pattern.
        pieces(range).try_for_each(|(_, part)| self.write(part, &bytes[..part.size().bytes() as usize]))
    }

    /// Copies committed memory to committed memory that it does not overlap. By reading and writing, unless the device
    /// has something better.
    fn copy(&self, from: Allowed<'_>, to: Allowed<'_>) -> Result<(), DeviceError> {
        let mut buffer = vec![0; from.size().bytes().min(PIECE) as usize];
        pieces(from).zip(pieces(to)).try_for_each(|((_, from), (_, to))| {
            let bytes = &mut buffer[..from.size().bytes() as usize];
            self.read(from, bytes)?;
            self.write(to, bytes)
        })
    }

    /// Called under no lock before memory is taken away: returns when no work that the device has been given can
    /// touch it any more.
    fn settle(&self, operation: &'static str) -> Result<(), DeviceError> {
        let _ = operation;
        Ok(())
    }

    /// As [`Backing::has_virtual_memory`].
    fn has_virtual_memory(&self) -> bool {
        false
    }

    /// Where a reservation is in this process, when it is plain memory of it.
    fn host(&self, reservation: Allowed<'_>) -> Option<HostMemory> {
        let _ = reservation;
        None
    }

    /// What is behind a reservation as somebody else counts it; the book says that it is `committed`.
    fn resident(&self, reservation: Allowed<'_>, committed: ByteSize) -> Reading<ByteSize> {
        let _ = (reservation, committed);
        Reading::unavailable(Origin::Driver, "this device does not say what is behind an address range")
    }
}

/// A range in pieces, with their offsets.
fn pieces<'a>(range: Allowed<'a>) -> impl Iterator<Item = (u64, Allowed<'a>)> {
    let size = range.size().bytes();
    (0..size).step_by(PIECE as usize).filter_map(move |offset| {
        Some((offset, range.part(offset, ByteSize::new(PIECE.min(size - offset)))?))
    })
}

/// A device made of its raw calls.
///
/// ```
/// use std::sync::Mutex;
/// use vramkit_pool::ByteSize;
/// use vramkit_pool::device::*;
///
/// /// A megabyte of this program's heap, all of it reserved once.
/// #[derive(Debug, Default)]
/// struct Heap(Mutex<Vec<u8>>);
///
/// const SIZE: ByteSize = ByteSize::mib(1);
///
/// impl RawMemory for Heap {
///     fn info(&self) -> DeviceInfo {
///         DeviceInfo::new("heap", "this program's heap", DeviceKind::Other("heap".into()), ByteSize::new(4096))
///     }
///     fn memory(&self, committed: ByteSize) -> DeviceMemory {
///         let known = |bytes| Reading::known(bytes, Origin::Configured);
///         DeviceMemory {
///             total_bytes: known(SIZE),
///             free_bytes: known(SIZE - committed),
///             committed_bytes: known(committed),
///         }
///     }
///     fn reserve(&self, requested: ByteSize) -> Result<u64, DeviceError> {
///         let mut heap = self.0.lock().unwrap();
///         if requested > SIZE || !heap.is_empty() {
///             let (device, reason) = ("heap".into(), "there is one megabyte, once".into());
///             return Err(DeviceError::AddressSpace { device, requested, reason });
///         }
///         heap.resize(SIZE.bytes() as usize, 0);
///         Ok(0)
///     }
///     fn release(&self, _: Allowed<'_>) -> Result<(), DeviceError> {
///         self.0.lock().unwrap().clear();
///         Ok(())
///     }
///     fn commit(&self, _: Allowed<'_>, _: ByteSize) -> Result<(), DeviceError> {
///         Ok(())
///     }
///     fn decommit(&self, _: Allowed<'_>) -> Result<(), DeviceError> {
///         Ok(())
///     }
///     fn write(&self, to: Allowed<'_>, bytes: &[u8]) -> Result<(), DeviceError> {
///         self.0.lock().unwrap()[to.base() as usize..to.end() as usize].copy_from_slice(bytes);
///         Ok(())
///     }
///     fn read(&self, from: Allowed<'_>, into: &mut [u8]) -> Result<(), DeviceError> {
///         into.copy_from_slice(&self.0.lock().unwrap()[from.base() as usize..from.end() as usize]);
///         Ok(())
///     }
/// }
///
/// let device = Checked::new(Heap::default());
/// let memory = device.reserve(SIZE)?;
/// let first = memory.range().part(0, ByteSize::new(4096)).expect("inside");
/// assert!(memory.write(first.base, b"no memory there yet").is_err());
/// memory.commit(first)?;
/// memory.write(first.base, b"now there is")?;
/// # Ok::<(), DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Checked<R> {
    shared: Arc<Shared<R>>,
}

/// What a device and its reservations share.
#[derive(Debug)]
struct Shared<R> {
    raw: R,
    id: String,
    /// From 1: its memory is its own, whatever others have the same id.
    instance: u64,
    granularity: ByteSize,
    /// Bytes committed in all reservations.
    committed: AtomicU64,
    /// Held while memory is committed, so that two reservations do not both take what is left.
    committing: Mutex<()>,
}

impl<R: RawMemory> Checked<R> {
    /// A device nothing of which is reserved.
    pub fn new(raw: R) -> Self {
        let info = raw.info();
        let granularity = ByteSize::new(info.granularity.bytes().max(1).next_power_of_two());
        let (committed, committing) = (AtomicU64::new(0), Mutex::new(()));
        static MADE: AtomicU64 = AtomicU64::new(0);
        let instance = MADE.fetch_add(1, Relaxed) + 1;
        Self { shared: Arc::new(Shared { raw, id: info.id, instance, granularity, committed, committing }) }
    }

    /// The raw calls' state.
    pub fn raw(&self) -> &R {
        &self.shared.raw
    }
}

impl<R: RawMemory> Device for Checked<R> {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            id: self.shared.id.clone(),
            granularity: self.shared.granularity,
            ..self.shared.raw.info()
        }
    }

    fn memory(&self) -> DeviceMemory {
        self.shared.raw.memory(ByteSize::new(self.shared.committed.load(Relaxed)))
    }

    fn instance(&self) -> u64 {
        self.shared.instance
    }
}

impl<R: RawMemory> Backing for Checked<R> {
    fn reserve(&self, size: ByteSize) -> Result<Box<dyn Reservation>, DeviceError> {
        let Shared { raw, id, granularity, .. } = &*self.shared;
        let rounded = ByteSize::new(size.bytes().max(1)).checked_align_up(granularity.bytes());
        let rounded = rounded.ok_or_else(|| DeviceError::AddressSpace {
            device: id.clone(),
            requested: size,
            reason: "the size passes 2^64 bytes".to_owned(),
        })?;
        let range = AddressRange::new(raw.reserve(rounded)?, rounded);
        let region = RwLock::new(Region::new(id, range, *granularity));
        Ok(Box::new(Booking { shared: self.shared.clone(), range, region }))
    }

    fn has_virtual_memory(&self) -> bool {
        self.shared.raw.has_virtual_memory()
    }
}

/// A reservation with its book.
#[derive(Debug)]
struct Booking<R: RawMemory> {
    shared: Arc<Shared<R>>,
    range: AddressRange,
    /// Read-locked while bytes are accessed, write-locked while granules come and go: an access never meets one that
    /// is going away.
    region: RwLock<Region>,
}

impl<R: RawMemory> Reservation for Booking<R> {
    fn range(&self) -> AddressRange {
        self.range
    }

    fn commit(&self, range: AddressRange) -> Result<(), DeviceError> {
        let mut region = write(&self.region);
        region.check_change(range, true)?;
        let _one_at_a_time = lock_std(&self.shared.committing);
        let committed = ByteSize::new(self.shared.committed.load(Relaxed));
        self.shared.raw.commit(Allowed::new(range), committed)?;
        region.change(range, true);
        self.shared.committed.fetch_add(range.size.bytes(), Relaxed);
        Ok(())
    }

    fn decommit(&self, range: AddressRange) -> Result<(), DeviceError> {
        self.shared.raw.settle("decommitting")?;
        let mut region = write(&self.region);
        region.check_change(range, false)?;
        self.shared.raw.decommit(Allowed::new(range))?;
        region.change(range, false);
        self.shared.committed.fetch_sub(range.size.bytes(), Relaxed);
        Ok(())
    }

    fn fill(&self, range: AddressRange, pattern: u32) -> Result<(), DeviceError> {
        let region = read(&self.region);
        region.check_access("fill", range)?;
        self.shared.raw.fill(Allowed::new(range), pattern)
    }

    fn write(&self, to: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let range = AddressRange::new(to, ByteSize::new(bytes.len() as u64));
        let region = read(&self.region);
        region.check_access("write", range)?;
        self.shared.raw.write(Allowed::new(range), bytes)
    }

    fn read(&self, from: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        let range = AddressRange::new(from, ByteSize::new(into.len() as u64));
        let region = read(&self.region);
        region.check_access("read", range)?;
        self.shared.raw.read(Allowed::new(range), into)
    }

    fn copy(&self, from: AddressRange, to: u64) -> Result<(), DeviceError> {
        let to = AddressRange::new(to, from.size);
        let region = read(&self.region);
        region.check_copy(from, to)?;
        self.shared.raw.copy(Allowed::new(from), Allowed::new(to))
    }

    fn resident(&self) -> Reading<ByteSize> {
        // Not while granules come and go: the system would be read half-way through.
        let region = read(&self.region);
        self.shared.raw.resident(Allowed::new(self.range), region.committed())
    }

    fn host(&self, _: asker::Pool) -> Option<HostMemory> {
        self.shared.raw.host(Allowed::new(self.range))
    }
}

impl<R: RawMemory> Drop for Booking<R> {
    fn drop(&mut self) {
        let Shared { raw, id, committed, .. } = &*self.shared;
        let settled = raw.settle("releasing");
        let released = raw.release(Allowed::new(self.range));
        // Gone in any case: given back, or lost with the device.
        committed.fetch_sub(read(&self.region).committed().bytes(), Relaxed);
        if let Err(error) = settled.and(released) {
            tracing::error!(%error, device = %id, range = %self.range, "a reservation could not be given back");
        }
    }
}
