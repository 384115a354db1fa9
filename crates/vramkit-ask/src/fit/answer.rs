//! Whether models fit: the document, and the files that can be made of it.

use vramkit_report::fit_svg;
use vramkit_sets::{MaximalSets, SetsFile, write_llama_swap};

use super::report::FitReport;
use crate::draw::fit_document;
use crate::error::{AskError, QuestionError};

/// The answer to a [`FitQuestion`](super::FitQuestion).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FitAnswer {
    /// `vramkit.fit/1`.
    pub report: FitReport,
    is_yes: bool,
    /// The configuration that was asked about, with the sets that fit.
    configuration: Option<(SetsFile, MaximalSets)>,
}

impl FitAnswer {
    /// Whether it fits. Of a configuration: whether every set that it promises does; where it promises nothing, whether each of
    /// its models is known and fits alone. A yes where no memory was given and something is known; a no where nothing is.
    pub fn is_yes(&self) -> bool {
        self.is_yes
    }

    /// Of models.
    pub(crate) fn of_models(report: FitReport) -> Self {
        let is_yes = report.memory.is_none() || report.fits == Some(true);
        Self { report, is_yes, configuration: None }
    }

    /// Of a configuration, with the sets that fit where a memory was given.
    pub(crate) fn of_sets(
        report: FitReport,
        is_yes: bool,
        file: SetsFile,
        solved: Option<MaximalSets>,
    ) -> Self {
        Self { report, is_yes, configuration: solved.map(|solved| (file, solved)) }
    }

    /// The configuration that was asked about, as llama-swap reads it, with the sets that fit in it.
    ///
    /// # Errors
    /// No configuration or no memory was given; another manager's configuration; sets in it that its user wrote.
    pub fn llama_swap(&self) -> Result<String, AskError> {
        let (file, sets) = self.configuration.as_ref().ok_or(QuestionError::NoSets)?;
        Ok(write_llama_swap(file, sets)?)
    }

    /// Where the bytes go, as a standalone SVG.
    ///
    /// # Errors
    /// A configuration, whose models do not run together.
    pub fn svg(&self) -> Result<String, AskError> {
        if self.report.sets.is_some() {
            return Err(QuestionError::PictureOfSets.into());
        }
        Ok(fit_svg(&fit_document(&self.report)?))
    }
}
