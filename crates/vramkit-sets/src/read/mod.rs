//! Files of several models, each manager's as it is.
//!
//! In: a path. Out: a [`SetsFile`]: models with their engines' options, and sets that it promises. What a reader does not
//! understand of a model is said at the model; what breaks the format or the manager's rules is an error with its line. Never
//! here: model files; only whether they are there.

mod commands;
mod llama_swap;
mod modelfile;
mod own;
mod place;
mod presets;

use std::io::Read;
use std::path::Path;

use vramkit_units::ByteSize;

use crate::error::SetsError;
use crate::file::{Kind, SetsFile};
use crate::reading::Reading;
pub(crate) use llama_swap::with_environment;
use place::Place;

/// The longest file that is read.
const MOST_BYTES: u64 = 4 << 20;

/// Reads a configuration of several models, whichever manager's it is, with the environment of this process.
///
/// ```no_run
/// let file = vramkit_sets::read_sets(std::path::Path::new("llama-swap.yaml"))?;
/// for entry in &file.entries {
///     println!("{}: {:?} {:?}", entry.name, entry.model, entry.missing);
/// }
/// # Ok::<(), vramkit_sets::SetsError>(())
/// ```
pub fn read_sets(path: &Path) -> Result<SetsFile, SetsError> {
    read_sets_with(path, &Reading::default())
}

/// [`read_sets`], told where models are and what the environment has.
pub fn read_sets_with(path: &Path, reading: &Reading<'_>) -> Result<SetsFile, SetsError> {
    let file = path.display().to_string();
    let failed = |error: std::io::Error| SetsError::Read { file: file.clone(), reason: error.to_string() };
    // Looked at before it is opened: a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        let reason = "no regular file, and a configuration is read from nothing else".to_owned();
        return Err(SetsError::Read { file, reason });
    }
    let mut bytes = Vec::new();
    let source = std::fs::File::open(path).map_err(failed)?;
    source.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST_BYTES {
        let size = std::fs::metadata(path).map_or(MOST_BYTES + 1, |data| data.len().max(MOST_BYTES + 1));
        return Err(SetsError::TooLarge {
            file,
            size: ByteSize::new(size),
            limit: ByteSize::new(MOST_BYTES),
        });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        SetsError::Invalid { file: file.clone(), line, reason: "no UTF-8 text".to_owned() }
    })?;
    read_text(path, text, reading)
}

/// The configuration that a text is; `path` says what it is called and where its relative paths begin.
pub fn read_text(path: &Path, text: String, reading: &Reading<'_>) -> Result<SetsFile, SetsError> {
    let file = path.display().to_string();
    let Some(kind) = kind(path, &text) else { return Err(SetsError::UnknownKind { file }) };
    let place = Place { file, folder: path.parent().unwrap_or(Path::new("")).to_owned(), reading: *reading };
    match kind {
        Kind::LlamaSwap => llama_swap::read(&place, text),
        Kind::Presets => presets::read(&place, text),
        Kind::Modelfile => modelfile::read(&place, text),
        Kind::Commands => commands::read(&place, text),
        Kind::Vramkit => own::read(&place, text),
    }
}

/// Whose file it is: by its ending, else by its name, else by what it says.
fn kind(path: &Path, text: &str) -> Option<Kind> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("yaml" | "yml") => return Some(Kind::LlamaSwap),
        Some("ini") => return Some(Kind::Presets),
        Some("toml") => return Some(Kind::Vramkit),
        Some("modelfile") => return Some(Kind::Modelfile),
        _ => {}
    }
    let lines =
        || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    let any = |test: fn(&str) -> bool| lines().any(test);
    if name.starts_with("modelfile") || lines().next()?.to_ascii_uppercase().starts_with("FROM ") {
        Some(Kind::Modelfile)
    } else if any(|line| line == "[[models]]") {
        Some(Kind::Vramkit)
    } else if any(|line| line.starts_with('[') && line.ends_with(']')) && any(|line| line.contains('=')) {
        Some(Kind::Presets)
    } else if any(|line| line == "models:") {
        Some(Kind::LlamaSwap)
    } else {
        any(commands::mentions_server).then_some(Kind::Commands)
    }
}
