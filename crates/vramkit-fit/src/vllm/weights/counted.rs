//! Parameters of plain architectures, counted from their shape.
//!
//! In: widths and layers. Out: bytes on one device, or what is not known. Never here: an architecture whose count has not been
//! checked against a model.
//!
//! Checked against what vLLM prints: Llama-3.1-8B 14.99 GiB, Llama-3.3-70B in fp8 67.72, Qwen3-0.6B 1.12 (tied), Qwen3-8B
//! 15.27, Qwen3-32B 61.03, Qwen2.5-7B 14.25, Mistral-7B 13.51, gpt-oss-20b 13.47 and -120b 64.38.

use vramkit_models::header::ModelHeader;
use vramkit_models::shape::{Cache, Heads, Widths};

use super::super::settings::{COMPUTE_BYTES, Settings};
use super::{MXFP4_MULTIPLE, VOCABULARY_MULTIPLE, allocated, has_mxfp4};

/// What a family has beside the matrices that all have.
struct Family {
    name: &'static str,
    /// Vectors of the hidden width in a layer: its norms.
    norms: u64,
    /// A norm of queries and of keys, one head wide each.
    head_norms: bool,
    /// Biases of queries, keys and values.
    qkv_bias: bool,
    /// Biases of the attention's output and of experts and router; a sink for each query head (gpt-oss).
    sinks_and_biases: bool,
}

const PLAIN: Family =
    Family { name: "llama", norms: 2, head_norms: false, qkv_bias: false, sinks_and_biases: false };

const FAMILIES: [Family; 7] = [
    PLAIN,
    Family { name: "mistral", ..PLAIN },
    Family { name: "mixtral", ..PLAIN },
    Family { name: "qwen2", qkv_bias: true, ..PLAIN },
    Family { name: "qwen3", head_norms: true, ..PLAIN },
    Family { name: "qwen3_moe", head_norms: true, ..PLAIN },
    Family { name: "gpt_oss", qkv_bias: true, sinks_and_biases: true, ..PLAIN },
];

/// How wide a matrix's numbers are, in quarters of a bit; norms, biases, embeddings and routers are in the model's type.
struct Quarters {
    /// Of attention and dense feed-forward blocks.
    dense: u64,
    /// Of experts.
    experts: u64,
    /// Whether experts are padded to the widths that 4-bit kernels take.
    padded: bool,
}

/// Bytes on one device.
pub(super) fn bytes(model: &ModelHeader, settings: &Settings) -> Result<u64, String> {
    let shape = &model.shape;
    let name = shape.architecture.as_str();
    let family = FAMILIES.iter().find(|family| family.name == name);
    let family =
        family.ok_or_else(|| format!("parameters of {name} are not counted from a configuration alone"))?;
    let tied = shape.tied_embeddings.ok_or("nothing says whether the output shares the embeddings")?;
    let quarters = quarters(model)?;
    let widths = shape.widths;
    if widths.hidden == 0 || widths.vocabulary == 0 || widths.heads == 0 {
        return Err("its hidden width, vocabulary or heads are not given".into());
    }
    let rows = widths.vocabulary.div_ceil(VOCABULARY_MULTIPLE).saturating_mul(VOCABULARY_MULTIPLE);
    let matrix = allocated(product(&[rows.div_ceil(settings.devices), widths.hidden, COMPUTE_BYTES]));
    let matrices = if tied { matrix } else { matrix.saturating_mul(2) };
    let mut total = matrices.saturating_add(product(&[widths.hidden, COMPUTE_BYTES]));
    for layer in &shape.layers {
        let (Cache::Full(heads) | Cache::Window { heads, .. }) = layer.cache else {
            return Err(format!("parameters of {name} are counted where every layer has attention alone"));
        };
        total = total.saturating_add(layer_bytes(family, &quarters, widths, heads, settings.devices));
    }
    Ok(total)
}

fn quarters(model: &ModelHeader) -> Result<Quarters, String> {
    let kind = model.weights_type.as_deref().unwrap_or("").to_lowercase();
    let is = |names: &[&str]| names.iter().any(|name| kind.contains(name));
    if has_mxfp4(model) {
        // 4 bits, and a scale of 8 for each 32.
        return Ok(Quarters { dense: 64, experts: 17, padded: true });
    }
    if is(&["fp4", "awq", "gptq", "int4", "int8", "bitsandbytes", "w4a16", "w8a8", "modelopt", "exl"]) {
        return Err(format!("how {kind} stores its tensors is not counted"));
    }
    if is(&["fp8"]) {
        return Ok(Quarters { dense: 32, experts: 32, padded: false });
    }
    if is(&["float16", "bf16", "fp16", "f16", "float32", "f32"]) {
        return Ok(Quarters { dense: 64, experts: 64, padded: false });
    }
    Err(if kind.is_empty() {
        "its type is not given".into()
    } else {
        format!("the type {kind} is not known")
    })
}

/// Bytes of one layer on one device.
fn layer_bytes(family: &Family, quarters: &Quarters, widths: Widths, kept: Heads, devices: u64) -> u64 {
    let split = |numbers: u64| numbers.div_ceil(devices);
    let queries = split(widths.heads.saturating_mul(widths.head));
    let kv = kept.kv_heads.div_ceil(devices).saturating_mul(kept.key.saturating_add(kept.value));
    let of = |numbers: &[u64], quarters| allocated(quarter_bits(product(numbers), quarters));
    // Queries, keys and values are one matrix, gate and up another.
    let mut bytes = of(&[widths.hidden, queries.saturating_add(kv)], quarters.dense);
    bytes = bytes.saturating_add(of(&[widths.hidden, queries], quarters.dense));
    let inner = if widths.expert_feed_forward > 0 { widths.expert_feed_forward } else { widths.feed_forward };
    let dense = if widths.experts > 0 { widths.shared_feed_forward } else { widths.feed_forward };
    for matrices in [2, 1] {
        bytes = bytes.saturating_add(of(&[matrices, widths.hidden, split(dense)], quarters.dense));
        let multiple = if quarters.padded { MXFP4_MULTIPLE } else { 1 };
        let hidden = widths.hidden.div_ceil(multiple).saturating_mul(multiple);
        bytes = bytes.saturating_add(of(&[widths.experts, matrices, hidden, split(inner)], quarters.experts));
    }
    bytes.saturating_add(vectors(family, widths, inner, queries, kv, devices).saturating_mul(COMPUTE_BYTES))
}

/// Numbers of a layer's norms, biases and router.
fn vectors(family: &Family, widths: Widths, inner: u64, queries: u64, kv: u64, devices: u64) -> u64 {
    let mut numbers = widths.hidden.saturating_mul(family.norms.saturating_add(widths.experts));
    if family.head_norms {
        numbers = numbers.saturating_add(widths.head.saturating_mul(2));
    }
    if family.qkv_bias {
        numbers = numbers.saturating_add(queries).saturating_add(kv);
    }
    if family.sinks_and_biases {
        let gate_up = inner.div_ceil(devices).saturating_mul(2);
        let biases = gate_up.saturating_add(widths.hidden).saturating_add(1).saturating_mul(widths.experts);
        let attention = widths.hidden.saturating_add(widths.heads.div_ceil(devices));
        numbers = numbers.saturating_add(biases).saturating_add(attention);
    }
    numbers
}

fn quarter_bits(numbers: u64, quarters: u64) -> u64 {
    u64::try_from(u128::from(numbers) * u128::from(quarters) / 32).unwrap_or(u64::MAX)
}

fn product(numbers: &[u64]) -> u64 {
    numbers.iter().fold(1, |product, &number| product.saturating_mul(number))
}
