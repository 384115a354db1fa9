//! A pool behind PyTorch's and CuPy's allocators: two C functions that they call, and a pool of each card under them.
//!
//! ```text
//! PyTorch ──► vramkit_malloc(size, device, stream) ──► the device's pool ──► address
//!             vramkit_free(address, size, device, stream) ──► released on the stream
//! ```
//!
//! Memory that is freed on a stream serves that stream again at once, others once it has come so far. Without room, callers in C++ get
//! `std::bad_alloc`, as their own allocators raise; Python reads why.

#![allow(unsafe_code)]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use vramkit::ByteSize;
use vramkit::device::{CudaDevice, CudaStream};
use vramkit::pool::{AllocationId, DeviceMemoryPool as Pool, Request};

use crate::device::Place;
use crate::errors;
use crate::memory_pool::DeviceMemoryPool;
use crate::peaks;
use crate::size::Size;

/// A card's pool under an allocator.
struct Card {
    device: Arc<CudaDevice>,
    pool: Arc<Pool>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By address.
    live: HashMap<u64, (AllocationId, u64)>,
    /// Streams of the framework, by their handle. Kept: memory comes back to the stream that released it.
    streams: HashMap<u64, Arc<CudaStream>>,
    history: VecDeque<Moment>,
    most: usize,
    refusal: Option<String>,
}

/// Something that was granted or released.
#[derive(Clone)]
struct Moment {
    action: &'static str,
    address: u64,
    size: u64,
    stream: u64,
    microseconds: u64,
}

static CARDS: Mutex<BTreeMap<u32, Arc<Card>>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn card(index: u32) -> Option<Arc<Card>> {
    lock(&CARDS).get(&index).cloned()
}

impl State {
    fn note(&mut self, action: &'static str, address: u64, size: u64, stream: u64) {
        if self.most == 0 {
            return;
        }
        if self.history.len() >= self.most {
            self.history.pop_front();
        }
        let microseconds =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
        self.history.push_back(Moment { action, address, size, stream, microseconds });
    }
}

impl Card {
    fn stream(&self, handle: u64) -> Arc<CudaStream> {
        let mut state = lock(&self.state);
        let made = || {
            // SAFETY: the framework hands over a stream of the card's primary context, which it uses itself for what it allocates, and
            // keeps its streams for as long as the process lives.
            Arc::new(unsafe { CudaStream::of(self.device.clone(), handle) })
        };
        state.streams.entry(handle).or_insert_with(made).clone()
    }

    fn grant(&self, size: u64, handle: u64) -> Option<u64> {
        let stream = self.stream(handle);
        match self.pool.allocate_on(Request::new(ByteSize::new(size)), &*stream) {
            Ok((id, range)) => {
                let mut state = lock(&self.state);
                state.live.insert(range.base, (id, size));
                state.note("alloc", range.base, size, handle);
                drop(state);
                peaks::granted();
                Some(range.base)
            }
            Err(error) => {
                let mut state = lock(&self.state);
                state.note("oom", 0, size, handle);
                state.refusal = Some(error.to_string());
                None
            }
        }
    }

    fn release(&self, address: u64, handle: u64) {
        let found = {
            let mut state = lock(&self.state);
            let found = state.live.remove(&address);
            if let Some((_, size)) = found {
                state.note("free_completed", address, size, handle);
            }
            found
        };
        // What this pool did not grant is not its to release.
        if let Some((id, _)) = found {
            let stream = self.stream(handle);
            if let Err(error) = self.pool.release_on(id, &*stream) {
                lock(&self.state).refusal = Some(error.to_string());
            }
        }
    }
}

/// PyTorch's `alloc_fn` (`torch.cuda.memory.CUDAPluggableAllocator`). Null for nothing.
///
/// # Safety
/// `stream` is a stream of the device's primary context that lives as long as the process, or null for its default one.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn vramkit_malloc(
    size: isize,
    device: c_int,
    stream: *mut c_void,
) -> *mut c_void {
    let (Ok(size), Ok(index)) = (u64::try_from(size), u32::try_from(device)) else { return ptr::null_mut() };
    if size == 0 {
        return ptr::null_mut();
    }
    let granted = card(index).and_then(|card| card.grant(size, stream as usize as u64));
    match granted {
        Some(address) => address as usize as *mut c_void,
        None => {
            raise_bad_alloc();
            ptr::null_mut()
        }
    }
}

/// PyTorch's `free_fn`.
///
/// # Safety
/// As [`vramkit_malloc`]'s; nothing uses the memory any more but what is queued on the stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vramkit_free(
    address: *mut c_void,
    _size: isize,
    device: c_int,
    stream: *mut c_void,
) {
    if let Some(card) = u32::try_from(device).ok().and_then(card)
        && !address.is_null()
    {
        card.release(address as usize as u64, stream as usize as u64);
    }
}

/// Raises C++'s `std::bad_alloc` through this frame, where its library is loaded, as it is wherever PyTorch is.
fn raise_bad_alloc() {
    const NAME: &[u8] = b"_ZSt17__throw_bad_allocv\0";
    let this = libloading::os::unix::Library::this();
    // SAFETY: the function of that name takes nothing and does not return; what it raises may go through frames of `C-unwind`.
    unsafe {
        if let Ok(throw) = this.get::<unsafe extern "C-unwind" fn()>(NAME) {
            let throw = *throw;
            drop(this);
            throw();
        }
    }
}

/// Makes the pool of a card that `vramkit_malloc` grants from; of the whole card without a capacity. `history` is how many of the last
/// grants and releases are kept. A second time, the pool stays.
#[pyfunction]
#[pyo3(signature = (device, capacity = None, history = 0))]
pub fn allocator_setup(
    py: Python<'_>,
    device: Place,
    capacity: Option<Size>,
    history: usize,
) -> PyResult<()> {
    let Place::Card(index) = device else {
        let text = format!("{} is no card: the allocator is for memory of a card", device.id());
        return Err(errors::raised(py, "DeviceUnavailableError", &text, &[]));
    };
    if let Some(card) = card(index) {
        lock(&card.state).most = history;
        return Ok(());
    }
    let (backing, found) = device.backing(py)?;
    let Some(found) = found else { return Ok(()) };
    let there = backing.memory().total_bytes.value.unwrap_or(ByteSize::MAX);
    let pool = py.detach(|| Pool::new(backing, capacity.map_or(there, |size| size.0)));
    let pool = pool.map_err(|error| errors::of_pool(py, &error))?;
    let state = State { most: history, ..State::default() };
    let made = Card { device: found, pool: Arc::new(pool), state: Mutex::new(state) };
    lock(&CARDS).entry(index).or_insert(Arc::new(made));
    Ok(())
}

/// A moment as Python has it: action, address, size, stream, microseconds.
type Told = (&'static str, u64, u64, u64, u64);

/// A card's pool as Python has it.
type ToldPool = (DeviceMemoryPool, Option<String>, Vec<Told>, Vec<(u64, u64)>);

/// The pool of a card under the allocator, why it last refused, its history, and what is live (address and size). `None` before it is set
/// up.
#[pyfunction]
#[pyo3(signature = (device))]
pub fn allocator_pool(device: u32) -> Option<ToldPool> {
    let card = card(device)?;
    let pool = DeviceMemoryPool::of(device, card.pool.clone(), card.device.clone());
    let state = lock(&card.state);
    let history = state
        .history
        .iter()
        .map(|moment| (moment.action, moment.address, moment.size, moment.stream, moment.microseconds));
    let live = state.live.iter().map(|(&address, &(_, size))| (address, size)).collect();
    Some((pool, state.refusal.clone(), history.collect(), live))
}
