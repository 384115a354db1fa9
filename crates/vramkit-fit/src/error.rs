//! Why a question has no answer.

/// Why nothing can be said of a model under an engine.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// The engine does not read files of this kind.
    #[error("{model}: {runtime} does not load {format}; it loads {loads}")]
    WrongFormat {
        /// The model.
        model: String,
        /// The engine.
        runtime: String,
        /// What kind of files these are.
        format: String,
        /// What it loads.
        loads: String,
    },
    /// An option is out of its range, or contradicts another one or the model.
    #[error("{model}: {reason}")]
    Option {
        /// The model.
        model: String,
        /// What is wrong.
        reason: String,
    },
    /// Something is missing in the model's header, or contradicts something else in it.
    #[error("{model}: {reason}")]
    Header {
        /// The model.
        model: String,
        /// What is wrong.
        reason: String,
    },
}
