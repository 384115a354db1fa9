//! What a command says of a model.

use vramkit_fit::FitOptions;

/// What a command says.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The engine and what changes its memory.
    pub options: FitOptions,
    /// The model, as it is written.
    pub model: Option<String>,
    /// Whether the model is named by where it can be fetched.
    pub remote: bool,
    /// Why nothing can be said.
    pub missing: Option<String>,
    /// What is not covered.
    pub notes: Vec<String>,
}

impl Found {
    /// Nothing yet, beside the engine's defaults.
    pub(crate) fn new(options: FitOptions) -> Self {
        Self { options, model: None, remote: false, missing: None, notes: Vec::new() }
    }

    /// Nothing can be said, for this reason; the first one stays.
    pub(crate) fn refused(&mut self, reason: String) {
        self.missing.get_or_insert(reason);
    }

    /// Something is not covered; said once.
    pub(crate) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}
