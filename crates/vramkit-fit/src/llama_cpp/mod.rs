//! What llama.cpp takes for a model: weights and caches to the byte, working memory by replaying its own allocation.
//!
//! In: a GGUF header and options. Out: a footprint, device and host apart.
//!
//! ```text
//! header ─► hyper (numbers) ─► weights (placed) ─┐
//! options ─► context (rounded) ─► cache (laid out) ┼─► arch: the graph of the largest step ─► ggml: split, ordered, allocated
//! ```
//!
//! Followed: llama.cpp v0.5.0, and b11549 (0.6.0-dev) for its processor alone. llama.cpp reserves memory once, for a step of as
//! many tokens as the micro-batch has, with the whole cache in view; so one graph decides. An architecture whose graph is not
//! known gets weights and caches from its shape (`by_shape.rs`).

mod accuracy;
mod arch;
mod attention;
mod builder;
mod by_shape;
mod cache;
mod context;
mod experts;
mod hyper;
mod recurrent;
mod weights;
mod workspace;

use vramkit_models::header::ModelHeader;
use vramkit_plan::TensorLifetime;
use vramkit_units::ByteSize;

use crate::error::FitError;
use crate::footprint::{Accuracy, Footprint, Part};
use crate::ggml::{Allocation, Backend};
use crate::llama_cpp::arch::Architecture;
use crate::llama_cpp::builder::{Build, Parts};
use crate::llama_cpp::cache::Caches;
use crate::llama_cpp::context::Context;
use crate::llama_cpp::hyper::{Hyper, Keys};
use crate::llama_cpp::weights::Weights;
use crate::llama_cpp::workspace::{Working, backends, device_attends, workspace};
use crate::options::FitOptions;
use crate::overhead;

pub(crate) fn footprint(model: &ModelHeader, options: &FitOptions) -> Result<Footprint, FitError> {
    match known(model) {
        Some((keys, architecture)) => {
            Replay::new(keys, architecture, options)?.run().map(|(footprint, _)| footprint)
        }
        None => by_shape::footprint(model, options),
    }
}

/// Who lives when in the device's working memory, or in main memory where there is none.
pub(crate) fn lifetimes(model: &ModelHeader, options: &FitOptions) -> Result<Vec<TensorLifetime>, FitError> {
    let Some((keys, architecture)) = known(model) else {
        return Err(FitError::Header {
            model: model.name.clone(),
            reason: format!(
                "the graph of `{}` is not followed; those that are: {}",
                model.shape.architecture,
                names()
            ),
        });
    };
    Replay::new(keys, architecture, options)?.run().map(|(_, allocation)| allocation.lifetimes(0))
}

/// The architectures whose graphs are followed.
fn names() -> String {
    let names: Vec<_> = arch::KNOWN.iter().map(|known| known.name).collect();
    names.join(", ")
}

fn known(model: &ModelHeader) -> Option<(Keys<'_>, &'static Architecture)> {
    let header = model.gguf.as_ref()?;
    Some((Keys { model: &model.name, header }, arch::named(&header.architecture)?))
}

/// Everything that one replay needs.
struct Replay<'a> {
    keys: Keys<'a>,
    architecture: &'static Architecture,
    options: &'a FitOptions,
    hyper: Hyper,
    context: Context,
    backends: Vec<Backend>,
    weights: Weights<'a>,
    caches: Caches,
}

impl<'a> Replay<'a> {
    fn new(
        keys: Keys<'a>,
        architecture: &'static Architecture,
        options: &'a FitOptions,
    ) -> Result<Self, FitError> {
        let mut hyper = Hyper::read(keys)?;
        (architecture.hyper)(keys, &mut hyper)?;
        let context = Context::new(keys.model, options, hyper.trained_context)?;
        if context.drafts > 0 && hyper.draft_layers == 0 {
            return Err(FitError::Option {
                model: keys.model.to_owned(),
                reason: format!(
                    "{} tokens are to be drafted, and it has no layers that predict further tokens",
                    context.drafts
                ),
            });
        }
        let backends = backends(options);
        let loaded = if context.drafts > 0 { hyper.all_layers() } else { hyper.layers.len() };
        let stored = (hyper.all_layers(), loaded);
        let lacks = if backends.len() > 1 { (architecture.lacks)(&hyper, backends[0].kind) } else { &[] };
        let weights = Weights::new(keys.header, stored, hyper.experts_used, options.gpu_layers, &backends)
            .without(lacks);
        let caches = Caches::new(&hyper, &context, (architecture.keeping)(keys, &hyper)?);
        Ok(Self { keys, architecture, options, hyper, context, backends, weights, caches })
    }

    fn run(&self) -> Result<(Footprint, Allocation), FitError> {
        let mut notes = Vec::new();
        let mut parts = [Part::default(), Part::default()];
        self.place_weights(&mut parts, &mut notes)?;
        let per_token = self.place_caches(&mut parts)?;
        self.place_draft(&mut parts, &mut notes)?;
        let Working { allocation, beside } = self.workspace(&mut notes)?;
        parts[0].workspace = Some(ByteSize::new(allocation.buffers[0]));
        parts[1].workspace = Some(ByteSize::new(allocation.buffers.get(1).copied().unwrap_or(0)));
        let footprint = Footprint {
            runtime: self.options.runtime,
            backend: self.options.backend,
            context: self.context.tokens,
            sequences: self.context.sequences,
            layers: self.hyper.layers.len() as u64,
            layers_on_device: self.weights.layers_on_device() as u64,
            device: parts[0],
            host: parts[1],
            overhead: Some(overhead::of(self.options, beside)),
            kv_per_token: ByteSize::new(per_token),
            reserved_cache: None,
            accuracy: Accuracy { overhead: overhead::checked(self.options), ..self.accuracy() },
            notes,
        };
        Ok((footprint, allocation))
    }

    fn accuracy(&self) -> Accuracy {
        // Nobody has printed what a context for drafts takes.
        if self.context.drafts > 0 {
            return Accuracy::default();
        }
        accuracy::checked(self.architecture.name, self.options.backend)
    }

    fn place_weights(&self, parts: &mut [Part; 2], notes: &mut Vec<String>) -> Result<(), FitError> {
        let sizes = self.weights.sizes(self.keys.model)?;
        parts[0].weights = Some(ByteSize::new(sizes.device));
        parts[1].weights = Some(ByteSize::new(sizes.main));
        parts[1].rearranged_weights = ByteSize::new(sizes.rearranged);
        if let Some(twice) = self.weights.rearranged_output() {
            notes.push(format!(
                "llama.cpp rearranges weights for the processor unless told otherwise, and then keeps the output matrix, which is \
                 its embedding, once more: {twice} beside these figures"
            ));
        }
        if sizes.too_large > 0 {
            let which = match sizes.too_large {
                1 => "a tensor of more than the device computes with at a time stays".to_owned(),
                count => format!("{count} tensors of more than the device computes with at a time stay"),
            };
            notes.push(match self.options.largest_tensor {
                None => format!(
                    "{which} in main memory: the 128 MiB that Vulkan guarantees are assumed, and cards, which have 4 GiB, take more"
                ),
                Some(limit) => format!("{which} in main memory: at most {limit} are bound at a time"),
            });
        }
        Ok(())
    }

    /// Bytes that one more token takes.
    fn place_caches(&self, parts: &mut [Part; 2]) -> Result<u64, FitError> {
        let mut per_token = 0u64;
        for layer in 0..self.hyper.layers.len() {
            let backend = usize::from(self.weights.layer_backend(layer));
            let (kv, state) =
                self.caches.bytes(self.keys.model, layer, &self.context, &self.backends[backend])?;
            let part = &mut parts[usize::from(backend > 0)];
            part.kv = ByteSize::new(part.kv.bytes().saturating_add(kv));
            part.state = ByteSize::new(part.state.bytes().saturating_add(state));
            per_token = per_token.saturating_add(self.caches.bytes_per_token(layer, &self.context));
        }
        Ok(per_token)
    }

    /// The cache of a drafting context: its own, of 16-bit numbers, for the layers that predict further tokens.
    fn place_draft(&self, parts: &mut [Part; 2], notes: &mut Vec<String>) -> Result<(), FitError> {
        if self.context.drafts == 0 {
            return Ok(());
        }
        let attending = self.hyper.layers.iter().rfind(|layer| !layer.recurrent && layer.heads > 0);
        let numbers = attending.map_or(0, |layer| layer.keys().saturating_add(layer.values()));
        let each = numbers.saturating_mul(2).saturating_mul(self.context.tokens);
        for layer in self.hyper.layers.len()..self.hyper.all_layers() {
            let part = &mut parts[usize::from(self.weights.layer_backend(layer) > 0)];
            part.kv = ByteSize::new(part.kv.bytes().saturating_add(each));
        }
        notes.push("the drafting context's working memory is not counted".to_owned());
        Ok(())
    }

    fn workspace(&self, notes: &mut Vec<String>) -> Result<Working, FitError> {
        let build = if self.backends.len() == 1 { Build::B11549 } else { Build::V0_5_0 };
        let parts = |context| Parts {
            build,
            keys: self.keys,
            hyper: &self.hyper,
            context,
            weights: &self.weights,
            caches: &self.caches,
            backends: &self.backends,
        };
        let wrong = |fault| self.keys.wrong(fault);
        let without_flash = Context { flash: false, ..self.context.clone() };
        let mut used = &self.context;
        if self.context.flash_if_possible
            && !device_attends(parts(used), self.architecture.build).map_err(wrong)?
        {
            if self.context.type_v.block_elements() > 1 {
                return Err(self.keys.wrong(format!(
                    "the device has no flash attention for this model's heads and cache, and values kept in {} need it",
                    self.context.type_v.name()
                )));
            }
            notes.push(
                "flash attention is off: the device lacks it for these heads and cache types".to_owned(),
            );
            used = &without_flash;
        }
        workspace(parts(used), self.architecture.build).map_err(wrong)
    }
}
