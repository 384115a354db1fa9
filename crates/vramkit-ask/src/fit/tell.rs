//! What is said of an answer beside its numbers: what decides, and what rests on a guess.

use std::collections::BTreeSet;

use vramkit::ByteSize;
use vramkit::units::grouped;
use vramkit_fit::{Answers, Runtime};

use super::memory::Memory;
use super::subject::Subject;

/// What decides, in a sentence, with what to try where it does not fit or nobody knows.
pub(crate) fn decides(answers: &Answers) -> Option<String> {
    let largest = answers.largest?;
    let mut text = format!("{}: {} of {}", largest.part, largest.size, largest.of);
    let fits = answers.verdict.map(|verdict| verdict.fits);
    let best = answers.suggestions.iter().find(|known| fits.is_none() || known.fits == Some(true));
    match (fits, best) {
        (None | Some(Some(false)), Some(best)) => text += &format!("; try {}", best.options.join(" ")),
        // vramkit's planner has no options: its arena is the least that was found.
        (Some(Some(false)), None) if runs_an_engine(answers) => {
            text += "; none of the engine's options that were tried makes it fit"
        }
        _ => {}
    }
    Some(text)
}

fn runs_an_engine(answers: &Answers) -> bool {
    answers.footprints.iter().any(|footprint| footprint.runtime != Runtime::Vramkit)
}

/// What rests on a guess, or is not covered. What is said of one of several models begins with its name.
pub(crate) fn notes(subjects: &[Subject], answers: &Answers, memory: Option<&Memory>) -> Vec<String> {
    let mut notes = Vec::new();
    for (subject, footprint) in subjects.iter().zip(&answers.footprints) {
        let trained = subject.trained_context;
        let parts = match subject.options.runtime {
            Runtime::LlamaCpp if !subject.options.kv_unified => footprint.sequences.max(1),
            _ => 1,
        };
        let each = footprint.context / parts;
        let too_long = trained.filter(|&trained| each > trained.next_multiple_of(256)).map(|trained| {
            format!(
                "a context of {} tokens is longer than the {} that the model was trained for",
                grouped(each),
                grouped(trained)
            )
        });
        let said = subject.notes.iter().chain(&footprint.notes).cloned().chain(too_long);
        let named = |note: String| match subjects {
            [_] => note,
            _ => format!("{}: {note}", subject.name),
        };
        notes.extend(said.map(named));
    }
    if let [first, ..] = subjects {
        let options = &first.options;
        if let (Some(batch), Some(micro_batch)) = (options.batch, options.micro_batch)
            && micro_batch > batch
        {
            notes.push(format!(
                "a micro-batch of {micro_batch} is cut to the batch of {batch}, as the engine does"
            ));
        }
        if subjects.len() > 1 {
            notes.push(format!("{} processes, each with an overhead of its own", subjects.len()));
        }
        if subjects.iter().any(|subject| subject.options.runtime != options.runtime) {
            notes.push("models of several engines: no longest context or options for all of them".to_owned());
        }
    }
    if let (Some(claim), Some(memory)) = (answers.verdict.and_then(|verdict| verdict.claim), memory) {
        notes.push(format!(
            "vLLM takes {claim} when it starts, whatever it needs, and {} is free",
            ByteSize::new(memory.room.free.bytes())
        ));
    }
    notes.extend(memory.and_then(|memory| memory.note).map(str::to_owned));
    let mut seen = BTreeSet::new();
    notes.retain(|note| seen.insert(note.clone()));
    notes
}
