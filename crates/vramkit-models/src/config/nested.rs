//! Which part of a configuration describes the model that keeps a cache: models of pictures and sounds have a text model's
//! configuration inside.
//!
//! In: the whole configuration. Out: the innermost object of a text model, its place, and its `model_type`.

use serde_json::{Map, Value};

use crate::error::ReadError;

/// Keys under which a text model's configuration is, the first that is there counts.
const PARTS: [&str; 6] =
    ["text_config", "llm_config", "language_config", "thinker_config", "lm_config", "text_model_config"];
/// Parts within parts that are followed.
const DEEPEST: usize = 4;

/// What the code of these takes for a text model that does not say its own type.
const INSIDE: [(&str, &str); 27] = [
    ("aria", "aria_text"),
    ("aya_vision", "cohere2"),
    ("fuyu", "persimmon"),
    ("gemma3", "gemma3_text"),
    ("gemma3n", "gemma3n_text"),
    ("gemma4", "gemma4_text"),
    ("glm4v", "glm4v_text"),
    ("glm4v_moe", "glm4v_moe_text"),
    ("idefics2", "mistral"),
    ("idefics3", "llama"),
    ("internvl", "qwen2"),
    ("llama4", "llama4_text"),
    ("llava", "llama"),
    ("llava_next", "llama"),
    ("llava_onevision", "qwen2"),
    ("mistral3", "mistral"),
    ("mllama", "mllama_text_model"),
    ("paligemma", "gemma"),
    ("qwen2_5_omni_thinker", "qwen2_5_omni_text"),
    ("qwen2_5_vl", "qwen2_5_vl_text"),
    ("qwen2_vl", "qwen2_vl_text"),
    ("qwen3_5", "qwen3_5_text"),
    ("qwen3_5_moe", "qwen3_5_moe_text"),
    ("qwen3_omni_moe_thinker", "qwen3_omni_moe_text"),
    ("qwen3_vl", "qwen3_vl_text"),
    ("qwen3_vl_moe", "qwen3_vl_moe_text"),
    ("vipllava", "llama"),
];

/// The part that describes a text model.
pub(super) struct Part<'a> {
    /// Where it is: empty, or with a dot at its end.
    pub at: String,
    /// Its model type.
    pub model_type: &'a str,
    /// Its keys.
    pub object: &'a Map<String, Value>,
}

/// Finds the part that describes the text model.
pub(super) fn text_part<'a>(file: &str, whole: &'a Map<String, Value>) -> Result<Part<'a>, ReadError> {
    let (mut at, mut object) = (String::new(), whole);
    let mut model_type = type_of(file, &at, object)?;
    for _ in 0..DEEPEST {
        if let Some(key) = PARTS
            .iter()
            .find(|&&key| object.get(key).is_some_and(|part| !part.is_object() && !part.is_null()))
        {
            return Err(ReadError::within(file, format!("`{at}{key}` is no object")));
        }
        let inner = PARTS.iter().find_map(|&key| {
            let inner = object.get(key)?.as_object().filter(|inner| !inner.is_empty())?;
            Some((key, inner))
        });
        let Some((key, inner)) = inner else { break };
        at = format!("{at}{key}.");
        object = inner;
        let outer = model_type;
        let inside =
            || outer.and_then(|outer| INSIDE.iter().find(|known| known.0 == outer)).map(|known| known.1);
        model_type = type_of(file, &at, object)?.or_else(inside);
    }
    let model_type = model_type.ok_or_else(|| {
        ReadError::within(
            file,
            format!("no `{at}model_type` in it: no model's configuration, or one of no known kind"),
        )
    })?;
    Ok(Part { at, model_type, object })
}

fn type_of<'a>(file: &str, at: &str, object: &'a Map<String, Value>) -> Result<Option<&'a str>, ReadError> {
    match object.get("model_type") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) if !name.is_empty() => Ok(Some(name)),
        Some(_) => Err(ReadError::within(file, format!("`{at}model_type` is no name"))),
    }
}
