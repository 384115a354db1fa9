//! A model's weights on their way from its file to the memory that is bound for them.
//!
//! In: the weights that a reader found, and how many bytes are computed from them. Out: a source for the orchestrator that
//! counts what is read, or the reason why nothing is. Never here: memory, or computing: what is computed from weights is
//! zeros.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use vramkit::ByteSize;
use vramkit::loader::{ReadFailure, SourceTensor, WeightSource};
use vramkit_models::Weights;

/// The weights of one model's file.
#[derive(Debug)]
pub(super) struct FileWeights {
    weights: Arc<Weights>,
    /// What is computed from them, after them in memory.
    derived: ByteSize,
    /// Of all models of a run, every time that one was bound.
    read: Arc<AtomicU64>,
}

impl FileWeights {
    /// Of a model that is to have `needed` bytes, of which `derived` are computed from the others; adds what is read to `read`.
    /// An error says why they cannot be loaded: the file has another number of bytes, or not their values.
    pub(super) fn new(
        weights: Arc<Weights>,
        derived: ByteSize,
        needed: ByteSize,
        read: Arc<AtomicU64>,
    ) -> Result<Arc<Self>, String> {
        let size = weights.size();
        if size.checked_add(derived) != Some(needed) {
            return Err(format!("the file has {} bytes, the workload says {}", size.bytes(), needed.bytes()));
        }
        for (index, tensor) in weights.tensors().iter().enumerate() {
            if let Some(last) = tensor.size.bytes().checked_sub(1) {
                weights.read(index, ByteSize::new(last), &mut [0]).map_err(|error| error.to_string())?;
            }
        }
        Ok(Arc::new(Self { weights, derived, read }))
    }
}

impl WeightSource for FileWeights {
    fn tensors(&self) -> Vec<SourceTensor> {
        let stored = self.weights.tensors().iter().map(|tensor| SourceTensor::new(&tensor.name, tensor.size));
        let derived =
            (!self.derived.is_zero()).then(|| SourceTensor::new("computed from weights", self.derived));
        stored.chain(derived).collect()
    }

    fn read(&self, tensor: usize, offset: u64, into: &mut [u8]) -> Result<(), ReadFailure> {
        if tensor == self.weights.tensors().len() {
            into.fill(0);
            return Ok(());
        }
        self.weights.read(tensor, ByteSize::new(offset), into)?;
        self.read.fetch_add(into.len() as u64, Relaxed);
        Ok(())
    }
}
