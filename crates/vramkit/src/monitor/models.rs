//! Which models should need how much: admitted before they start, compared with what they hold afterwards. Numbers of one
//! reading come in; nothing is read here.

use std::collections::BTreeMap;

use serde::Serialize;

use super::snapshot::Usage;
use crate::pressure::{Admission, Limits, Refusal};
use crate::units::ByteSize;

/// A model that was announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
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
#[non_exhaustive]
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

/// What models hold, by name.
type Measured = BTreeMap<String, ByteSize>;

/// The models that were announced, with what they are to need.
#[derive(Default)]
pub(super) struct AnnouncedModels(Measured);

impl AnnouncedModels {
    /// Notes a model, in place of what it announced before, if what is left is enough.
    pub(super) fn admit(
        &mut self,
        model: &str,
        expected: ByteSize,
        usage: &Usage,
        limits: Option<Limits>,
        measured: &Measured,
    ) -> Result<(), AdmissionError> {
        let held = |name: &str| measured.get(name).copied().unwrap_or_default();
        let others = self.0.iter().filter(|(name, _)| *name != model);
        // A model that holds more than it was said to need counts with what it holds.
        let promised = others.fold(ByteSize::ZERO, |sum, (name, &bytes)| {
            sum.checked_add(bytes.max(held(name))).unwrap_or(ByteSize::MAX)
        });
        let admission = Admission {
            capacity: usage.total_bytes.value,
            limits,
            promised,
            free: usage.free_bytes.value,
            own: held(model),
            rejecting: None,
        };
        if let Err(refusal) = admission.check(expected) {
            let (available, reason) = match refusal {
                Refusal::Free { available } => (available, "memory is held by others: see `vramkit top`"),
                Refusal::Promised { available } => {
                    (available, "other models were announced first: release one, or raise the limit")
                }
                Refusal::Level { .. } => (ByteSize::ZERO, "pressure is too high"),
            };
            return Err(AdmissionError { model: model.to_owned(), required: expected, available, reason });
        }
        self.0.insert(model.to_owned(), expected);
        Ok(())
    }

    /// Whether it was known.
    pub(super) fn forget(&mut self, model: &str) -> bool {
        self.0.remove(model).is_some()
    }

    pub(super) fn compare(&self, measured: &Measured) -> Vec<ModelUse> {
        let models = self.0.iter().map(|(model, &expected)| {
            let measured = measured.get(model).copied();
            ModelUse {
                model: model.clone(),
                expected_bytes: expected,
                measured_bytes: measured,
                difference_bytes: measured
                    .map(|measured| measured.bytes().wrapping_sub(expected.bytes()) as i64),
            }
        });
        models.collect()
    }
}
