//! Several models of a manager's configuration on one device: what each takes, and which fit together.
//!
//! In: the file, as its manager has it, and the memory. Out: the document with the maximal sets of models that fit, and
//! whether the sets that the file promises do. A model of which nothing can be said is listed with the reason; a promise that
//! rests on it is no yes.

use std::path::{Path, PathBuf};

use vramkit::ByteSize;
use vramkit_fit::{Footprint, Need, Room, Runtime, VULKAN_CARD_RANGE};
use vramkit_sets::{
    Entry, MaximalSets, Promise, Reading, SetsFile, check_promises, maximal_sets, read_sets_with,
};

use super::answer::FitAnswer;
use super::memory::{Memory, memory};
use super::question::{FitMemory, FitQuestion};
use super::report::{
    FitFigures, FitPromise, FitReport, FitSet, FitSetsReport, FitStops, FitTooLarge, FitUncovered,
};
use super::subject::Subject;
use crate::error::AskError;

/// A model of the file of which something can be said.
struct Sized<'a> {
    entry: &'a Entry,
    subject: Subject,
    footprint: Footprint,
}

/// Answers about the models of a configuration.
pub(crate) fn fit_sets(question: &FitQuestion, path: &Path) -> Result<FitAnswer, AskError> {
    let locate = |written: &str| located(question.model_folder.as_deref()?, written);
    let backend = question.backend_of(Runtime::LlamaCpp);
    let file = read_sets_with(path, &Reading { backend, locate: &locate, ..Reading::default() })?;
    let given = question.memory.or(file.memory.map(FitMemory::Size));
    let memory = given.map(memory).transpose()?;
    let room = memory.as_ref().map(|memory| memory.room);
    let (mut known, mut uncovered) = (Vec::new(), Vec::new());
    for entry in &file.entries {
        match sized(question, entry, room) {
            Ok(sized) => known.push(sized),
            Err(reason) => uncovered.push(FitUncovered::new(entry, reason)),
        }
    }
    let mut sizes = Vec::new();
    for sized in &known {
        match size(sized, room) {
            Ok(size) => sizes.push((sized.entry.name.clone(), size)),
            Err(reason) => uncovered.push(FitUncovered::new(sized.entry, reason)),
        }
    }
    let solved = room.map(|room| maximal_sets(&sizes, room.free));
    let promises = room.map_or_else(Vec::new, |room| check_promises(&file.promised, &sizes, room.free));
    let is_yes = !known.is_empty()
        && match (&solved, promises.as_slice()) {
            (None, _) => true,
            (Some(solved), []) => uncovered.is_empty() && solved.too_large.is_empty(),
            (_, promises) => promises.iter().all(|promise| promise.fits == Some(true)),
        };
    let report = report(&file, &known, uncovered, memory, solved.as_ref(), &promises);
    Ok(FitAnswer::of_sets(report, is_yes, file, solved))
}

/// A file of this name in the folder that was named, by its last part or as it is written.
fn located(folder: &Path, written: &str) -> Option<PathBuf> {
    let whole = folder.join(written.trim_start_matches(['/', '~']));
    let last = folder.join(Path::new(written).file_name()?);
    [whole, last].into_iter().find(|path| path.exists())
}

/// What an entry's engine takes for it, or why that cannot be said.
fn sized<'a>(question: &FitQuestion, entry: &'a Entry, room: Option<Room>) -> Result<Sized<'a>, String> {
    let Some((path, options)) = entry.ready() else {
        return Err(entry.missing.clone().unwrap_or_else(|| "its files are not here".to_owned()));
    };
    let mut options = options.clone();
    // Another back end than its reader was told is what the file itself says.
    if question.backend.is_some() || options.backend == question.backend_of(Runtime::LlamaCpp) {
        options.backend = question.backend_of(options.runtime);
    }
    options.device_memory = room.map(|room| room.total);
    options.overhead = question.options.overhead;
    options.largest_tensor = question.options.largest_tensor.or(Some(VULKAN_CARD_RANGE));
    let subject = Subject::with(path, options).map_err(|error| error.to_string())?;
    let footprint = subject.footprint(&subject.options).map_err(|error| error.to_string())?;
    Ok(Sized { entry, subject, footprint })
}

/// What a model's process takes of the device: under vLLM its whole part.
fn size(sized: &Sized<'_>, room: Option<Room>) -> Result<ByteSize, String> {
    let need = Need::of(&sized.footprint);
    let Some(total) = need.total() else {
        return Err(format!("at least {} are needed, and a part is not known", need.at_least));
    };
    let Some(room) = room else { return Ok(total) };
    let utilization = sized.subject.options.gpu_memory_utilization;
    let share = room.share(utilization);
    if sized.footprint.runtime == Runtime::Vllm && total > share {
        return Err(format!("it needs {total}, and is told to take {share} ({utilization} of the device)"));
    }
    Ok(room.claim(&sized.footprint, utilization).at_least)
}

fn report(
    file: &SetsFile,
    known: &[Sized<'_>],
    uncovered: Vec<FitUncovered>,
    memory: Option<Memory>,
    solved: Option<&MaximalSets>,
    promises: &[Promise],
) -> FitReport {
    let models = known.iter().map(|sized| {
        let mut report = sized.subject.report(&sized.footprint);
        report.name.clone_from(&sized.entry.name);
        report
    });
    let fits = match promises {
        [] => None,
        _ if promises.iter().any(|promise| promise.fits == Some(false)) => Some(false),
        _ => promises.iter().all(|promise| promise.fits == Some(true)).then_some(true),
    };
    let mut notes = file.notes.clone();
    for sized in known {
        let said = sized.entry.notes.iter().chain(&sized.subject.notes).chain(&sized.footprint.notes);
        notes.extend(said.map(|note| format!("{}: {note}", sized.entry.name)));
    }
    if memory.is_none() {
        notes.push("no memory was given, so there are no sets that fit".to_owned());
    }
    notes.extend(memory.as_ref().and_then(|memory| memory.note).map(str::to_owned));
    let mut seen = std::collections::BTreeSet::new();
    notes.retain(|note| seen.insert(note.clone()));
    let too_large = solved.map_or(&[][..], |solved| &solved.too_large);
    FitReport {
        schema: "vramkit.fit/1",
        fits,
        runtime: None,
        backend: None,
        models: models.collect(),
        figures: FitFigures::default(),
        available_bytes: memory.as_ref().map(|memory| memory.room.free),
        claimed_bytes: None,
        headroom_bytes: None,
        memory: memory.map(|memory| memory.report),
        max_context: None,
        max_sequences: None,
        max_layers_on_device: None,
        stopped_by: FitStops::default(),
        decides: None,
        suggestions: Vec::new(),
        sets: Some(FitSetsReport {
            sets: solved.map_or_else(Vec::new, |solved| {
                let set = |set: &vramkit_sets::FittingSet| FitSet {
                    models: set.models.clone(),
                    total_bytes: set.total,
                    headroom_bytes: set.headroom_bytes,
                };
                solved.sets.iter().map(set).collect()
            }),
            sets_truncated: solved.is_some_and(|solved| solved.truncated),
            promised: promises.iter().map(FitPromise::from).collect(),
            too_large: too_large
                .iter()
                .map(|(name, size)| FitTooLarge { name: name.clone(), total_bytes: *size })
                .collect(),
            not_covered: uncovered,
        }),
        notes,
    }
}
