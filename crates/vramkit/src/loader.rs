//! From a file to a device: copies a model's weights, with the types that they have in the file, into the memory that was
//! bound for them.
//!
//! A [`WeightSource`] and a [`WeightTarget`] come in; the bytes are where they belong, or an error says which tensor failed at
//! which byte and why. Tensors lie one behind another, in the source's order ([`weight_offsets`]). On memory that this
//! processor reaches they are read straight into it; otherwise they go through a staging buffer of a bounded size. Nothing is
//! allocated on the device here, nothing is converted, and no file is opened.
//!
//! [`MemoryOrchestrator::load_from`](crate::orchestrator::MemoryOrchestrator::load_from) does this whenever a model is bound.
//!
//! ```
//! use std::sync::Arc;
//!
//! use vramkit::ByteSize;
//! use vramkit::device::HostDevice;
//! use vramkit::loader::{LoadOptions, ReadFailure, WeightSource, SourceTensor, load_weights};
//! use vramkit::pool::{DeviceMemoryPool, Request};
//!
//! struct Ones;
//!
//! impl WeightSource for Ones {
//!     fn tensors(&self) -> Vec<SourceTensor> {
//!         vec![SourceTensor::new("embedding", ByteSize::new(600)), SourceTensor::new("norm", ByteSize::new(8))]
//!     }
//!
//!     fn read(&self, _tensor: usize, _offset: u64, into: &mut [u8]) -> Result<(), ReadFailure> {
//!         into.fill(1);
//!         Ok(())
//!     }
//! }
//!
//! let pool = DeviceMemoryPool::new(Arc::new(HostDevice::new(ByteSize::mib(2))), ByteSize::mib(2))?;
//! let mut weights = pool.allocate(Request::new(ByteSize::new(608)))?;
//! let report = load_weights(&Ones, &mut weights, &LoadOptions::default())?;
//! assert_eq!((report.loaded, report.staged), (ByteSize::new(608), ByteSize::ZERO));
//! assert!(weights.view::<u8>()?.iter().all(|&byte| byte == 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::pool::{Allocation, PoolError};
use crate::units::ByteSize;

/// Why a source could not be read.
pub type ReadFailure = Box<dyn std::error::Error + Send + Sync>;

/// A tensor of a source.
///
/// ```
/// use vramkit::{ByteSize, loader::SourceTensor};
///
/// let tensor = SourceTensor::new("layers.0.attention.query", ByteSize::mib(32));
/// assert_eq!(tensor.size, ByteSize::mib(32));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTensor {
    /// Its name, for errors and progress.
    pub name: Arc<str>,
    /// Its size in the source, and so in memory.
    pub size: ByteSize,
}

impl SourceTensor {
    /// Of this name and size.
    pub fn new(name: &str, size: ByteSize) -> Self {
        Self { name: name.into(), size }
    }
}

/// Where weights come from: a file of some format, a network, a test.
pub trait WeightSource: Send + Sync {
    /// The tensors, in the order in which they are to lie in memory.
    fn tensors(&self) -> Vec<SourceTensor>;

    /// Reads as many bytes of a tensor (an index into [`tensors`](Self::tensors)) as `into` is long, from the byte `offset`
    /// of the tensor on. They lie in it; they are asked for in order, each once.
    fn read(&self, tensor: usize, offset: u64, into: &mut [u8]) -> Result<(), ReadFailure>;
}

/// Where weights go: an allocation, or what an orchestrator holds for a model.
pub trait WeightTarget {
    /// How many bytes it takes: exactly the sum of the tensors' sizes.
    fn size(&self) -> ByteSize;

    /// The `length` bytes from `offset` on, where this processor reaches them and nobody else does.
    fn view(&mut self, offset: u64, length: usize) -> Option<&mut [u8]> {
        let _ = (offset, length);
        None
    }

    /// Writes bytes from `offset` on.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), PoolError>;
}

impl WeightTarget for Allocation {
    fn size(&self) -> ByteSize {
        self.requested()
    }

    fn view(&mut self, offset: u64, length: usize) -> Option<&mut [u8]> {
        self.view_part_mut(offset, length).ok()
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), PoolError> {
        Allocation::write(self, offset, bytes)
    }
}

/// How far a load has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadProgress<'a> {
    /// The tensor that was being loaded.
    pub tensor: &'a str,
    /// Bytes that are there, of all tensors.
    pub loaded: ByteSize,
    /// Bytes of all tensors.
    pub total: ByteSize,
}

type OnProgress = Arc<dyn Fn(&LoadProgress<'_>) -> ControlFlow<()> + Send + Sync>;

/// How weights are loaded; all can be left as it is.
#[derive(Clone)]
pub struct LoadOptions {
    chunk: ByteSize,
    on_progress: Option<OnProgress>,
}

impl Default for LoadOptions {
    /// At most 16 MiB at a time, and nobody is told.
    fn default() -> Self {
        Self { chunk: ByteSize::mib(16), on_progress: None }
    }
}

impl LoadOptions {
    /// Reads at most so many bytes at a time (at least one): the size of the staging buffer, and how often progress is told
    /// of.
    pub fn chunk(mut self, most: ByteSize) -> Self {
        self.chunk = most.max(ByteSize::new(1));
        self
    }

    /// Whom to tell after each chunk, on the thread that loads. [`Break`](ControlFlow::Break) cancels the load
    /// ([`LoadError::Cancelled`]), after the last chunk as well.
    pub fn on_progress(
        mut self,
        tell: impl Fn(&LoadProgress<'_>) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.on_progress = Some(Arc::new(tell));
        self
    }
}

impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions").field("chunk", &self.chunk).finish_non_exhaustive()
    }
}

/// What was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// All of the tensors' bytes.
    pub loaded: ByteSize,
    /// Those of them that went through the staging buffer.
    pub staged: ByteSize,
}

/// Why weights are not, or not all, where they belong. What the memory holds then is of no use.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The memory is not for these tensors. Nothing was read.
    #[error("the source has {tensors} of tensors and the memory is for {memory}: they are not of one model")]
    Size {
        /// The sum of the tensors' sizes.
        tensors: ByteSize,
        /// What the memory takes.
        memory: ByteSize,
    },
    /// The source could not be read.
    #[error("tensor `{tensor}` could not be read at its byte {at}: {reason}")]
    Read {
        /// The tensor.
        tensor: Arc<str>,
        /// The first byte of it that is missing.
        at: u64,
        /// What the source said.
        reason: String,
    },
    /// The memory could not be written.
    #[error("tensor `{tensor}` could not be written at its byte {at}: {error}")]
    Write {
        /// The tensor.
        tensor: Arc<str>,
        /// The first byte of it that is missing.
        at: u64,
        /// What the pool or its device said.
        error: PoolError,
    },
    /// Whoever was told of progress broke it off.
    #[error("loading was cancelled in tensor `{tensor}`, before its byte {at}")]
    Cancelled {
        /// The tensor.
        tensor: Arc<str>,
        /// The first byte of it that is missing; its size when none is.
        at: u64,
    },
}

/// Where each tensor begins in its model's weights: one behind another, without gaps.
pub fn weight_offsets(tensors: &[SourceTensor]) -> Vec<ByteSize> {
    let mut next = ByteSize::ZERO;
    let place = |tensor: &SourceTensor| {
        let offset = next;
        next = offset.checked_add(tensor.size).unwrap_or(ByteSize::MAX);
        offset
    };
    tensors.iter().map(place).collect()
}

/// Copies every tensor of a source to its [offset](weight_offsets) in the target.
///
/// # Errors
///
/// Each [`LoadError`]: before anything was read when the sizes differ, otherwise where the first byte is missing.
pub fn load_weights(
    source: &dyn WeightSource,
    target: &mut dyn WeightTarget,
    options: &LoadOptions,
) -> Result<LoadReport, LoadError> {
    let tensors = source.tensors();
    let total = tensors.iter().try_fold(ByteSize::ZERO, |sum, tensor| sum.checked_add(tensor.size));
    let (total, memory) = (total.unwrap_or(ByteSize::MAX), target.size());
    if total != memory {
        return Err(LoadError::Size { tensors: total, memory });
    }
    let mut load =
        Load { source, target, options, total, staging: Vec::new(), report: LoadReport::default() };
    for (index, (tensor, offset)) in tensors.iter().zip(weight_offsets(&tensors)).enumerate() {
        load.tensor(index, tensor, offset.bytes())?;
    }
    Ok(load.report)
}

/// A load under way.
struct Load<'a> {
    source: &'a dyn WeightSource,
    target: &'a mut dyn WeightTarget,
    options: &'a LoadOptions,
    total: ByteSize,
    /// Made when the first chunk needs it.
    staging: Vec<u8>,
    report: LoadReport,
}

impl Load<'_> {
    fn tensor(&mut self, index: usize, tensor: &SourceTensor, offset: u64) -> Result<(), LoadError> {
        let mut at = 0;
        while at < tensor.size.bytes() {
            let chunk = self.options.chunk.bytes().min(tensor.size.bytes() - at);
            // A processor that cannot count so far reads a smaller chunk.
            let length = usize::try_from(chunk).unwrap_or(1 << 24);
            self.chunk(index, tensor, (offset, at), length)?;
            at += length as u64;
            self.report.loaded += ByteSize::new(length as u64);
            let progress =
                LoadProgress { tensor: &tensor.name, loaded: self.report.loaded, total: self.total };
            if self.options.on_progress.as_ref().is_some_and(|tell| tell(&progress).is_break()) {
                return Err(LoadError::Cancelled { tensor: tensor.name.clone(), at });
            }
        }
        Ok(())
    }

    /// The bytes of a tensor that begins at `offset` of the weights, from its byte `at` on.
    fn chunk(
        &mut self,
        index: usize,
        tensor: &SourceTensor,
        (offset, at): (u64, u64),
        length: usize,
    ) -> Result<(), LoadError> {
        let unread = |failure: ReadFailure| LoadError::Read {
            tensor: tensor.name.clone(),
            at,
            reason: failure.to_string(),
        };
        if let Some(view) = self.target.view(offset + at, length) {
            return self.source.read(index, at, view).map_err(unread);
        }
        if self.staging.len() < length {
            self.staging.resize(length, 0);
        }
        let staging = &mut self.staging[..length];
        self.source.read(index, at, staging).map_err(unread)?;
        self.target.write(offset + at, staging).map_err(|error| LoadError::Write {
            tensor: tensor.name.clone(),
            at,
            error,
        })?;
        self.report.staged += ByteSize::new(length as u64);
        Ok(())
    }
}
