//! A model's weights on their way from its file to the memory that is bound for them.
//!
//! In: the weights that a reader found. Out: a source for the orchestrator that counts what is read, or the reason why
//! nothing is. Never here: memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use vramkit::ByteSize;
use vramkit::loader::{ReadFailure, SourceTensor, WeightSource};
use vramkit_models::Weights;

/// The weights of one model's file.
#[derive(Debug)]
pub(super) struct FileWeights {
    weights: Arc<Weights>,
    /// Of all models of a run, every time that one was bound.
    read: Arc<AtomicU64>,
}

impl FileWeights {
    /// Of a model that is to have `needed` bytes of them; adds what is read to `read`. An error says why they cannot be
    /// loaded: the file has another number of bytes, or not their values.
    pub(super) fn new(
        weights: Arc<Weights>,
        needed: ByteSize,
        read: Arc<AtomicU64>,
    ) -> Result<Arc<Self>, String> {
        let size = weights.size();
        if size != needed {
            return Err(format!("the file has {} bytes, the workload says {}", size.bytes(), needed.bytes()));
        }
        for (index, tensor) in weights.tensors().iter().enumerate() {
            if let Some(last) = tensor.size.bytes().checked_sub(1) {
                weights.read(index, ByteSize::new(last), &mut [0]).map_err(|error| error.to_string())?;
            }
        }
        Ok(Arc::new(Self { weights, read }))
    }
}

impl WeightSource for FileWeights {
    fn tensors(&self) -> Vec<SourceTensor> {
        self.weights.tensors().iter().map(|tensor| SourceTensor::new(&tensor.name, tensor.size)).collect()
    }

    fn read(&self, tensor: usize, offset: u64, into: &mut [u8]) -> Result<(), ReadFailure> {
        self.weights.read(tensor, ByteSize::new(offset), into)?;
        self.read.fetch_add(into.len() as u64, Relaxed);
        Ok(())
    }
}
