//! Models on one device, a process each: read them, look how much memory there is, ask what engines take, answer.

use vramkit_fit::{
    Answers, FitError, FitOptions, Footprint, Limits, Most, Runtime, StoppedBy, VULKAN_CARD_RANGE, answer,
};

use super::answer::FitAnswer;
use super::memory::{Memory, memory};
use super::question::FitQuestion;
use super::report::{FitFigures, FitModelReport, FitReport, FitStops};
use super::subject::Subject;
use super::tell;
use crate::error::AskError;

/// Answers about the models that are named.
pub(crate) fn fit_models(question: &FitQuestion) -> Result<FitAnswer, AskError> {
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
    Ok(FitAnswer::of_models(report(&subjects, answers, memory)))
}

/// The options asked about, under the engine that all models have; under vramkit's, which has no further options, where they
/// have several. Whoever names a memory means a card, and cards bind more at once than the standard guarantees.
fn common(subjects: &[Subject], memory: Option<&Memory>) -> FitOptions {
    let mut options = subjects[0].options.clone();
    if subjects.iter().any(|subject| subject.options.runtime != options.runtime) {
        options.runtime = Runtime::Vramkit;
    }
    options.device_memory = memory.map(|memory| memory.room.total);
    options.largest_tensor = options.largest_tensor.or(memory.map(|_| VULKAN_CARD_RANGE));
    options
}

fn report(subjects: &[Subject], answers: Answers, memory: Option<Memory>) -> FitReport {
    let models: Vec<_> = subjects
        .iter()
        .zip(&answers.footprints)
        .map(|(subject, footprint)| subject.report(footprint))
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
        claimed_bytes: answers.verdict.and_then(|verdict| verdict.claim),
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
