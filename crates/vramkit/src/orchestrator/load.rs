//! Brings a model's weights while it is being bound: a loader of the caller's, run without locks on the thread that binds.
//! What it fails with, a panic included, becomes text.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access::{AccessError, Place};
use super::held::SharedMemory;
use crate::device::AddressRange;
use crate::units::ByteSize;

/// Why a loader could not load.
pub type LoadFailure = Box<dyn std::error::Error + Send + Sync>;

pub(super) type Loader = Arc<dyn Fn(&WeightsLoad<'_>) -> Result<(), LoadFailure> + Send + Sync>;

/// A model's weights that are to be loaded. Nobody else reaches them yet.
pub struct WeightsLoad<'a> {
    model: &'a Arc<str>,
    held: &'a SharedMemory,
}

impl<'a> WeightsLoad<'a> {
    pub(super) fn new(model: &'a Arc<str>, held: &'a SharedMemory) -> Self {
        Self { model, held }
    }

    /// The model.
    pub fn model(&self) -> &Arc<str> {
        self.model
    }

    /// How many bytes are to be loaded. They hold anything at first.
    pub fn size(&self) -> ByteSize {
        self.held.range().size
    }

    /// Where they are, for a loader that copies by itself; of use until it returns.
    pub fn range(&self) -> AddressRange {
        self.held.range()
    }

    fn place(&self) -> Place<'_> {
        Place { model: self.model, tensor: None, held: self.held, range: self.held.range() }
    }

    /// Writes bytes, from a byte of the weights on.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), AccessError> {
        self.place().write(offset, bytes)
    }

    /// Fills all of them with a pattern of four bytes.
    pub fn fill(&self, pattern: u32) -> Result<(), AccessError> {
        self.place().fill(pattern)
    }
}

/// Runs a loader. Returns how long it took, or why there are no weights.
pub(super) fn load(loader: &Loader, load: &WeightsLoad<'_>) -> Result<Duration, String> {
    let start = Instant::now();
    match catch_unwind(AssertUnwindSafe(|| loader(load))) {
        Ok(Ok(())) => Ok(start.elapsed()),
        Ok(Err(failure)) => Err(failure.to_string()),
        Err(panic) => Err(format!("the loader panicked: {}", words(&*panic))),
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}
