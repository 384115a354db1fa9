//! The one question: models that are named, or those of a configuration.

use super::answer::FitAnswer;
use super::models::fit_models;
use super::question::FitQuestion;
use super::sets::fit_sets;
use crate::error::AskError;

/// Tells whether models fit, on a device or together with one another.
///
/// ```no_run
/// use vramkit_ask::{FitMemory, FitQuestion, fit};
///
/// let memory = Some(FitMemory::Size("24GiB".parse()?));
/// let answer = fit(&FitQuestion { models: vec!["model.gguf".into()], memory, ..FitQuestion::default() })?;
/// println!("{:?}: at most {:?} tokens", answer.report.fits, answer.report.max_context);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A question that contradicts itself or a model, files that are not what they should be, an architecture that is not known, a
/// device that is not here. That it does not fit is an answer.
pub fn fit(question: &FitQuestion) -> Result<FitAnswer, AskError> {
    question.check()?;
    match &question.sets {
        Some(path) => fit_sets(question, path),
        None => fit_models(question),
    }
}
