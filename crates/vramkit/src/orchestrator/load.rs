//! Brings a model's weights while it is being bound, without locks on the thread that binds: by a function of the caller's, or
//! by copying them from a source. What either fails with, a panic included, is a reason; the memory is given back then.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access::{AccessError, Place};
use super::held::{NewMemory, SharedMemory};
use crate::device::AddressRange;
use crate::loader::{LoadError, LoadOptions, LoadReport, WeightSource, WeightTarget, load_weights};
use crate::pool::PoolError;
use crate::units::ByteSize;

/// Why a loader could not load.
pub type LoadFailure = Box<dyn std::error::Error + Send + Sync>;

type LoadFunction = dyn Fn(&WeightsLoad<'_>) -> Result<(), LoadFailure> + Send + Sync;

/// Who brings a model's weights.
#[derive(Clone)]
pub(super) enum Loader {
    /// A function of the caller's.
    Function(Arc<LoadFunction>),
    /// They are copied from a source.
    Source(Arc<dyn WeightSource>, LoadOptions),
}

/// Why a model's weights are not there.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NotLoadedReason {
    /// What the loader of the caller's said.
    Loader(String),
    /// They could not be copied.
    Copy(Box<LoadError>),
    /// The loader or the source panicked, with these words.
    Panic(String),
}

impl fmt::Display for NotLoadedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loader(words) => f.write_str(words),
            Self::Copy(error) => error.fmt(f),
            Self::Panic(words) => write!(f, "the loader panicked: {words}"),
        }
    }
}

/// A model's weights that are to be loaded. Nobody else reaches them yet.
pub struct WeightsLoad<'a> {
    model: &'a Arc<str>,
    held: &'a SharedMemory,
}

impl WeightsLoad<'_> {
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

    /// Copies all of them from a source.
    pub fn copy_from(
        &self,
        source: &dyn WeightSource,
        options: &LoadOptions,
    ) -> Result<LoadReport, LoadError> {
        load_weights(source, &mut &*self, options)
    }
}

/// For a loader that has a source at hand.
impl WeightTarget for &WeightsLoad<'_> {
    fn size(&self) -> ByteSize {
        WeightsLoad::size(self)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), PoolError> {
        self.held.write_at(offset, bytes)
    }
}

/// Runs a loader on a model's new weights. Returns them and how long it took, or why they are not there.
pub(super) fn load(
    loader: &Loader,
    model: &Arc<str>,
    mut memory: NewMemory,
) -> Result<(Arc<SharedMemory>, Duration), NotLoadedReason> {
    let start = Instant::now();
    let loaded = catch_unwind(AssertUnwindSafe(|| match loader {
        Loader::Function(function) => {
            let held = memory.share();
            function(&WeightsLoad { model, held: &held })
                .map_err(|failure| NotLoadedReason::Loader(failure.to_string()))?;
            Ok(held)
        }
        Loader::Source(source, options) => {
            load_weights(&**source, memory.allocation(), options)
                .map_err(|error| NotLoadedReason::Copy(Box::new(error)))?;
            Ok(memory.share())
        }
    }));
    let held = loaded.unwrap_or_else(|panic| Err(NotLoadedReason::Panic(words(&*panic).to_owned())))?;
    Ok((held, start.elapsed()))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}
