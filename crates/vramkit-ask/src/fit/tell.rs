//! What is said of an answer beside its numbers: what decides, and what rests on a guess.

use std::collections::BTreeSet;

use vramkit::units::grouped;
use vramkit_fit::{Answers, Backend, FitOptions, Runtime};

use super::memory::Memory;
use super::subject::Subject;

/// llama.cpp's own batch, tokens.
const LLAMA_CPP_BATCH: u64 = 2048;

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
        let said = said.chain(cut(&subject.options)).chain(unused(&subject.options, subject.is_graph()));
        let named = |note: String| match subjects {
            [_] => note,
            _ => format!("{}: {note}", subject.name),
        };
        notes.extend(said.map(named));
    }
    if let [first, ..] = subjects {
        let options = &first.options;
        if subjects.len() > 1 {
            notes.push(format!("{} processes, each with an overhead of its own", subjects.len()));
        }
        if subjects.iter().any(|subject| subject.options.runtime != options.runtime) {
            notes.push("models of several engines: no longest context or options for all of them".to_owned());
        }
    }
    notes.extend(memory.and_then(|memory| taken_whole(subjects, answers, memory)));
    notes.extend(memory.and_then(|memory| memory.note).map(str::to_owned));
    let mut seen = BTreeSet::new();
    notes.retain(|note| seen.insert(note.clone()));
    notes
}

/// What vLLM takes whatever it needs, where that is not free or others share the device.
fn taken_whole(subjects: &[Subject], answers: &Answers, memory: &Memory) -> Option<String> {
    let mut vllm = subjects.iter().filter(|subject| subject.options.runtime == Runtime::Vllm);
    let share = memory.room.share(vllm.next()?.options.gpu_memory_utilization);
    let claims_too_much = answers.verdict.is_some() && share > memory.room.free;
    match (claims_too_much, subjects) {
        (true, _) => Some(format!(
            "vLLM takes {share} when it starts, whatever it needs, and {} is free",
            memory.room.free
        )),
        (false, [_]) => None,
        (false, _) => {
            Some(format!("vLLM takes {share} when it starts, whatever it needs, which others cannot have"))
        }
    }
}

/// A micro-batch that the engine does not take as it is.
fn cut(options: &FitOptions) -> Option<String> {
    let batch = options.batch.unwrap_or(LLAMA_CPP_BATCH);
    let micro_batch = options.micro_batch.filter(|&micro_batch| micro_batch > batch)?;
    (options.runtime == Runtime::LlamaCpp)
        .then(|| format!("a micro-batch of {micro_batch} is cut to the batch of {batch}, as llama.cpp does"))
}

/// What was asked for that the engine does not have.
fn unused(options: &FitOptions, is_graph: bool) -> Option<String> {
    let plain = FitOptions::new(options.runtime, options.backend);
    let llama_cpp = [
        ("batch", options.batch != plain.batch),
        ("micro-batch", options.micro_batch != plain.micro_batch),
        ("flash attention", options.flash_attention != plain.flash_attention),
        ("a unified cache", options.kv_unified),
        ("whole caches of windows", options.swa_full),
        ("layers on the device", options.gpu_layers != plain.gpu_layers),
    ];
    let utilization = (options.gpu_memory_utilization - plain.gpu_memory_utilization).abs() > f64::EPSILON;
    let vllm = [
        ("a part of the device's memory", utilization),
        ("tokens of a step", options.max_num_batched_tokens.is_some()),
        ("sequences of a step", options.max_num_seqs.is_some()),
        ("tensor parallelism", options.tensor_parallel != 1),
    ];
    let both = [
        ("context", options.context.is_some()),
        ("sequences", options.sequences.is_some()),
        ("draft tokens", options.draft_tokens != 0),
    ];
    let without: Vec<_> = match options.runtime {
        Runtime::LlamaCpp if options.backend == Backend::Cpu => [&vllm[..], &llama_cpp[5..]].concat(),
        Runtime::LlamaCpp => vllm.to_vec(),
        Runtime::Vllm => llama_cpp.to_vec(),
        _ if is_graph => [&llama_cpp[..], &vllm, &both].concat(),
        // Its own engine reads as many tokens at once as a micro-batch has.
        _ => [&llama_cpp[..1], &llama_cpp[2..], &vllm, &both[2..]].concat(),
    };
    let given: Vec<&str> = without.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
    let names = given.join(", ");
    (!given.is_empty())
        .then(|| format!("{} has no such option, so it changes nothing: {names}", options.runtime))
}
