//! From a question to a verdict: read the models, look how much memory there is, ask what engines take, answer.

use vramkit_fit::{Answers, FitError, FitOptions, Footprint, Limits, Most, Runtime, StoppedBy, answer};

use vramkit_report::fit_svg;
use vramkit_sets::{MaximalSets, SetsFile, write_llama_swap};

use super::memory::{Memory, memory};
use super::question::FitQuestion;
use super::report::{FitFigures, FitModelReport, FitReport, FitStops};
use super::sets::fit_sets;
use super::subject::Subject;
use super::tell;
use crate::draw::fit_document;
use crate::error::{AskError, QuestionError};

/// The answer to a [`FitQuestion`].
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
    /// Whether it fits; of a configuration, whether every set that it promises does. A yes where no memory was given or nothing
    /// promised; a no where nothing can be said.
    pub fn is_yes(&self) -> bool {
        self.is_yes
    }

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
    /// None but a fault of this crate.
    pub fn svg(&self) -> Result<String, AskError> {
        Ok(fit_svg(&fit_document(&self.report)?))
    }
}

/// Tells whether models fit.
///
/// # Errors
/// A question that contradicts itself or a model, files that are not what they should be, an architecture that is not known, a
/// device that is not here. That it does not fit is an answer.
pub fn fit(question: &FitQuestion) -> Result<FitAnswer, AskError> {
    question.check()?;
    if let Some(path) = &question.sets {
        return fit_sets(question, path);
    }
    let subjects: Vec<Subject> =
        question.models.iter().map(|path| Subject::read(path, question)).collect::<Result<_, _>>()?;
    let memory = question.memory.map(memory).transpose()?;
    let options = common(&subjects, memory.as_ref());
    let footprints = |options: &FitOptions| -> Result<Vec<Footprint>, FitError> {
        subjects.iter().map(|subject| subject.footprint(options)).collect()
    };
    let now = footprints(&options)?;
    for (subject, footprint) in subjects.iter().zip(&now) {
        subject.check_layers(footprint)?;
        subject.check_device(question.memory)?;
    }
    let limits = Limits {
        trained_context: subjects.iter().filter_map(|subject| subject.trained_context).min(),
        layers: match now.as_slice() {
            [one] => Some(one.layers.saturating_add(1)),
            _ => None,
        },
    };
    let answers = answer(&footprints, &options, memory.as_ref().map(|memory| &memory.room), limits)?;
    let report = report(&subjects, answers, memory);
    let is_yes = report.memory.is_none() || report.fits == Some(true);
    Ok(FitAnswer { report, is_yes, configuration: None })
}

/// The options asked about, under the engine that all models have; under vramkit's, which has no further options, where they
/// have several.
fn common(subjects: &[Subject], memory: Option<&Memory>) -> FitOptions {
    let mut options = subjects[0].options.clone();
    if subjects.iter().any(|subject| subject.options.runtime != options.runtime) {
        options.runtime = Runtime::Vramkit;
    }
    options.device_memory = memory.map(|memory| memory.room.total);
    options
}

fn report(subjects: &[Subject], answers: Answers, memory: Option<Memory>) -> FitReport {
    let models: Vec<_> = subjects
        .iter()
        .zip(&answers.footprints)
        .map(|(subject, footprint)| model(subject, footprint))
        .collect();
    let same = |of: fn(&FitModelReport) -> &String| {
        let first = models.first().map(of)?;
        models.iter().all(|model| of(model) == first).then(|| first.clone())
    };
    let value = |most: Option<Most>| most.map(|most| most.value);
    let decides = tell::decides(&answers);
    let notes = tell::notes(subjects, &answers, memory.as_ref());
    FitReport {
        schema: "vramkit.fit/1",
        fits: answers.verdict.and_then(|verdict| verdict.fits),
        runtime: same(|model| &model.runtime),
        backend: same(|model| &model.backend),
        figures: FitFigures::of(&answers.footprints),
        models,
        available_bytes: answers.verdict.map(|verdict| verdict.available),
        headroom_bytes: answers.verdict.and_then(|verdict| verdict.headroom).map(clamped),
        memory: memory.map(|memory| memory.report),
        max_context: value(answers.context),
        max_sequences: value(answers.sequences),
        max_layers_on_device: value(answers.layers),
        stopped_by: FitStops {
            max_context: answers.context.map(stop),
            max_sequences: answers.sequences.map(stop),
            max_layers_on_device: answers.layers.map(stop),
        },
        decides,
        suggestions: answers.suggestions.into_iter().map(Into::into).collect(),
        sets: None,
        notes,
    }
}

pub(crate) fn model(subject: &Subject, footprint: &Footprint) -> FitModelReport {
    let of_layers = |number: u64| (!subject.is_graph()).then_some(number);
    FitModelReport {
        name: subject.name.clone(),
        architecture: subject.architecture.clone(),
        layers: of_layers(footprint.layers),
        layers_on_device: of_layers(footprint.layers_on_device),
        context: of_layers(footprint.context),
        sequences: of_layers(footprint.sequences),
        runtime: footprint.runtime.to_string(),
        backend: footprint.backend.to_string(),
        figures: FitFigures::of(std::slice::from_ref(footprint)),
        reserved_cache_bytes: footprint.reserved_cache.map(|cache| cache.size),
        kv_cache_tokens: footprint.reserved_cache.map(|cache| cache.tokens),
        maximum_concurrency: footprint.reserved_cache.map(|cache| cache.concurrency),
    }
}

fn stop(most: Most) -> &'static str {
    match most.stopped_by {
        StoppedBy::Model => "model",
        StoppedBy::Engine => "engine",
        _ => "memory",
    }
}

/// Bytes that a document can say.
fn clamped(bytes: i128) -> i64 {
    i64::try_from(bytes).unwrap_or(if bytes < 0 { i64::MIN } else { i64::MAX })
}
