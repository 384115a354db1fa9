//! What a configuration asks of a model: the most of a step, memory of attention, groups of layers.

use super::config::EngineConfig;
use crate::attention::{CacheKind, CacheLayout};
use crate::cache::Group;
use crate::error::LoadError;
use crate::model::batch::AttentionMemory;
use crate::model::hyper::Hyper;
use crate::model::step::StepShape;

/// What attention needs beside its results under this configuration.
pub(super) fn attention_memory(
    hyper: &Hyper,
    config: &EngineConfig,
    context: usize,
) -> Result<AttentionMemory, LoadError> {
    let memory = AttentionMemory::of(hyper, config.cache, config.sequences, context, config.thread_count());
    memory.map_err(|error| LoadError::Config(error.to_string()))
}

/// The most that one step computes under this configuration.
pub(super) fn shape(
    hyper: &Hyper,
    config: &EngineConfig,
    context: usize,
    memory: AttentionMemory,
) -> StepShape {
    let tokens = config.step_tokens.min(context.saturating_mul(config.sequences));
    StepShape { tokens, outputs: config.sequences, attention: memory.floats(hyper, config.thread_count()) }
}

/// Layers that look equally far back, in one group each.
pub(super) fn groups(hyper: &Hyper, kind: CacheKind) -> Result<Vec<Group>, LoadError> {
    let mut groups: Vec<Group> = Vec::new();
    for window in hyper.distinct_windows() {
        let layers = hyper.windows.iter().filter(|each| **each == window).count();
        let layout = CacheLayout::new(layers, hyper.kv_heads, hyper.key, hyper.value, kind)
            .map_err(|error| LoadError::Config(error.to_string()))?;
        groups.push(Group { layout, window });
    }
    Ok(groups)
}
