//! The first error of several tasks.

use std::sync::{Mutex, PoisonError};

use crate::attention::AttentionError;

/// The first error of several tasks.
#[derive(Default)]
pub(super) struct Failure(Mutex<Option<AttentionError>>);

impl Failure {
    pub fn note(&self, error: AttentionError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub fn check(&self, outcome: Result<(), AttentionError>) {
        if let Err(error) = outcome {
            self.note(error);
        }
    }

    pub fn into_result(self) -> Result<(), AttentionError> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}
