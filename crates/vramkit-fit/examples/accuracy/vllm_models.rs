//! Shapes of public models whose logs are compared, from their configurations.

use vramkit_models::header::{Format, ModelHeader};
use vramkit_models::shape::{Cache, Heads, Layer, ModelShape, State, Widths};

/// What a configuration says, in the order: hidden, vocabulary, heads, head, KV heads, feed-forward.
type Dense = (u64, u64, u64, u64, u64, u64);

/// The header of a model by its public name; `None` for one that is not here.
pub fn header(name: &str) -> Option<ModelHeader> {
    let mut model = match name {
        "Llama-3.1-8B" => dense("llama", 32, (4096, 128_256, 32, 128, 8, 14_336), 131_072, false),
        "Llama-3.3-70B-FP8" => {
            quantised(dense("llama", 80, (8192, 128_256, 64, 128, 8, 28_672), 131_072, false), "fp8")
        }
        "Llama-3.1-70B" => dense("llama", 80, (8192, 128_256, 64, 128, 8, 28_672), 131_072, false),
        "Mistral-7B-v0.3" => dense("mistral", 32, (4096, 32_768, 32, 128, 8, 14_336), 32_768, false),
        "Mistral-Small-3.2-24B" => dense("mistral3", 40, (5120, 131_072, 32, 128, 8, 32_768), 131_072, false),
        "Qwen2.5-0.5B" => dense("qwen2", 24, (896, 151_936, 14, 64, 2, 4864), 32_768, true),
        "Qwen2.5-1.5B" => dense("qwen2", 28, (1536, 151_936, 12, 128, 2, 8960), 32_768, true),
        "Qwen2.5-7B" => dense("qwen2", 28, (3584, 152_064, 28, 128, 4, 18_944), 32_768, false),
        "Qwen2.5-14B" => dense("qwen2", 48, (5120, 152_064, 40, 128, 8, 13_824), 32_768, false),
        "QwQ-32B" => dense("qwen2", 64, (5120, 152_064, 40, 128, 8, 27_648), 40_960, false),
        "Qwen3-0.6B" => dense("qwen3", 28, (1024, 151_936, 16, 128, 8, 3072), 40_960, true),
        "Qwen3-4B-2507" => dense("qwen3", 36, (2560, 151_936, 32, 128, 8, 9728), 262_144, true),
        "Qwen3-8B" => dense("qwen3", 36, (4096, 151_936, 32, 128, 8, 12_288), 40_960, false),
        "Qwen3-32B" => dense("qwen3", 64, (5120, 151_936, 64, 128, 8, 25_600), 40_960, false),
        "Qwen3-Coder-30B-A3B" => {
            let plain = dense("qwen3_moe", 48, (2048, 151_936, 32, 128, 4, 6144), 262_144, false);
            experts(plain, (128, 8, 768, 0))
        }
        "Qwen3-235B-A22B-FP8" => {
            let plain = dense("qwen3_moe", 94, (4096, 151_936, 64, 128, 4, 12_288), 40_960, false);
            quantised(experts(plain, (128, 8, 1536, 0)), "fp8")
        }
        "gpt-oss-20b" => gpt_oss(24, 32),
        "gpt-oss-120b" => gpt_oss(36, 128),
        "Qwen3-Next-80B-A3B" => {
            let model = gated_delta("qwen3_next", 48, (2048, 151_936, 16, 256, 2, 5120), 32);
            experts(model, (512, 10, 512, 512))
        }
        "Qwen3.6-35B-A3B" => {
            let model = gated_delta("qwen3_5_moe", 40, (2048, 248_320, 16, 256, 2, 0), 32);
            experts(model, (256, 8, 512, 512))
        }
        "Qwen3.8-27B" => gated_delta("qwen3_5", 64, (5120, 248_320, 24, 256, 4, 17_408), 48),
        _ => return None,
    };
    model.name = name.into();
    Some(model)
}

fn dense(architecture: &str, layers: usize, widths: Dense, context: u64, tied: bool) -> ModelHeader {
    let (hidden, vocabulary, heads, head, kv_heads, feed_forward) = widths;
    let mut shape = ModelShape::new(architecture, hidden);
    shape.layers = vec![Layer::keeping(Cache::Full(Heads { kv_heads, key: head, value: head })); layers];
    shape.widths = Widths { hidden, vocabulary, heads, head, feed_forward, ..Widths::default() };
    shape.trained_context = Some(context);
    shape.tied_embeddings = Some(tied);
    quantised(ModelHeader::new("", Format::HuggingFace, shape), "bfloat16")
}

fn quantised(mut model: ModelHeader, kind: &str) -> ModelHeader {
    model.weights_type = Some(kind.into());
    model
}

/// Experts: all, used, the width of one, the width of the shared ones.
fn experts(mut model: ModelHeader, numbers: (u64, u64, u64, u64)) -> ModelHeader {
    let widths = &mut model.shape.widths;
    (widths.experts, widths.experts_used, widths.expert_feed_forward, widths.shared_feed_forward) = numbers;
    widths.feed_forward = 0;
    model
}

/// Layers with a window of 128 tokens and layers without, in turn.
fn gpt_oss(layers: usize, all_experts: u64) -> ModelHeader {
    let mut model = dense("gpt_oss", layers, (2880, 201_088, 64, 64, 8, 2880), 131_072, false);
    for layer in model.shape.layers.iter_mut().step_by(2) {
        layer.cache = Cache::Window { heads: Heads { kv_heads: 8, key: 64, value: 64 }, tokens: 128 };
    }
    quantised(experts(model, (all_experts, 4, 2880, 0)), "mxfp4")
}

/// Three layers of gated linear attention (16 key heads, so many value heads, of 128 numbers) to one of full attention.
fn gated_delta(architecture: &str, layers: usize, widths: Dense, value_heads: u64) -> ModelHeader {
    let mut model = dense(architecture, layers, widths, 262_144, false);
    let channels = 2 * 16 * 128 + value_heads * 128;
    let state = State { convolution: 3 * channels, recurrent: value_heads * 128 * 128 };
    for (number, layer) in model.shape.layers.iter_mut().enumerate() {
        if number % 4 != 3 {
            *layer = Layer::recurrent(Cache::None, state);
        }
    }
    model
}
