//! Parameters of plain architectures, counted from their shape.
//!
//! In: widths and layers. Out: bytes on one device, or what is not known. Never here: an architecture whose count has not been
//! checked against a model.
//!
//! Checked against what vLLM prints: Llama-3.1-8B 14.99 GiB, Llama-3.3-70B in fp8 67.72, Qwen3-0.6B 1.12 (tied), Qwen3-8B
//! 15.27, Qwen3-32B 61.03, Qwen2.5-7B 14.25, Mistral-7B 13.51, Qwen3-Coder-30B-A3B 56.93, gpt-oss-20b 13.47 and -120b 64.38;
//! the others against the number of parameters that their publishers state.

use vramkit_models::header::ModelHeader;
use vramkit_models::shape::{Cache, Heads, Widths};

use super::super::settings::{COMPUTE_BYTES, Settings};
use super::common::{VOCABULARY_MULTIPLE, allocated};
use super::mxfp4;

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

const FAMILIES: [Family; 11] = [
    PLAIN,
    Family { name: "mistral", ..PLAIN },
    Family { name: "mixtral", ..PLAIN },
    Family { name: "phi3", ..PLAIN },
    Family { name: "granite", ..PLAIN },
    Family { name: "gemma2", norms: 4, ..PLAIN },
    Family { name: "gemma3_text", norms: 4, head_norms: true, ..PLAIN },
    Family { name: "qwen2", qkv_bias: true, ..PLAIN },
    Family { name: "qwen3", head_norms: true, ..PLAIN },
    Family { name: "qwen3_moe", head_norms: true, ..PLAIN },
    Family { name: "gpt_oss", qkv_bias: true, sinks_and_biases: true, ..PLAIN },
];

/// Whether parameters of this architecture are counted.
pub(super) fn is_known(architecture: &str) -> bool {
    FAMILIES.iter().any(|family| family.name == architecture)
}

/// How numbers of matrices are stored; norms, biases, embeddings and routers are in the model's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    /// So many bytes each.
    Bytes(u64),
    /// Experts as mxfp4, the others in the model's type.
    Mxfp4,
}

/// Bytes on one device.
pub(super) fn bytes(model: &ModelHeader, settings: &Settings) -> Result<u64, String> {
    let shape = &model.shape;
    let name = shape.architecture.as_str();
    let family = FAMILIES.iter().find(|family| family.name == name);
    let family =
        family.ok_or_else(|| format!("parameters of {name} are not counted from a configuration alone"))?;
    let tied = shape.tied_embeddings.ok_or("nothing says whether the output shares the embeddings")?;
    let storage = storage(model)?;
    let widths = shape.widths;
    if widths.hidden == 0 || widths.vocabulary == 0 || widths.heads == 0 {
        return Err("its hidden width, vocabulary or heads are not given".into());
    }
    let inside = if widths.experts > 0 {
        widths.expert_feed_forward.max(widths.feed_forward)
    } else {
        widths.feed_forward
    };
    if inside == 0 {
        return Err("the width of its feed-forward blocks is not given".into());
    }
    let rows = widths.vocabulary.div_ceil(VOCABULARY_MULTIPLE).saturating_mul(VOCABULARY_MULTIPLE);
    let matrix = allocated(product(&[rows.div_ceil(settings.devices), widths.hidden, COMPUTE_BYTES]));
    let matrices = if tied { matrix } else { matrix.saturating_mul(2) };
    let mut total = matrices.saturating_add(product(&[widths.hidden, COMPUTE_BYTES]));
    for layer in &shape.layers {
        let (Cache::Full(heads) | Cache::Window { heads, .. }) = layer.cache else {
            return Err(format!("parameters of {name} are counted where every layer has attention alone"));
        };
        total = total.saturating_add(layer_bytes(family, storage, widths, heads, settings));
    }
    Ok(total)
}

/// Types of 16 bits, and of 32, which vLLM loads in 16.
const PLAIN_TYPES: [&str; 8] = ["torch", "bfloat16", "float16", "float32", "bf16", "fp16", "f16", "f32"];

/// Every word of the type has to be known: one that is not may store anything.
fn storage(model: &ModelHeader) -> Result<Storage, String> {
    let kind = model.weights_type.as_deref().unwrap_or("").to_lowercase();
    let words = kind.split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != '-');
    let method: Vec<&str> = words.filter(|word| !word.is_empty() && !PLAIN_TYPES.contains(word)).collect();
    match method.as_slice() {
        [] if kind.is_empty() => Err("its type is not given".into()),
        [] => Ok(Storage::Bytes(COMPUTE_BYTES)),
        ["fp8"] => Ok(Storage::Bytes(1)),
        ["mxfp4"] => Ok(Storage::Mxfp4),
        _ => Err(format!("how {kind} stores its tensors is not counted")),
    }
}

/// Bytes of one layer on one device.
fn layer_bytes(family: &Family, storage: Storage, widths: Widths, kept: Heads, settings: &Settings) -> u64 {
    let split = |numbers: u64| numbers.div_ceil(settings.devices);
    let queries = split(widths.heads.saturating_mul(widths.head));
    let kv = split(kept.kv_heads).saturating_mul(kept.key.saturating_add(kept.value));
    let (each, mxfp4) = match storage {
        Storage::Bytes(each) => (each, false),
        Storage::Mxfp4 => (COMPUTE_BYTES, true),
    };
    let matrix = |numbers: &[u64]| allocated(product(numbers).saturating_mul(each));
    // Queries, keys and values are one matrix, gate and up another.
    let mut bytes = matrix(&[widths.hidden, queries.saturating_add(kv)]);
    bytes = bytes.saturating_add(matrix(&[widths.hidden, queries]));
    let one = if widths.expert_feed_forward > 0 { widths.expert_feed_forward } else { widths.feed_forward };
    let widths = Widths { expert_feed_forward: one, ..widths };
    let dense = if widths.experts > 0 { widths.shared_feed_forward } else { widths.feed_forward };
    for matrices in [2, 1] {
        bytes = bytes.saturating_add(matrix(&[matrices, widths.hidden, split(dense)]));
        if !mxfp4 {
            bytes = bytes.saturating_add(matrix(&[widths.experts, matrices, widths.hidden, split(one)]));
        }
    }
    if mxfp4 {
        bytes = bytes.saturating_add(mxfp4::experts(widths, settings));
    }
    bytes.saturating_add(vectors(family, widths, queries, kv, settings))
}

/// Bytes of a layer's norms, biases and router.
fn vectors(family: &Family, widths: Widths, queries: u64, kv: u64, settings: &Settings) -> u64 {
    let mut numbers = widths.hidden.saturating_mul(family.norms.saturating_add(widths.experts));
    if family.head_norms {
        numbers = numbers.saturating_add(widths.head.saturating_mul(2));
    }
    if family.qkv_bias {
        numbers = numbers.saturating_add(queries).saturating_add(kv);
    }
    let mut bytes = numbers.saturating_mul(COMPUTE_BYTES);
    if family.sinks_and_biases {
        let attention = widths.hidden.saturating_add(widths.heads.div_ceil(settings.devices));
        let router = attention.saturating_add(widths.experts);
        let gate_up = widths.expert_feed_forward.div_ceil(settings.devices).saturating_mul(2);
        let experts = gate_up.saturating_add(widths.hidden).saturating_mul(widths.experts);
        bytes = bytes.saturating_add(router.saturating_mul(COMPUTE_BYTES));
        bytes = bytes.saturating_add(experts.saturating_mul(mxfp4::bias_bytes(settings)));
    }
    bytes
}

fn product(numbers: &[u64]) -> u64 {
    numbers.iter().fold(1, |product, &number| product.saturating_mul(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, FitOptions, Runtime};
    use vramkit_models::header::Format;
    use vramkit_models::shape::{Layer, ModelShape};

    /// Parameters counted for a dense model: layers, then hidden, vocabulary, heads, head, KV heads, feed-forward.
    fn parameters(architecture: &str, layers: usize, widths: [u64; 6], tied: bool) -> f64 {
        let [hidden, vocabulary, heads, head, kv_heads, feed_forward] = widths;
        let mut shape = ModelShape::new(architecture, hidden);
        shape.layers = vec![Layer::keeping(Cache::Full(Heads { kv_heads, key: head, value: head })); layers];
        shape.widths = Widths { hidden, vocabulary, heads, head, feed_forward, ..Widths::default() };
        (shape.trained_context, shape.tied_embeddings) = (Some(1), Some(tied));
        let mut model = ModelHeader::new("toy", Format::HuggingFace, shape);
        model.weights_type = Some("bfloat16".into());
        let settings = Settings::of(&model, &FitOptions::new(Runtime::Vllm, Backend::Cuda)).unwrap();
        bytes(&model, &settings).unwrap() as f64 / 2.0
    }

    #[test]
    fn published_numbers_of_parameters() {
        let is = |architecture, layers: usize, widths, tied, published: f64| {
            let counted = parameters(architecture, layers, widths, tied);
            // The allocator adds up to 1 MiB, or half a million numbers, to a matrix; and vocabularies are padded.
            let added = (layers * 4 + 2) as f64 * f64::from(1 << 19);
            assert!((published..=published + added).contains(&counted), "{architecture}: {counted}");
        };
        is("phi3", 32, [3072, 32_064, 32, 96, 32, 8192], false, 3_821_079_552.0);
        is("phi3", 40, [5120, 100_352, 40, 128, 10, 17_920], false, 14_659_507_200.0);
        is("gemma2", 42, [3584, 256_000, 16, 256, 8, 14_336], true, 9_241_705_984.0);
        is("gemma2", 26, [2304, 256_000, 8, 256, 4, 9216], true, 2_614_341_888.0);
        is("gemma3_text", 26, [1152, 262_144, 4, 256, 1, 6912], true, 999_885_952.0);
    }

    #[test]
    fn a_published_size() {
        // vLLM prints 4.74 GiB for granite-3.3-2b, with positions up to 131,072.
        let numbers = parameters("granite", 40, [2048, 49_159, 32, 64, 8, 8192], true);
        let gib = (numbers * 2.0 + 131_072.0 * 64.0 * 2.0) / f64::from(1 << 30);
        assert!((gib - 4.74).abs() < 0.01, "{gib}");
    }

    #[test]
    fn a_family_that_was_not_checked_is_named() {
        let mut model = ModelHeader::new("toy", Format::HuggingFace, ModelShape::new("exotic", 64));
        model.shape.trained_context = Some(1);
        let settings = Settings::of(&model, &FitOptions::new(Runtime::Vllm, Backend::Cuda)).unwrap();
        assert!(bytes(&model, &settings).unwrap_err().contains("exotic"));
        model.shape.architecture = "llama".into();
        assert!(bytes(&model, &settings).unwrap_err().contains("shares"));
        model.shape.tied_embeddings = Some(true);
        model.weights_type = Some("bfloat16".into());
        (model.shape.widths.vocabulary, model.shape.widths.heads) = (100, 4);
        assert!(bytes(&model, &settings).unwrap_err().contains("feed-forward"));
    }

    #[test]
    fn a_type_with_an_unknown_word_is_not_counted() {
        let mut model = ModelHeader::new("toy", Format::HuggingFace, ModelShape::new("llama", 64));
        let mut of = |kind: &str| {
            model.weights_type = Some(kind.into());
            storage(&model)
        };
        assert_eq!((of("bfloat16"), of("torch.float32")), (Ok(Storage::Bytes(2)), Ok(Storage::Bytes(2))));
        assert_eq!((of("bfloat16, fp8"), of("bfloat16 mxfp4")), (Ok(Storage::Bytes(1)), Ok(Storage::Mxfp4)));
        assert!(of("bfloat16, compressed-tensors").unwrap_err().contains("compressed-tensors"));
        assert!(of("").is_err());
    }
}
