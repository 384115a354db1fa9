//! How long a text may be: what a model was trained for, and what its positions are scaled to.
//!
//! In: the keys of a configuration. Out: [`Positions`]. Never here: what an engine is told at its start.
//!
//! Scaling is read as vLLM reads it (`_get_and_verify_max_len`): the trained length times the factor, or with YaRN the original
//! length times it; kinds whose configurations give the scaled length already stay as they are.

use serde_json::{Map, Value};

use crate::error::ReadError;

use super::fields::{Fields, MOST};

/// Keys of the trained length.
const TRAINED: &[&str] = &[
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "model_max_length",
    "seq_length",
    "max_sequence_length",
    "max_context_length",
    "context_length",
    "n_ctx",
    "max_target_positions",
];
/// Where scaling is said, by the older name first: `transformers` takes it before the newer.
const SCALING: [&str; 2] = ["rope_scaling", "rope_parameters"];
/// Kinds of scaling whose length is given scaled.
const SCALED_ALREADY: [&str; 3] = ["su", "longrope", "llama3"];
/// Kinds of scaling by a factor, where one is given.
const BY_FACTOR: [&str; 8] =
    ["linear", "dynamic", "ntk", "yarn", "deepseek_yarn", "default", "mrope", "proportional"];
/// The largest factor that is believed.
const LARGEST_FACTOR: f64 = 1e6;

/// How long a text may be, tokens.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Positions {
    /// Most that it was trained for.
    pub trained: Option<u64>,
    /// Most with its positions scaled; `None` where they are not.
    pub scaled: Option<u64>,
    /// What is to be said about it.
    pub note: Option<String>,
}

/// Reads both lengths.
///
/// # Errors
/// A length or a factor that is no number that can be believed; scaling of no kind.
pub(super) fn positions(fields: &Fields<'_>) -> Result<Positions, ReadError> {
    let mut positions = Positions {
        trained: Some(fields.only(TRAINED)?).filter(|&tokens| tokens > 0),
        ..Positions::default()
    };
    let given = |key: &&str| match fields.object().get(*key) {
        Some(Value::Object(object)) => !object.is_empty(),
        other => other.is_some_and(|value| !value.is_null()),
    };
    let Some(key) = SCALING.into_iter().find(given) else { return Ok(positions) };
    let Some(scaling) = fields.inside(key)? else { return Ok(positions) };
    // Either the scaling itself, or one for each type of layers.
    if is_by_type(scaling.object()) {
        for kind in scaling.object().keys() {
            if let Some(one) = scaling.inside_of(kind)? {
                scale(fields, &one, &mut positions)?;
            }
        }
    } else {
        scale(fields, &scaling, &mut positions)?;
    }
    Ok(positions)
}

fn is_by_type(scaling: &Map<String, Value>) -> bool {
    scaling.values().all(|value| value.is_object() || value.is_null())
}

/// Takes one scaling into account.
fn scale(fields: &Fields<'_>, scaling: &Fields<'_>, positions: &mut Positions) -> Result<(), ReadError> {
    let kind = match scaling.text("rope_type")? {
        Some(kind) => Some(kind),
        None => scaling.text("type")?,
    };
    let factor = scaling.factor("factor", 1.0, LARGEST_FACTOR)?;
    let kind = match (kind, factor) {
        (Some(kind), _) => kind,
        (None, None) => return Ok(()),
        (None, Some(_)) => return Err(scaling.missing("rope_type")),
    };
    let original = match scaling.only(&["original_max_position_embeddings"])? {
        0 => fields.only(&["original_max_position_embeddings"])?,
        original => original,
    };
    if SCALED_ALREADY.contains(&kind) {
        let shorter = positions.trained.filter(|&trained| (1..trained).contains(&original));
        if let Some(trained) = shorter.filter(|_| kind != "llama3") {
            positions.note = Some(format!(
                "its positions are scaled from {original} to {trained} tokens; later releases of vLLM start it with {original} \
                 unless told otherwise"
            ));
        }
        return Ok(());
    }
    if !BY_FACTOR.contains(&kind) {
        let shown: String = kind.chars().take(40).collect();
        positions.note = Some(format!(
            "what scaling of the kind `{shown}` does is not known; its trained length is taken"
        ));
        return Ok(());
    }
    // Gemma 3 gives the scaled length though its kind is `linear`.
    let (Some(factor), false) = (factor, fields.family().starts_with("gemma3")) else { return Ok(()) };
    let base =
        if kind == "yarn" { Some(original).filter(|&original| original > 0) } else { positions.trained };
    if base.is_none() && kind == "yarn" {
        let key = scaling.place("original_max_position_embeddings");
        positions.note = Some(format!("no {key} in it, which vLLM needs; its trained length is taken"));
    }
    // At most 2^40 × 10^6: a cast of it loses nothing but the fraction, as vLLM's does.
    positions.scaled = base.map(|base| ((base as f64 * factor) as u64).min(MOST));
    Ok(())
}
