//! Streams and events of a card.

use std::ffi::c_void;
use std::sync::Arc;

use super::device::CudaDevice;
use super::driver::{Code, Driver};
use crate::device::{DeviceError, Stream, StreamEvent, StreamId};

/// `CU_STREAM_NON_BLOCKING`: does not wait for the default stream.
const NON_BLOCKING: u32 = 1;
/// `CU_EVENT_DISABLE_TIMING`: no time stamps, which makes events cheap.
const NO_TIMING: u32 = 2;

/// A stream of a card: one of its own, or one of another library's in the same process.
///
/// ```
/// use std::sync::Arc;
/// use vramkit_pool::device::{CudaDevice, CudaStream, Stream};
///
/// if let Ok(card) = CudaDevice::new(0) {
///     let stream = CudaStream::new(Arc::new(card))?;
///     assert_ne!(stream.handle(), 0); // pass it to kernels; release memory on it while they run
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CudaStream {
    device: Arc<CudaDevice>,
    /// Ours, because the driver uses handles again.
    id: StreamId,
    handle: Handle,
    owned: bool,
}

/// A stream's or event's token in the driver.
#[derive(Clone, Copy, Debug)]
struct Handle(*mut c_void);

// SAFETY: a token of the driver, which is thread-safe; nothing is read through the pointer here.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl CudaStream {
    /// A new stream, destroyed when dropped.
    pub fn new(device: Arc<CudaDevice>) -> Result<Self, DeviceError> {
        let mut stream = std::ptr::null_mut();
        // SAFETY: the pointer is valid for a write.
        let created = device
            .raw()
            .card
            .call(|driver| unsafe { (driver.base.stream_create)(&mut stream, NON_BLOCKING) });
        created.map_err(|code| device.raw().refused("creating a stream", code))?;
        Ok(Self { device, id: StreamId::issue(), handle: Handle(stream), owned: true })
    }

    /// The default stream of the card's primary context, which other libraries use when they are told of no other.
    pub fn default_of(device: Arc<CudaDevice>) -> Self {
        // SAFETY: handle 0 is the default stream of the context that is current, which it is on every call; it is never
        // destroyed while the device retains the context.
        unsafe { Self::of(device, 0) }
    }

    /// The stream of another library: `handle` is its `CUstream` (in PyTorch, `torch.cuda.current_stream().cuda_stream`).
    /// Each value counts as a stream of its own: keep one for as long as the stream is used, so that memory it releases
    /// comes back to it at once.
    ///
    /// # Safety
    ///
    /// * `handle` is a stream of the card's primary context, which is the one that CUDA's runtime and all libraries over
    ///   it use, or 0, its default stream; it is not the default stream of each thread (2), which is many queues.
    /// * The stream is not destroyed before this value is dropped. The driver reads through the handle, and gives it to
    ///   the next stream once the first is gone: a stale one is memory read after it was freed, or somebody else's
    ///   queue, whose progress says nothing about the work that was meant.
    pub unsafe fn of(device: Arc<CudaDevice>, handle: u64) -> Self {
        Self { device, id: StreamId::issue(), handle: Handle(handle as usize as *mut c_void), owned: false }
    }

    /// Its `CUstream`, to queue work by.
    pub fn handle(&self) -> u64 {
        self.handle.0 as usize as u64
    }
}

impl Stream for CudaStream {
    fn id(&self) -> StreamId {
        self.id
    }

    fn record(&self) -> Result<Arc<dyn StreamEvent>, DeviceError> {
        let mut event = std::ptr::null_mut();
        let recorded = self.device.raw().card.call(|driver| {
            // SAFETY: the pointer is valid for a write.
            match unsafe { (driver.base.event_create)(&mut event, NO_TIMING) } {
                // SAFETY: the event was just created; the stream is alive: ours, or by the contract of `of`.
                0 => unsafe { (driver.base.event_record)(event, self.handle.0) },
                code => code,
            }
        });
        let event = CudaEvent { device: self.device.clone(), handle: Handle(event) };
        recorded.map_err(|code| self.device.raw().refused("recording an event", code))?;
        Ok(Arc::new(event))
    }
}

impl Drop for CudaStream {
    fn drop(&mut self) {
        if self.owned {
            // SAFETY: a stream that this value created, and nobody else destroys; work in it is still done.
            self.device.raw().card.call(|driver| unsafe { (driver.base.stream_destroy)(self.handle.0) }).ok();
        }
    }
}

/// A mark in a card's stream.
#[derive(Debug)]
struct CudaEvent {
    /// Kept, so that the context outlives the event.
    device: Arc<CudaDevice>,
    handle: Handle,
}

impl CudaEvent {
    fn ask(&self, operation: &'static str, act: impl FnOnce(&Driver) -> i32) -> Result<bool, DeviceError> {
        match self.device.raw().card.call(act) {
            Ok(()) => Ok(true),
            Err(Code::NOT_READY) => Ok(false),
            Err(code) => Err(self.device.raw().refused(operation, code)),
        }
    }
}

impl StreamEvent for CudaEvent {
    fn is_done(&self) -> Result<bool, DeviceError> {
        // SAFETY: the event is alive until this value is dropped.
        self.ask("asking an event", |driver| unsafe { (driver.base.event_query)(self.handle.0) })
    }

    fn wait(&self) -> Result<(), DeviceError> {
        // SAFETY: as above.
        self.ask("waiting for an event", |driver| unsafe { (driver.base.event_wait)(self.handle.0) })
            .map(drop)
    }
}

impl Drop for CudaEvent {
    fn drop(&mut self) {
        if !self.handle.0.is_null() {
            // SAFETY: an event that this value owns.
            self.device.raw().card.call(|driver| unsafe { (driver.base.event_destroy)(self.handle.0) }).ok();
        }
    }
}
