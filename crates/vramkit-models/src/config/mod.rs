//! Hugging Face's `config.json`: what each layer of a model keeps, and how wide it is.
//!
//! In: a configuration. Out: [`ConfigModel`]. Never here: weights, or an answer for a family that is not known: what is missing,
//! contradicts itself or was not understood is an error that names the key.
//!
//! A configuration goes through these: `literals` (Python's numbers that JSON does not have), `nested` (which part describes the
//! text model), `families` (a table: which reader, which defaults), a reader (`attention`, `latent`, `compressed`, `recurrent`, `hybrid`,
//! `linear`, `special`, `other_words`, `encoders`), `guard` (what the reader did not ask for), `drafts`, `widths` and `positions`. A family is
//! added by a line in `families.txt`; one that keeps something in a way of its own, by a reader beside the others.

mod attention;
mod compressed;
mod drafts;
mod encoders;
mod families;
mod fields;
mod guard;
mod hybrid;
mod latent;
mod linear;
mod literals;
mod nested;
mod other_words;
mod positions;
mod readers;
mod recurrent;
mod special;
mod widths;

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::ReadError;
use crate::file;
use crate::shape::{Cache, Layer, ModelShape};

use self::fields::Fields;

/// The largest configuration that is read, bytes.
const LARGEST: u64 = 16 << 20;

/// What a configuration says.
#[derive(Debug)]
pub(crate) struct ConfigModel {
    /// What it keeps and how wide it is.
    pub shape: ModelShape,
    /// What weights are computed in and how they are quantised: `bfloat16, fp8`.
    pub weights_type: Option<String>,
    /// What rests on defaults or is not counted, in sentences.
    pub notes: Vec<String>,
}

/// Reads a `config.json`.
///
/// # Errors
/// What is missing, contradicts itself, or is not understood, by its key; a model type that is not known, with the nearest.
pub(crate) fn read(path: &Path) -> Result<ConfigModel, ReadError> {
    let name = path.display().to_string();
    let size = std::fs::metadata(path).map_or(0, |found| found.len());
    if size > LARGEST {
        return Err(ReadError::within(&name, format!("{size} bytes; a configuration has at most {LARGEST}")));
    }
    let content = file::whole(path)?;
    file::check_pointer(&name, &content)?;
    let text = str::from_utf8(&content)
        .map_err(|error| ReadError::within(&name, format!("no text in UTF-8: {error}")))?;
    from_json(&name, text)
}

/// Reads a configuration; the name is for errors.
///
/// # Errors
/// As [`read`].
pub(crate) fn from_json(name: &str, text: &str) -> Result<ConfigModel, ReadError> {
    // Editors of some systems put a mark of the byte order before the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let whole: Value = serde_json::from_str(&literals::without(text)).map_err(|error| ReadError::At {
        file: name.to_owned(),
        line: error.line() as u64,
        reason: format!("no JSON: {error}"),
    })?;
    let Value::Object(whole) = whole else {
        return Err(ReadError::within(name, "no JSON object, and so no model's configuration"));
    };
    let part = nested::text_part(name, &whole)?;
    let family = families::named(part.model_type).ok_or_else(|| families::unknown(name, part.model_type))?;
    let fields = Fields::new(name, part.at, family.name, part.object, family.defaults).part_of(&whole);
    let layers = (family.reader)(&fields)?;
    let draft_layers = drafts::drafts(&fields, &layers)?;
    guard::check(&fields, layers.len())?;
    let mut shape = ModelShape::new(family.name, 0);
    shape.widths = widths::widths(&fields, &layers)?;
    let positions = positions::positions(&fields)?;
    (shape.trained_context, shape.scaled_context) = (positions.trained, positions.scaled);
    shape.tied_embeddings = tied(&fields, &whole)?;
    // Last: every default has been taken by now.
    let mut notes = notes(&fields, &whole, &layers);
    notes.extend(positions.note);
    notes.extend(widths::experts_note(&fields, &shape.widths));
    (shape.layers, shape.draft_layers) = (layers, draft_layers);
    Ok(ConfigModel { shape, weights_type: widths::weights_type(&fields, &whole), notes })
}

/// Whether the output's matrix is the embeddings': as the text model says, the whole, or its code by default.
fn tied(fields: &Fields<'_>, whole: &Map<String, Value>) -> Result<Option<bool>, ReadError> {
    let key = "tie_word_embeddings";
    for object in [fields.object(), whole] {
        match object.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::Bool(tied)) => return Ok(Some(*tied)),
            Some(_) => return Err(fields.wrong(format!("`{key}` is neither true nor false"))),
        }
    }
    match fields.flag("tie_embedding")? {
        Some(tied) => Ok(Some(tied)),
        None => fields.flag(key),
    }
}

fn notes(fields: &Fields<'_>, whole: &Map<String, Value>, layers: &[Layer]) -> Vec<String> {
    let mut notes: Vec<String> = fields.defaults_taken().into_iter().collect();
    let cross = layers.iter().find_map(|layer| match layer.cache {
        Cache::Cross { tokens, .. } => Some(tokens),
        _ => None,
    });
    if let Some(tokens) = cross {
        notes.push(format!("keys and values of another input are counted for {tokens} tokens of it"));
    }
    notes.extend(families::other_named(fields.family(), whole));
    if whole.contains_key("talker_config") {
        notes.push("what its talker keeps when it speaks is not counted".to_owned());
    }
    if layers.iter().all(|layer| *layer == Layer::default()) {
        notes.push("an encoder: it keeps nothing from one call to the next".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests;
