//! Names that engines have, by pool: an orchestrator knows models by name and a pool's ledger does, so two engines of one name
//! would take each other's weights and budgets.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vramkit::orchestrator::MemoryOrchestrator;

use crate::error::LoadError;

/// Who has a name: the pool by its address, which is nobody else's while a claim holds it.
static CLAIMED: Mutex<BTreeSet<(usize, String)>> = Mutex::new(BTreeSet::new());

fn claimed() -> MutexGuard<'static, BTreeSet<(usize, String)>> {
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name in an orchestrator's pool, until it is dropped.
pub(super) struct Claim {
    orchestrator: Arc<MemoryOrchestrator>,
    name: String,
}

impl Claim {
    /// # Errors
    /// [`LoadError::NameTaken`]: another engine has it, or somebody else has bound a model of this name.
    pub fn new(orchestrator: &Arc<MemoryOrchestrator>, name: &str) -> Result<Self, LoadError> {
        let taken = || LoadError::NameTaken { model: name.to_owned() };
        if !claimed().insert(key(orchestrator, name)) {
            return Err(taken());
        }
        let claim = Self { orchestrator: orchestrator.clone(), name: name.to_owned() };
        if orchestrator.binding(name).is_some() { Err(taken()) } else { Ok(claim) }
    }
}

fn key(orchestrator: &Arc<MemoryOrchestrator>, name: &str) -> (usize, String) {
    (Arc::as_ptr(orchestrator.pool()).addr(), name.to_owned())
}

impl Drop for Claim {
    fn drop(&mut self) {
        claimed().remove(&key(&self.orchestrator, &self.name));
    }
}
