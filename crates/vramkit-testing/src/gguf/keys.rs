//! The keys that llama.cpp reads of each architecture.

use super::file::Value;
use super::model::SparseModel;

pub(super) fn of(model: &SparseModel) -> Vec<(String, Value)> {
    let name = model.architecture.as_str();
    let mut keys = Keys { prefix: name, keys: Vec::new() };
    keys.whole("general.architecture", Value::Text(name.to_owned()));
    keys.whole("general.name", Value::Text("sparse".to_owned()));
    keys.whole("tokenizer.ggml.model", Value::Text("no_vocab".to_owned()));
    keys.number("vocab_size", model.vocabulary);
    keys.number("context_length", model.trained_context);
    keys.number("embedding_length", model.hidden);
    keys.number("block_count", model.layers);
    keys.fraction("attention.layer_norm_rms_epsilon", 1e-5);
    attention(&mut keys, model);
    experts(&mut keys, model);
    if ["gemma2", "gemma3", "gpt-oss", "phi3"].contains(&name) && model.window > 0 {
        keys.number("attention.sliding_window", model.window);
    }
    if name == "gemma2" {
        keys.fraction("attn_logit_softcapping", 50.0);
        keys.fraction("final_logit_softcapping", 30.0);
    }
    if name == "granite" {
        keys.fraction("logit_scale", 16.0);
        keys.fraction("residual_scale", 0.22);
        keys.fraction("embedding_scale", 12.0);
        keys.fraction("attention.scale", 0.007_812_5);
    }
    recurrent(&mut keys, model);
    keys.keys
}

fn attention(keys: &mut Keys<'_>, model: &SparseModel) {
    let latent = &model.latent;
    keys.number("feed_forward_length", model.feed_forward);
    keys.number("attention.head_count", model.heads);
    match model.architecture.as_str() {
        "mamba" => {}
        "deepseek2" => {
            let key = latent.key + latent.rope;
            keys.number("attention.head_count_kv", if latent.absorbed { 1 } else { model.heads });
            if latent.absorbed {
                keys.number("attention.key_length", latent.keys_values + latent.rope);
                keys.number("attention.value_length", latent.keys_values);
                keys.number("attention.key_length_mla", key);
                keys.number("attention.value_length_mla", latent.value);
            } else {
                keys.number("attention.key_length", key);
                keys.number("attention.value_length", latent.value);
            }
            keys.number("attention.kv_lora_rank", latent.keys_values);
            if latent.queries > 0 {
                keys.number("attention.q_lora_rank", latent.queries);
            }
            keys.number("rope.dimension_count", latent.rope);
        }
        name => {
            keys.number("attention.head_count_kv", model.kv_heads);
            keys.number("attention.key_length", model.head);
            keys.number("attention.value_length", model.head);
            let part = match name {
                "qwen35" | "qwen35moe" => 4,
                "glm4" => 2,
                _ => 1,
            };
            keys.number("rope.dimension_count", model.head / part);
        }
    }
}

fn experts(keys: &mut Keys<'_>, model: &SparseModel) {
    let (name, experts) = (model.architecture.as_str(), &model.experts);
    if experts.all == 0 {
        return;
    }
    keys.number("expert_count", experts.all);
    keys.number("expert_used_count", experts.used);
    if !["llama", "granite"].contains(&name) {
        keys.number("expert_feed_forward_length", experts.feed_forward);
    }
    if name == "deepseek2" {
        keys.number("leading_dense_block_count", experts.dense_lead);
        keys.number("expert_shared_count", experts.shared);
        keys.fraction("expert_weights_scale", 1.0);
        if experts.gating > 0 {
            keys.number("expert_gating_func", experts.gating);
        }
        if experts.gating == 2 {
            keys.key("expert_weights_norm", Value::Bool(true));
        }
        if experts.groups > 0 {
            keys.number("expert_group_count", experts.groups);
            keys.number("expert_group_used_count", 4);
        }
    }
    if name == "qwen35moe" || experts.shared_feed_forward > 0 {
        keys.number("expert_shared_feed_forward_length", shared_feed_forward(model));
    }
}

/// Width of the shared experts of architectures that name it.
pub(super) fn shared_feed_forward(model: &SparseModel) -> u64 {
    match model.experts.shared_feed_forward {
        0 => model.experts.feed_forward,
        width => width,
    }
}

fn recurrent(keys: &mut Keys<'_>, model: &SparseModel) {
    let (name, sizes) = (model.architecture.as_str(), &model.recurrent);
    if !["mamba", "falcon-h1", "qwen35", "qwen35moe"].contains(&name) {
        return;
    }
    let qwen = name.starts_with("qwen35");
    let inner = if sizes.inner == 0 && qwen { sizes.state * sizes.rank } else { sizes.inner };
    keys.number("ssm.conv_kernel", sizes.convolution);
    keys.number("ssm.inner_size", inner);
    keys.number("ssm.state_size", sizes.state);
    keys.number("ssm.time_step_rank", sizes.rank);
    if name != "mamba" {
        keys.number("ssm.group_count", sizes.groups);
    }
    if qwen {
        keys.key("rope.dimension_sections", Value::I32s(vec![11, 11, 10, 0]));
        keys.number("full_attention_interval", attention_every(model));
    }
}

/// Every how many layers one attends.
pub(super) fn attention_every(model: &SparseModel) -> u64 {
    match model.recurrent.attention_every {
        0 => 4,
        every => every,
    }
}

struct Keys<'a> {
    prefix: &'a str,
    keys: Vec<(String, Value)>,
}

impl Keys<'_> {
    fn whole(&mut self, key: &str, value: Value) {
        self.keys.push((key.to_owned(), value));
    }

    fn key(&mut self, key: &str, value: Value) {
        self.keys.push((format!("{}.{key}", self.prefix), value));
    }

    fn number(&mut self, key: &str, value: u64) {
        let value = u32::try_from(value).map_or(Value::U64(value), Value::U32);
        self.key(key, value);
    }

    fn fraction(&mut self, key: &str, value: f32) {
        self.key(key, Value::F32(value));
    }
}
