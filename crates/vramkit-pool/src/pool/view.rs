//! Memory as typed slices, on this machine's memory, and as typed pointers, on any device.
//!
//! In: a handle, an element type, a part. Out: a slice that borrows the handle, at the cost of a plain slice; or an
//! address with a length, which nothing but a kernel follows. Never: a slice of memory that another can change, move
//! or take away while the slice is there, of memory that this processor cannot reach, or of types for which some bytes
//! are not a value ([`Pod`]).
#![allow(unsafe_code)]

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

pub use bytemuck::Pod;

use super::access::part;
use super::allocation::Allocation;
use super::compact::{Pinned, PinnedMut};
use super::core::Inner;
use super::device_memory_pool::DeviceMemoryPool;
use super::error::{OutOfBounds, PoolError};
use super::growing::GrowingAllocation;
use crate::device::{AddressRange, HostMemory};
use crate::sync::write;
use vramkit_units::ByteSize;

/// Why memory cannot be seen as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// This processor cannot follow the device's addresses.
    #[error(
        "the memory is on {device}, where this processor has no address for it; copy with `read` and `write`, or give \
         `device_ptr` to a kernel"
    )]
    NotHost {
        /// The device.
        device: String,
    },
    /// The part begins where no element may.
    #[error(
        "{element} begins at multiples of {alignment} bytes, and {address:#x} is none; choose another offset"
    )]
    Misaligned {
        /// Where the part begins.
        address: u64,
        /// What the element needs, in bytes.
        alignment: u64,
        /// The element's type.
        element: &'static str,
    },
    /// The part does not consist of whole elements.
    #[error("{} bytes are no whole number of {element}, of {} bytes each; view a part of them", size.bytes(), each.bytes())]
    Size {
        /// Bytes of the part.
        size: ByteSize,
        /// Bytes of an element.
        each: ByteSize,
        /// The element's type.
        element: &'static str,
    },
    /// The part is not in the allocation.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
}

/// A typed address of a device with a length: what a kernel is given. Nothing keeps the memory alive but its
/// allocation.
pub struct DevicePtr<T> {
    address: u64,
    len: usize,
    element: PhantomData<fn() -> T>,
}

impl<T> DevicePtr<T> {
    /// The first element's address on the device.
    pub fn address(self) -> u64 {
        self.address
    }

    /// How many elements there are.
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The addresses.
    pub fn range(self) -> AddressRange {
        AddressRange::new(self.address, ByteSize::new((self.len * size_of::<T>()) as u64))
    }

    /// The `len` elements from the `first` on; `None` when they do not lie inside.
    pub fn part(self, first: usize, len: usize) -> Option<Self> {
        (first.checked_add(len)? <= self.len).then(|| {
            let address = self.address + (first * size_of::<T>()) as u64;
            Self { address, len, element: PhantomData }
        })
    }
}

impl<T> Clone for DevicePtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for DevicePtr<T> {}

impl<T> fmt::Debug for DevicePtr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {} at {:#x}", self.len, type_name::<T>(), self.address)
    }
}

/// The place of `len` elements from the byte `offset` on, checked.
fn place<T>(whole: AddressRange, offset: u64, len: usize) -> Result<DevicePtr<T>, ViewError> {
    // A length that passes 2^64 bytes is out of bounds as well.
    let size = ByteSize::new((size_of::<T>() as u64).saturating_mul(len as u64));
    let inside = part(whole, offset, size).map_err(|error| match error {
        PoolError::OutOfBounds(outside) => ViewError::OutOfBounds(*outside),
        _ => ViewError::OutOfBounds(OutOfBounds { range: whole, allocation: whole }),
    })?;
    let (address, alignment) = (inside.base, align_of::<T>() as u64);
    if !address.is_multiple_of(alignment) {
        return Err(ViewError::Misaligned { address, alignment, element: type_name::<T>() });
    }
    Ok(DevicePtr { address, len, element: PhantomData })
}

/// How many elements a whole allocation is.
fn count<T>(whole: AddressRange) -> Result<usize, ViewError> {
    let (size, each) = (whole.size, ByteSize::new(size_of::<T>() as u64));
    match size.bytes().checked_div(each.bytes()) {
        Some(count) if size.bytes().is_multiple_of(each.bytes()) => Ok(count as usize),
        _ => Err(ViewError::Size { size, each, element: type_name::<T>() }),
    }
}

impl Inner {
    /// Where elements are in this process, for a handle that alone may reach them from here on.
    fn host_pointer<T>(&self, place: DevicePtr<T>) -> Result<*mut T, ViewError> {
        let Some(HostMemory { base, .. }) = self.host else {
            return Err(ViewError::NotHost { device: self.device.info().id });
        };
        // An access by an id that was this memory's before may have begun before its release, and still be under way;
        // one that begins from now on finds the id dead (see `Inner::with_id`).
        drop(write(&self.accesses));
        Ok(base.as_ptr().wrapping_add((place.address - self.range.base) as usize).cast())
    }

    /// # Safety
    ///
    /// `whole` is live memory of this pool that for `'a` stays so, stays where it is, and is changed by nobody.
    unsafe fn slice<'a, T: Pod>(
        &self,
        whole: AddressRange,
        offset: u64,
        len: usize,
    ) -> Result<&'a [T], ViewError> {
        let place = place(whole, offset, len)?;
        let pointer = self.host_pointer::<T>(place)?;
        // SAFETY: the part lies in memory that is granted, so committed, which the promise of `HostMemory` makes plain
        // initialised memory until it is decommitted; only this pool can decommit it, and never does where something is
        // live, which it is for `'a` by this function's contract. Nobody changes it in that time, by the same; the
        // pointer is aligned; any bytes are a `T`.
        Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
    }

    /// # Safety
    ///
    /// As for [`slice`](Self::slice), and for `'a` nobody else looks at the memory.
    unsafe fn slice_mut<'a, T: Pod>(
        &self,
        whole: AddressRange,
        offset: u64,
        len: usize,
    ) -> Result<&'a mut [T], ViewError> {
        let place = place(whole, offset, len)?;
        let pointer = self.host_pointer::<T>(place)?;
        // SAFETY: as in `slice`; that nobody else has the memory is this function's contract, and a `Pod` type leaves
        // no byte of it undefined.
        Ok(unsafe { std::slice::from_raw_parts_mut(pointer, len) })
    }
}

/// On memory of the host:
///
/// ```
/// # use std::sync::Arc;
/// # use vramkit_pool::{ByteSize, device::HostDevice, pool::{DeviceMemoryPool, Request}};
/// let pool = DeviceMemoryPool::new(Arc::new(HostDevice::new(ByteSize::mib(2))), ByteSize::mib(2))?;
/// let mut weights = pool.allocate(Request::new(ByteSize::new(4000)))?;
/// weights.view_mut::<f32>()?.fill(0.5);
/// assert_eq!(weights.view::<f32>()?.iter().sum::<f32>(), 500.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A view ends before its allocation does, and one that may write is the only one:
///
/// ```compile_fail,E0505
/// # use std::sync::Arc;
/// # use vramkit_pool::{ByteSize, device::HostDevice, pool::{DeviceMemoryPool, Request}};
/// # let pool = DeviceMemoryPool::new(Arc::new(HostDevice::new(ByteSize::mib(2))), ByteSize::mib(2)).unwrap();
/// let weights = pool.allocate(Request::new(ByteSize::new(4000))).unwrap();
/// let view = weights.view::<f32>().unwrap();
/// let id = weights.into_id(); // now anybody may release it
/// assert_eq!(view[0], 0.0);
/// ```
///
/// ```compile_fail,E0502
/// # use std::sync::Arc;
/// # use vramkit_pool::{ByteSize, device::HostDevice, pool::{DeviceMemoryPool, Request}};
/// # let pool = DeviceMemoryPool::new(Arc::new(HostDevice::new(ByteSize::mib(2))), ByteSize::mib(2)).unwrap();
/// let mut weights = pool.allocate(Request::new(ByteSize::new(4000))).unwrap();
/// let view = weights.view_mut::<f32>().unwrap();
/// weights.read(0, &mut [0; 4]).unwrap();
/// view[0] = 1.0;
/// ```
impl Allocation {
    /// All of it, as elements. Memory that was used before holds what was left there.
    pub fn view<T: Pod>(&self) -> Result<&[T], ViewError> {
        self.view_part(0, count::<T>(self.range())?)
    }

    /// All of it, as elements to change.
    pub fn view_mut<T: Pod>(&mut self) -> Result<&mut [T], ViewError> {
        self.view_part_mut(0, count::<T>(self.range())?)
    }

    /// The `len` elements from the byte `offset` on.
    pub fn view_part<T: Pod>(&self, offset: u64, len: usize) -> Result<&[T], ViewError> {
        // SAFETY: a handle's memory is live until the handle is dropped, released on a stream or turned into an id,
        // none of which can happen while the slice borrows it: nobody else has its id, and the id of something else
        // cannot pass for it, because the states of blocks with handles are apart (`HANDLE` in `blocks`). It is not
        // movable. Changing it takes the handle mutably, and accesses by an earlier id are over (`host_pointer`).
        unsafe { self.pool.slice(self.range(), offset, len) }
    }

    /// The `len` elements from the byte `offset` on, to change.
    pub fn view_part_mut<T: Pod>(&mut self, offset: u64, len: usize) -> Result<&mut [T], ViewError> {
        // SAFETY: as in `view_part`, and looking at the memory takes the handle, which the slice borrows mutably.
        unsafe { self.pool.slice_mut(self.range(), offset, len) }
    }

    /// All of it, as elements on its device.
    pub fn device_ptr<T>(&self) -> Result<DevicePtr<T>, ViewError> {
        place(self.range(), 0, count::<T>(self.range())?)
    }
}

/// Memory that may be moved has an address, and so a view, only while it is pinned:
///
/// ```compile_fail,E0505
/// # use std::sync::Arc;
/// # use vramkit_pool::{ByteSize, device::HostDevice, pool::{DeviceMemoryPool, Request}};
/// # let pool = DeviceMemoryPool::new(Arc::new(HostDevice::new(ByteSize::mib(2))), ByteSize::mib(2)).unwrap();
/// let cache = pool.allocate_movable(Request::new(ByteSize::new(4000))).unwrap();
/// let pinned = cache.pin();
/// let view = pinned.view::<f32>().unwrap();
/// drop(pinned); // now it may move
/// assert_eq!(view[0], 0.0);
/// ```
impl Pinned {
    /// All of it, as elements.
    pub fn view<T: Pod>(&self) -> Result<&[T], ViewError> {
        self.view_part(0, count::<T>(self.range())?)
    }

    /// The `len` elements from the byte `offset` on.
    pub fn view_part<T: Pod>(&self, offset: u64, len: usize) -> Result<&[T], ViewError> {
        // SAFETY: the guard shares the memory with the handle, so it is live, and keeps it from moving; both for as long
        // as the slice borrows the guard. A movable block has no id outside of its handle, and no other id passes for
        // it. Changing it takes `pin_mut`, which there is only while no other pin is out, and none comes meanwhile.
        unsafe { self.pool().slice(self.range(), offset, len) }
    }

    /// All of it, as elements on its device, for as long as the guard is held.
    pub fn device_ptr<T>(&self) -> Result<DevicePtr<T>, ViewError> {
        place(self.range(), 0, count::<T>(self.range())?)
    }
}

impl PinnedMut<'_> {
    /// All of it, as elements to change.
    pub fn view_mut<T: Pod>(&mut self) -> Result<&mut [T], ViewError> {
        self.view_part_mut(0, count::<T>(self.range())?)
    }

    /// The `len` elements from the byte `offset` on, to change.
    pub fn view_part_mut<T: Pod>(&mut self, offset: u64, len: usize) -> Result<&mut [T], ViewError> {
        // SAFETY: as in `Pinned::view_part`, and no other pin is out: there was none when this one was made, and it
        // borrows the handle mutably, as the slice does the guard.
        unsafe { self.pool().slice_mut(self.range(), offset, len) }
    }
}

/// Memory that somebody else holds and says where it is (an orchestrator, for a model that runs), as elements.
impl DeviceMemoryPool {
    /// A range of the pool's addresses as elements.
    ///
    /// # Safety
    ///
    /// For `'a` what lies there stays granted and where it is, and nobody changes it: through its handle or id, through a
    /// slice from [`view_range_mut`](Self::view_range_mut), or through an address.
    pub unsafe fn view_range<'a, T: Pod>(&self, range: AddressRange) -> Result<&'a [T], ViewError> {
        let len = count::<T>(self.own(range)?)?;
        // SAFETY: the range is the pool's, and live, in place and unchanged for `'a` by this function's contract.
        unsafe { self.inner.slice(range, 0, len) }
    }

    /// A range of the pool's addresses as elements to change.
    ///
    /// # Safety
    ///
    /// As for [`view_range`](Self::view_range), and for `'a` nobody else looks at it either.
    pub unsafe fn view_range_mut<'a, T: Pod>(&self, range: AddressRange) -> Result<&'a mut [T], ViewError> {
        let len = count::<T>(self.own(range)?)?;
        // SAFETY: as in `view_range`, and the slice is the only way to the memory by this function's contract.
        unsafe { self.inner.slice_mut(range, 0, len) }
    }

    /// The range, when it lies in the pool's.
    fn own(&self, range: AddressRange) -> Result<AddressRange, ViewError> {
        let whole = self.range();
        let inside = range.base.checked_sub(whole.base).and_then(|offset| whole.part(offset, range.size));
        inside.ok_or(ViewError::OutOfBounds(OutOfBounds { range, allocation: whole }))
    }
}

/// Of memory that grows in place, what it has grown to.
impl GrowingAllocation {
    /// All of it, as elements.
    pub fn view<T: Pod>(&self) -> Result<&[T], ViewError> {
        self.view_part(0, count::<T>(self.range())?)
    }

    /// All of it, as elements to change.
    pub fn view_mut<T: Pod>(&mut self) -> Result<&mut [T], ViewError> {
        self.view_part_mut(0, count::<T>(self.range())?)
    }

    /// The `len` elements from the byte `offset` on.
    pub fn view_part<T: Pod>(&self, offset: u64, len: usize) -> Result<&[T], ViewError> {
        // SAFETY: the memory is live until the handle is dropped, and what it has grown to is committed until the handle
        // is resized; neither can happen while the slice borrows it. Nobody else has its id, and no other passes for it.
        // It never moves; changing it takes the handle mutably.
        unsafe { self.pool().slice(self.range(), offset, len) }
    }

    /// The `len` elements from the byte `offset` on, to change.
    pub fn view_part_mut<T: Pod>(&mut self, offset: u64, len: usize) -> Result<&mut [T], ViewError> {
        // SAFETY: as in `view_part`, and looking at the memory takes the handle, which the slice borrows mutably.
        unsafe { self.pool().slice_mut(self.range(), offset, len) }
    }

    /// All of it, as elements on its device.
    pub fn device_ptr<T>(&self) -> Result<DevicePtr<T>, ViewError> {
        place(self.range(), 0, count::<T>(self.range())?)
    }
}
