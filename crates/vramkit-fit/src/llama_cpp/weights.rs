//! Where llama.cpp puts each tensor of a file (`llama-model.cpp`, `llama-model-loader.cpp`).
//!
//! Embeddings of tokens stay in main memory. Layers go to the device from the last one down; the output is one more behind the
//! last. A tensor whose operation the device cannot do at 512 tokens stays in main memory, rearranged for the processor where
//! its type can be. A model whose output is its embedding has that twice unless both would be in one buffer.

use std::collections::HashMap;

use vramkit_models::gguf::{GgufHeader, GgufTensor};

use vramkit_units::ByteSize;

use crate::error::FitError;
use crate::ggml::{Backend, Place};
use crate::options::GpuLayers;

/// Memory for weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffer {
    /// The device's.
    Device,
    /// Main memory that the device's driver gave.
    Shared,
    /// Main memory.
    Main,
    /// Main memory, rearranged for the processor's kernels.
    Rearranged,
}

/// Bytes of weights by place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WeightSizes {
    pub device: u64,
    pub main: u64,
    pub rearranged: u64,
    /// Tensors that are not on the device because they are more than it computes with at a time.
    pub too_large: usize,
}

/// Tokens of the operation that llama.cpp asks a device about before it gives it a tensor.
const PROBE: u64 = 512;

/// Tensors of a file, with their places.
pub(crate) struct Weights<'a> {
    by_name: HashMap<&'a str, &'a GgufTensor>,
    /// The first layer on the device.
    first_on_device: usize,
    /// Layers that the file stores.
    layers: usize,
    /// Layers that are computed.
    computed: usize,
    /// The processor's number; 0 where it is alone.
    processor: u8,
    /// The device, where there is one.
    device: Option<Backend>,
    experts_used: u64,
    /// Whether the device does what is done with tensors whose names end so.
    lacks: &'static [&'static str],
}

impl<'a> Weights<'a> {
    pub fn new(
        header: &'a GgufHeader,
        (layers, computed): (usize, usize),
        experts_used: u64,
        on_device: GpuLayers,
        backends: &[Backend],
    ) -> Self {
        let count = match on_device {
            GpuLayers::All => layers + 1,
            GpuLayers::Last(count) => usize::try_from(count).unwrap_or(usize::MAX).min(layers + 1),
        };
        let device = (backends.len() > 1).then(|| backends[0]);
        Self {
            by_name: header.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect(),
            first_on_device: if device.is_none() { layers + 1 } else { layers + 1 - count },
            layers,
            computed,
            processor: (backends.len() - 1) as u8,
            device,
            experts_used,
            lacks: &[],
        }
    }

    /// The device lacks what is done with tensors whose names end so.
    pub fn without(mut self, lacks: &'static [&'static str]) -> Self {
        self.lacks = lacks;
        self
    }

    /// Everything is on the device, the output too.
    pub fn all_on_device(&self) -> bool {
        self.device.is_some() && self.first_on_device == 0
    }

    /// Layers on the device, the output counted as one.
    pub fn layers_on_device(&self) -> usize {
        self.layers + 1 - self.first_on_device
    }

    /// The back end that has a layer; the one after the last is the output.
    pub fn layer_backend(&self, layer: usize) -> u8 {
        if layer < self.first_on_device { self.processor } else { 0 }
    }

    /// A tensor of the file.
    pub fn get(&self, name: &str) -> Option<&'a GgufTensor> {
        self.by_name.get(name).copied()
    }

    pub fn place(&self, buffer: Buffer) -> Place {
        let backend = if buffer == Buffer::Device { 0 } else { self.processor };
        Place { backend, weight: true, rearranged: buffer == Buffer::Rearranged }
    }

    /// The memory of a tensor of a layer, or of none.
    pub fn buffer_of(&self, name: &str, layer: Option<usize>) -> Buffer {
        let is_embedding = name.starts_with("token_embd.");
        let wants_device = match layer {
            Some(layer) => self.layer_backend(layer) == 0,
            None => !is_embedding && self.layer_backend(self.layers) == 0,
        };
        match self.get(name) {
            Some(tensor) => self.buffer(tensor, wants_device, is_embedding),
            None => Buffer::Main,
        }
    }

    fn buffer(&self, tensor: &GgufTensor, wants_device: bool, is_looked_up: bool) -> Buffer {
        let Some(device) = self.device else { return Buffer::Main };
        let [columns, rows, _, _] = tensor.dims;
        let (is_matrix, is_experts) = (rows > 1 && !is_looked_up, tensor.name.contains("_exps."));
        let used = if is_experts { self.experts_used } else { 1 };
        // What goes into the operation, and what comes out, counted as 32-bit numbers of 512 tokens.
        let widest = if is_matrix { columns.max(rows) } else { columns };
        let moved = widest.saturating_mul(used).saturating_mul(PROBE * 4);
        let fits = tensor.bytes <= device.largest_tensor && (rows == 1 || moved <= device.largest_tensor);
        let does = fits && !self.is_lacking(&tensor.name);
        match (does, wants_device) {
            (true, true) => Buffer::Device,
            (true, false) => Buffer::Shared,
            _ if is_matrix && can_be_rearranged(tensor) => Buffer::Rearranged,
            _ => Buffer::Main,
        }
    }

    fn is_lacking(&self, name: &str) -> bool {
        self.lacks.iter().any(|ending| name.ends_with(ending))
    }

    /// Bytes of a second copy of the embeddings that a process without a device rearranges for its output.
    pub fn rearranged_output(&self) -> Option<ByteSize> {
        let embeddings = self.get("token_embd.weight")?;
        let is_twice = self.device.is_none() && !self.by_name.contains_key("output.weight");
        (is_twice && can_be_rearranged(embeddings)).then(|| ByteSize::new(embeddings.bytes))
    }

    /// The memory of a second copy of the embeddings, which are the output matrix, too; `None` where there is none.
    pub fn second_embeddings(&self) -> Option<Buffer> {
        if self.by_name.contains_key("output.weight") {
            return None;
        }
        let embeddings = self.get("token_embd.weight")?;
        let first = self.buffer(embeddings, false, true);
        let second = self.buffer(embeddings, self.layer_backend(self.layers) == 0, false);
        (second != first).then_some(second)
    }

    /// The layer that a tensor's name says.
    fn layer_of(name: &str) -> Option<usize> {
        name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
    }

    /// Bytes of each place. Tensors that no layer has are an error: they belong to another architecture.
    pub fn sizes(&self, model: &str) -> Result<WeightSizes, FitError> {
        let mut sizes = WeightSizes::default();
        let mut too_large = 0;
        let mut add = |buffer: Buffer, tensor: &GgufTensor| {
            let on_device = self.device.filter(|_| buffer == Buffer::Device);
            let tail = on_device.map_or(0, |device| device.tail(tensor.kind, tensor.dims[0]));
            let sum = match buffer {
                Buffer::Device => &mut sizes.device,
                Buffer::Main if self.device.is_none() => &mut sizes.device,
                Buffer::Shared | Buffer::Main => &mut sizes.main,
                Buffer::Rearranged => &mut sizes.rearranged,
            };
            *sum = sum.saturating_add(tensor.bytes).saturating_add(tail);
        };
        for tensor in self.by_name.values() {
            let name = tensor.name.as_str();
            match Self::layer_of(name) {
                Some(layer) if layer >= self.layers => {
                    return Err(FitError::Header {
                        model: model.to_owned(),
                        reason: format!(
                            "tensor `{name}` is of layer {layer}, of which there are {}",
                            self.layers
                        ),
                    });
                }
                // Layers that predict further tokens are stored and not loaded.
                Some(layer) if layer >= self.computed => {}
                Some(layer) => {
                    let buffer = self.buffer_of(name, Some(layer));
                    let is_away = buffer != Buffer::Device && self.layer_backend(layer) == 0;
                    too_large += usize::from(is_away && !self.is_lacking(name) && self.device.is_some());
                    add(buffer, tensor);
                }
                // What tells rotations their frequencies is wanted by every layer, on each back end that has one.
                None if name.starts_with("rope_f") => {
                    let has =
                        |backend: u8| (0..self.computed).any(|layer| self.layer_backend(layer) == backend);
                    if self.device.is_some() && has(0) {
                        add(Buffer::Device, tensor);
                    }
                    if has(self.processor) {
                        add(Buffer::Main, tensor);
                    }
                }
                None => add(self.buffer_of(name, None), tensor),
            }
        }
        if let (Some(buffer), Some(embeddings)) = (self.second_embeddings(), self.get("token_embd.weight")) {
            add(buffer, embeddings);
        }
        let wants_output = self.device.is_some() && self.layer_backend(self.layers) == 0;
        let output = if self.by_name.contains_key("output.weight") {
            Some(self.buffer_of("output.weight", None))
        } else {
            self.second_embeddings().or(Some(Buffer::Main))
        };
        too_large += usize::from(wants_output && output != Some(Buffer::Device));
        sizes.too_large = too_large;
        Ok(sizes)
    }
}

/// Types that processors with AVX2 have rearranged kernels for (`ggml-cpu/repack.cpp`).
fn can_be_rearranged(tensor: &GgufTensor) -> bool {
    ["q4_0", "q4_K", "iq4_nl", "mxfp4"].contains(&tensor.kind.name()) && tensor.dims[1].is_multiple_of(8)
}
