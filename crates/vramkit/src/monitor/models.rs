//! Which models should need how much: admitted before they start, compared with what they hold afterwards.

use std::collections::BTreeMap;

use serde::Serialize;

use super::vram::VramMonitor;
use crate::sync::lock_std;
use crate::units::ByteSize;

/// A model that was announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelUse {
    /// Its name.
    pub model: String,
    /// What it was said to need.
    pub expected_bytes: ByteSize,
    /// What it holds; `None` when the source does not say.
    pub measured_bytes: Option<ByteSize>,
    /// Measured less expected.
    pub difference_bytes: Option<i64>,
}

/// A model cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("model `{model}` cannot be started: needs {required}, {available} available; {reason}")]
pub struct AdmissionError {
    /// The model.
    pub model: String,
    /// What it needs.
    pub required: ByteSize,
    /// What could be had.
    pub available: ByteSize,
    /// What stands in the way.
    pub reason: &'static str,
}

impl VramMonitor {
    /// Announces a model before it is started: an error when the limit, the other models that were announced, or what is
    /// free does not leave enough. Announced again, it replaces itself.
    pub fn register_model(&self, model: &str, expected: ByteSize) -> Result<(), AdmissionError> {
        let usage = self.shared.source.read();
        let measured: BTreeMap<String, ByteSize> = self.shared.source.models().into_iter().collect();
        let mut state = lock_std(&self.shared.state);
        let allowed = match (self.shared.config.limits, usage.total_bytes.value) {
            (Some(limits), Some(total)) => limits.hard().min(total),
            (Some(limits), None) => limits.hard(),
            (None, Some(total)) => total,
            (None, None) => ByteSize::MAX,
        };
        let others = state.models.iter().filter(|(name, _)| *name != model);
        // A model that holds more than it was said to need counts with what it holds.
        let promised = others.fold(0u64, |sum, (name, bytes)| {
            sum.saturating_add(bytes.bytes().max(measured.get(name).map_or(0, |held| held.bytes())))
        });
        let left = allowed.bytes().saturating_sub(promised);
        let refuse = |available: u64, reason| {
            Err(AdmissionError {
                model: model.to_owned(),
                required: expected,
                available: ByteSize::new(available),
                reason,
            })
        };
        if expected.bytes() > left {
            return refuse(left, "other models were announced first: release one, or raise the limit");
        }
        let own = measured.get(model).map_or(0, |held| held.bytes());
        if let Some(free) = usage.free_bytes.value
            && expected.bytes().saturating_sub(own) > free.bytes()
        {
            return refuse(free.bytes() + own, "memory is held by others: see `vramkit top`");
        }
        state.models.insert(model.to_owned(), expected);
        Ok(())
    }

    /// Forgets a model; whether it was known.
    pub fn forget_model(&self, model: &str) -> bool {
        lock_std(&self.shared.state).models.remove(model).is_some()
    }

    /// What models were said to need against what they hold.
    pub fn models(&self) -> Vec<ModelUse> {
        let measured: BTreeMap<String, ByteSize> = self.shared.source.models().into_iter().collect();
        let state = lock_std(&self.shared.state);
        let models = state.models.iter().map(|(model, expected)| {
            let measured = measured.get(model).copied();
            ModelUse {
                model: model.clone(),
                expected_bytes: *expected,
                measured_bytes: measured,
                difference_bytes: measured
                    .map(|measured| measured.bytes().wrapping_sub(expected.bytes()) as i64),
            }
        });
        models.collect()
    }
}
