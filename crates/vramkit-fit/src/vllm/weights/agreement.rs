//! Whether stored tensors are those of the model that the configuration describes.
//!
//! In: tensors by name and shape, and the configuration's shape. Out: [`Agreement`]. Never here: sizes; a name that says nothing is
//! held against nothing.

use vramkit_models::header::{ModelHeader, StoredTensor};
use vramkit_models::shape::{Cache, Layer};

use super::counted;

/// How tensors and configuration agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// In all that was looked at.
    Yes,
    /// Names do not say which layer a tensor is of.
    Unknown,
    /// They contradict each other: how.
    No(String),
}

/// Parts of a name that may come before the text model's layers.
const BEFORE: [&str; 10] = [
    "model",
    "language_model",
    "transformer",
    "backbone",
    "thinker",
    "llm",
    "text_model",
    "decoder",
    "base_model",
    "gpt_neox",
];
/// Matrices of tokens, as they are called.
const EMBEDDINGS: [&str; 4] = ["embed_tokens", "wte", "word_embeddings", "tok_embeddings"];
/// Families whose embeddings have rows or columns of their own.
const OWN_EMBEDDINGS: [&str; 2] = ["mllama_text_model", "opt"];
/// A family with layers that hold nothing.
const WITH_EMPTY_LAYERS: &str = "nemotron-nas";

/// Holds tensors against the configuration: every layer has some and none is of another, and matrices whose sides both give
/// are as large as it says.
pub(super) fn agreement(model: &ModelHeader, tensors: &[StoredTensor]) -> Agreement {
    let shape = &model.shape;
    if tensors.is_empty() {
        return Agreement::No("its safetensors hold no tensor".into());
    }
    let crosses = |layer: &Layer| matches!(layer.cache, Cache::Cross { .. });
    let keeps_nothing = shape.layers.iter().all(|layer| *layer == Layer::default());
    if keeps_nothing || shape.layers.iter().any(crosses) {
        // A decoder's two attentions are two layers here, and encoders call their layers as they like.
        return Agreement::Unknown;
    }
    let family = shape.architecture.as_str();
    // Two attentions of each layer are two layers here.
    let layers = if family.starts_with("longcat") { shape.layers.len() / 2 } else { shape.layers.len() };
    let mut has_tensors = vec![false; layers];
    for tensor in tensors {
        let place = place(&tensor.name);
        let wrong = match place {
            Place::Layer(layer) => match has_tensors.get_mut(layer) {
                Some(has) => {
                    *has = true;
                    shape.layers.get(layer).and_then(|layer| wrong_heads(model, *layer, tensor))
                }
                None if layer < layers.saturating_add(shape.draft_layers.len()) => None,
                None => Some(format!("is of layer {layer}, and the configuration has {layers} layers")),
            },
            Place::Embeddings => wrong_embeddings(model, tensor),
            Place::Other => None,
        };
        if let Some(wrong) = wrong {
            return Agreement::No(format!("tensor `{}` {wrong}", tensor.name));
        }
    }
    if !has_tensors.contains(&true) {
        return Agreement::Unknown;
    }
    match has_tensors.iter().position(|has| !has).filter(|_| family != WITH_EMPTY_LAYERS) {
        Some(layer) => Agreement::No(format!(
            "its safetensors hold no tensor of layer {layer}, and its configuration has {layers} layers"
        )),
        None => Agreement::Yes,
    }
}

/// What a tensor's name says of its place in the text model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Layer(usize),
    Embeddings,
    Other,
}

fn place(name: &str) -> Place {
    let mut parts = name.split('.');
    while let Some(part) = parts.next() {
        match part {
            "layers" | "h" | "blocks" => {
                let number = parts.next().and_then(|number| number.parse().ok());
                return number.map_or(Place::Other, Place::Layer);
            }
            part if EMBEDDINGS.contains(&part) && parts.clone().eq(["weight"]) => return Place::Embeddings,
            part if BEFORE.contains(&part) => {}
            _ => return Place::Other,
        }
    }
    Place::Other
}

/// Rows and columns of a matrix whose numbers are not packed.
fn sides(tensor: &StoredTensor) -> Option<(u64, u64)> {
    match (tensor.kind, tensor.dims.as_slice()) {
        ("BF16" | "F16" | "F32" | "F8_E4M3", &[rows, columns]) => Some((rows, columns)),
        _ => None,
    }
}

fn wrong_embeddings(model: &ModelHeader, tensor: &StoredTensor) -> Option<String> {
    let widths = model.shape.widths;
    let (rows, columns) = sides(tensor)?;
    let is = |found: u64, said: u64| said == 0 || found == said;
    let agrees = is(rows, widths.vocabulary) && is(columns, widths.hidden);
    (!agrees && !OWN_EMBEDDINGS.contains(&model.shape.architecture.as_str())).then(|| {
        let (vocabulary, hidden) = (widths.vocabulary, widths.hidden);
        format!(
            "is of {rows} × {columns} numbers, and the configuration has a vocabulary of {vocabulary} and a hidden size of {hidden}"
        )
    })
}

/// Keys and values of every family are as wide as what is kept; queries as well in those whose parameters are counted.
fn wrong_heads(model: &ModelHeader, layer: Layer, tensor: &StoredTensor) -> Option<String> {
    let (Cache::Full(heads) | Cache::Window { heads, .. }) = layer.cache else { return None };
    let is = |ending: &str| tensor.name.ends_with(ending);
    let widths = model.shape.widths;
    let queries =
        || counted::is_known(&model.shape.architecture).then(|| widths.heads.saturating_mul(widths.head));
    let (side, said, what) = if is(".self_attn.k_proj.weight") {
        (0, heads.kv_heads.saturating_mul(heads.key), "keys")
    } else if is(".self_attn.v_proj.weight") {
        (0, heads.kv_heads.saturating_mul(heads.value), "values")
    } else if is(".self_attn.q_proj.weight") {
        (0, queries()?, "queries")
    } else if is(".self_attn.o_proj.weight") {
        (1, queries()?, "queries")
    } else {
        return None;
    };
    let (rows, columns) = sides(tensor)?;
    let found = [rows, columns][side];
    (found != said).then(|| {
        format!("is of {rows} × {columns} numbers, and the configuration has {said} numbers of {what}")
    })
}

#[cfg(test)]
mod tests {
    use vramkit_models::header::Format;
    use vramkit_models::shape::{Heads, ModelShape};
    use vramkit_units::ByteSize;

    use super::*;

    fn tensor(name: &str, dims: &[u64]) -> StoredTensor {
        let bytes = dims.iter().product::<u64>() * 2;
        StoredTensor::new(name, dims.to_vec(), "BF16", ByteSize::new(bytes))
    }

    /// Two layers of 4 heads of 16 numbers over 2 KV heads, and 100 tokens.
    fn of(tensors: &[StoredTensor]) -> Agreement {
        let mut shape = ModelShape::new("llama", 64);
        shape.layers = vec![Layer::keeping(Cache::Full(Heads { kv_heads: 2, key: 16, value: 16 })); 2];
        (shape.widths.vocabulary, shape.widths.heads, shape.widths.head) = (100, 4, 16);
        agreement(&ModelHeader::new("toy", Format::HuggingFace, shape), tensors)
    }

    fn right() -> Vec<StoredTensor> {
        let mut tensors = vec![tensor("model.embed_tokens.weight", &[100, 64])];
        for layer in 0..2 {
            for (name, rows) in [("q", 64), ("k", 32), ("v", 32), ("o", 64)] {
                tensors
                    .push(tensor(&format!("model.layers.{layer}.self_attn.{name}_proj.weight"), &[rows, 64]));
            }
        }
        tensors
    }

    #[test]
    fn tensors_of_the_model() {
        assert_eq!(of(&right()), Agreement::Yes);
        let mut more = right();
        more.push(tensor("vision_tower.layers.30.self_attn.k_proj.weight", &[1, 1]));
        more.push(tensor("mtp.layers.5.self_attn.k_proj.weight", &[1, 1]));
        assert_eq!(of(&more), Agreement::Yes);
        assert_eq!(of(&[tensor("a", &[4])]), Agreement::Unknown);
    }

    #[test]
    fn contradictions() {
        let says = |change: fn(&mut Vec<StoredTensor>), part: &str| {
            let mut tensors = right();
            change(&mut tensors);
            match of(&tensors) {
                Agreement::No(reason) => assert!(reason.contains(part), "{reason}"),
                other => panic!("{other:?} without {part}"),
            }
        };
        says(|tensors| tensors.clear(), "no tensor");
        says(|tensors| tensors.retain(|tensor| !tensor.name.contains(".1.")), "no tensor of layer 1");
        says(|tensors| tensors.push(tensor("model.layers.2.x", &[1])), "`model.layers.2.x` is of layer 2");
        says(|tensors| tensors[0].dims[0] = 96, "`model.embed_tokens.weight` is of 96 × 64");
        says(|tensors| tensors[0].dims[1] = 128, "a hidden size of 64");
        says(|tensors| tensors[1].dims[0] = 999, "q_proj.weight` is of 999 × 64");
        says(|tensors| tensors[2].dims[0] = 64, "32 numbers of keys");
        says(|tensors| tensors[4].dims[1] = 32, "64 numbers of queries");
    }
}
