//! What a model is asked when it is to make do with less, and whom to ask.

use std::sync::Arc;

use crate::plan::Model;
use crate::units::ByteSize;

/// What a model is asked when it is to make do with less.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DegradeRequest {
    /// The model.
    pub model: Arc<str>,
    /// Its demand as planned now.
    pub current: Model,
    /// Bytes wanted, of it and the others together.
    pub wanted: ByteSize,
    /// Whether this only asks what could be: nothing is to be changed for it.
    pub is_dry_run: bool,
}

/// Answers for one model; `None` when it cannot make do with less.
pub(super) type Degrader = Arc<dyn Fn(&DegradeRequest) -> Option<Model> + Send + Sync>;
