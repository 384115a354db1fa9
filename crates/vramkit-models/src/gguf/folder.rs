//! Which GGUF file of a folder is the model.
//!
//! In: a folder. Out: the one file, or the first of several of one model, and the names of projectors of pictures or sounds beside it.

use std::path::{Path, PathBuf};

use super::GgufValue;
use super::read::read;
use crate::error::ReadError;
use crate::file::kind;

/// The one GGUF model that a folder holds, and the projectors beside it.
///
/// # Errors
/// A folder that cannot be read, or holds no model or several.
pub(crate) fn only_gguf(folder: &Path) -> Result<(PathBuf, Vec<String>), ReadError> {
    let io = |error| ReadError::Io { path: folder.to_owned(), error };
    let wrong = |reason: String| ReadError::within(&folder.display().to_string(), reason);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = name_of(&path);
        let later_shard = name.contains("-of-") && !name.contains("-00001-of-");
        if kind(&path) == "gguf" && !later_shard {
            found.push(path);
        }
    }
    found.sort();
    // A projector alone is looked at as a model, and said to be none by its architecture.
    let (projectors, models) = match found.len() {
        0 | 1 => (Vec::new(), found),
        _ => found.into_iter().partition(|path| is_projector(path)),
    };
    match models.as_slice() {
        [only] => Ok((only.clone(), projectors.iter().map(|path| name_of(path)).collect())),
        [] if projectors.is_empty() => {
            Err(wrong("a folder without a config.json and without a .gguf file".to_owned()))
        }
        [] => Err(wrong("holds projectors of pictures or sounds alone, and no model".to_owned())),
        several => {
            let names: Vec<_> = several.iter().map(|path| path.display().to_string()).collect();
            Err(wrong(format!("holds several models; name one: {}", names.join(", "))))
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Whether a file makes pictures or sounds into tokens for a model: by its name, or by its header.
fn is_projector(path: &Path) -> bool {
    if name_of(path).to_lowercase().starts_with("mmproj") {
        return true;
    }
    let is =
        |value: Option<&GgufValue>, word: &str| matches!(value, Some(GgufValue::Text(text)) if text == word);
    read(path).is_ok_and(|part| {
        is(part.metadata.get("general.type"), "mmproj")
            || is(part.metadata.get("general.architecture"), "clip")
    })
}
