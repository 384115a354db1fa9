//! The tensors that llama.cpp loads of each architecture, in the order in which its converter writes them.

use super::file::{SparseTensor, fitting};
use super::keys::{attention_every, shared_feed_forward};
use super::model::SparseModel;

pub(super) fn of(model: &SparseModel) -> Vec<SparseTensor> {
    let mut list = List { model, prefix: String::new(), tensors: Vec::new() };
    list.matrix("token_embd.weight", &[model.hidden, model.vocabulary]);
    list.numbers("output_norm.weight", model.hidden);
    if !model.tied && model.architecture != "gemma2" {
        list.matrix("output.weight", &[model.hidden, model.vocabulary]);
    }
    for layer in 0..model.layers {
        list.prefix = format!("blk.{layer}.");
        list.numbers("attn_norm.weight", model.hidden);
        match model.architecture.as_str() {
            "llama" | "mistral3" | "qwen2" | "qwen3" | "qwen3moe" | "gemma2" | "gemma3" | "granite"
            | "glm4" => list.plain(),
            "gpt-oss" => list.gpt_oss(),
            "phi3" => list.phi3(),
            "qwen35" | "qwen35moe" => list.qwen35(layer),
            "deepseek2" => list.deepseek2(layer),
            "mamba" => list.mamba(),
            "falcon-h1" => list.falcon_h1(),
            other => panic!("nothing is known of files of `{other}`"),
        }
    }
    list.tensors
}

/// A list in the making.
struct List<'a> {
    model: &'a SparseModel,
    prefix: String,
    tensors: Vec<SparseTensor>,
}

impl List<'_> {
    fn put(&mut self, name: &str, kind: &'static str, sizes: &[u64]) {
        let kind = fitting(kind, sizes[0]);
        self.tensors.push(SparseTensor::new(format!("{}{name}", self.prefix), kind, sizes));
    }

    fn matrix(&mut self, name: &str, sizes: &[u64]) {
        self.put(name, self.model.kind, sizes);
    }

    /// Norms, biases and other rows that stay 32-bit numbers.
    fn numbers(&mut self, name: &str, count: u64) {
        self.put(name, "f32", &[count]);
    }

    fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.model.architecture.as_str())
    }

    fn queries_keys_values(&mut self, queries: u64) {
        let model = self.model;
        let kv = model.kv_heads * model.head;
        for (name, width) in [("q", queries), ("k", kv), ("v", kv)] {
            self.matrix(&format!("attn_{name}.weight"), &[model.hidden, width]);
            if model.qkv_bias {
                self.numbers(&format!("attn_{name}.bias"), width);
            }
        }
    }

    fn head_norms(&mut self) {
        self.numbers("attn_q_norm.weight", self.model.head);
        self.numbers("attn_k_norm.weight", self.model.head);
    }

    fn attention(&mut self) {
        let width = self.model.heads * self.model.head;
        self.queries_keys_values(width);
        self.matrix("attn_output.weight", &[width, self.model.hidden]);
    }

    fn feed_forward(&mut self) {
        let (hidden, width) = (self.model.hidden, self.model.feed_forward);
        self.matrix("ffn_gate.weight", &[hidden, width]);
        self.matrix("ffn_down.weight", &[width, hidden]);
        self.matrix("ffn_up.weight", &[hidden, width]);
    }

    /// Gate and input of a feed-forward layer in one matrix.
    fn fused_feed_forward(&mut self) {
        let (hidden, width) = (self.model.hidden, self.model.feed_forward);
        self.matrix("ffn_down.weight", &[width, hidden]);
        self.matrix("ffn_up.weight", &[hidden, 2 * width]);
    }

    fn experts(&mut self, width: u64) {
        let (hidden, count) = (self.model.hidden, self.model.experts.all);
        let kind = self.model.expert_kind.unwrap_or(self.model.kind);
        self.put("ffn_gate_inp.weight", "f32", &[hidden, count]);
        self.put("ffn_gate_exps.weight", kind, &[hidden, width, count]);
        self.put("ffn_down_exps.weight", kind, &[width, hidden, count]);
        self.put("ffn_up_exps.weight", kind, &[hidden, width, count]);
    }

    fn shared_experts(&mut self, width: u64) {
        let hidden = self.model.hidden;
        self.matrix("ffn_gate_shexp.weight", &[hidden, width]);
        self.matrix("ffn_down_shexp.weight", &[width, hidden]);
        self.matrix("ffn_up_shexp.weight", &[hidden, width]);
    }

    /// Attention and a feed-forward layer or experts, with the norms that each family has.
    fn plain(&mut self) {
        let model = self.model;
        self.attention();
        if self.is(&["qwen3", "qwen3moe", "gemma3"]) {
            self.head_norms();
        }
        if self.is(&["gemma2", "gemma3", "glm4"]) {
            self.numbers("post_attention_norm.weight", model.hidden);
            self.numbers("post_ffw_norm.weight", model.hidden);
        }
        self.numbers("ffn_norm.weight", model.hidden);
        if self.is(&["qwen3moe"]) {
            self.experts(model.experts.feed_forward);
        } else if self.is(&["llama", "granite"]) && model.experts.all > 0 {
            self.experts(model.feed_forward);
            if model.experts.shared_feed_forward > 0 {
                self.shared_experts(model.experts.shared_feed_forward);
            }
        } else if self.is(&["glm4"]) {
            self.fused_feed_forward();
        } else {
            self.feed_forward();
        }
    }

    fn gpt_oss(&mut self) {
        let model = self.model;
        let (width, count) = (model.experts.feed_forward, model.experts.all);
        self.attention();
        self.numbers("attn_output.bias", model.hidden);
        self.numbers("post_attention_norm.weight", model.hidden);
        self.numbers("attn_sinks.weight", model.heads);
        self.experts(width);
        self.numbers("ffn_gate_inp.bias", count);
        self.put("ffn_gate_exps.bias", "f32", &[width, count]);
        self.put("ffn_down_exps.bias", "f32", &[model.hidden, count]);
        self.put("ffn_up_exps.bias", "f32", &[width, count]);
    }

    fn phi3(&mut self) {
        let model = self.model;
        let width = model.hidden + 2 * model.kv_heads * model.head;
        self.matrix("attn_qkv.weight", &[model.hidden, width]);
        if model.qkv_bias {
            self.numbers("attn_qkv.bias", width);
        }
        self.matrix("attn_output.weight", &[model.hidden, model.hidden]);
        self.numbers("ffn_norm.weight", model.hidden);
        self.fused_feed_forward();
    }

    /// Gated linear attention, and full attention with a gate every few layers.
    fn qwen35(&mut self, layer: u64) {
        let (model, sizes) = (self.model, self.model.recurrent);
        self.numbers("post_attention_norm.weight", model.hidden);
        if (layer + 1).is_multiple_of(attention_every(model)) {
            let width = model.heads * model.head;
            self.queries_keys_values(2 * width);
            self.matrix("attn_output.weight", &[width, model.hidden]);
            self.head_norms();
        } else {
            let (keys, values) = (sizes.state * sizes.groups, sizes.state * sizes.rank);
            self.matrix("attn_qkv.weight", &[model.hidden, 2 * keys + values]);
            self.matrix("attn_gate.weight", &[model.hidden, values]);
            self.put("ssm_conv1d.weight", "f32", &[sizes.convolution, 2 * keys + values]);
            self.numbers("ssm_dt.bias", sizes.rank);
            self.numbers("ssm_a", sizes.rank);
            self.matrix("ssm_beta.weight", &[model.hidden, sizes.rank]);
            self.matrix("ssm_alpha.weight", &[model.hidden, sizes.rank]);
            self.numbers("ssm_norm.weight", sizes.state);
            self.matrix("ssm_out.weight", &[values, model.hidden]);
        }
        if self.is(&["qwen35"]) {
            self.feed_forward();
        } else {
            self.experts(model.experts.feed_forward);
            self.numbers("ffn_gate_inp_shexp.weight", model.hidden);
            self.shared_experts(shared_feed_forward(model));
        }
    }

    fn deepseek2(&mut self, layer: u64) {
        let (model, latent, experts) = (self.model, self.model.latent, self.model.experts);
        let key = latent.key + latent.rope;
        if latent.queries > 0 {
            self.numbers("attn_q_a_norm.weight", latent.queries);
            self.matrix("attn_q_a.weight", &[model.hidden, latent.queries]);
            self.matrix("attn_q_b.weight", &[latent.queries, model.heads * key]);
        } else {
            self.matrix("attn_q.weight", &[model.hidden, model.heads * key]);
        }
        self.numbers("attn_kv_a_norm.weight", latent.keys_values);
        self.matrix("attn_kv_a_mqa.weight", &[model.hidden, latent.keys_values + latent.rope]);
        if latent.absorbed {
            self.matrix("attn_k_b.weight", &[latent.key, latent.keys_values, model.heads]);
            self.matrix("attn_v_b.weight", &[latent.keys_values, latent.value, model.heads]);
        } else {
            self.matrix("attn_kv_b.weight", &[latent.keys_values, model.heads * (latent.key + latent.value)]);
        }
        self.matrix("attn_output.weight", &[model.heads * latent.value, model.hidden]);
        self.numbers("ffn_norm.weight", model.hidden);
        if layer < experts.dense_lead {
            self.feed_forward();
        } else {
            self.experts(experts.feed_forward);
            self.shared_experts(experts.feed_forward * experts.shared);
            if experts.gating == 2 {
                self.numbers("exp_probs_b.bias", experts.all);
            }
        }
    }

    fn mamba(&mut self) {
        let (hidden, sizes) = (self.model.hidden, self.model.recurrent);
        let inner = sizes.inner;
        self.matrix("ssm_in.weight", &[hidden, 2 * inner]);
        self.put("ssm_conv1d.weight", "f32", &[sizes.convolution, inner]);
        self.numbers("ssm_conv1d.bias", inner);
        self.matrix("ssm_x.weight", &[inner, sizes.rank + 2 * sizes.state]);
        self.matrix("ssm_dt.weight", &[sizes.rank, inner]);
        self.numbers("ssm_dt.bias", inner);
        self.put("ssm_a", "f32", &[sizes.state, inner]);
        self.numbers("ssm_d", inner);
        self.matrix("ssm_out.weight", &[inner, hidden]);
    }

    fn falcon_h1(&mut self) {
        let (model, sizes) = (self.model, self.model.recurrent);
        let channels = sizes.inner + 2 * sizes.groups * sizes.state;
        self.matrix("ssm_in.weight", &[model.hidden, sizes.inner + channels + sizes.rank]);
        self.put("ssm_conv1d.weight", "f32", &[sizes.convolution, channels]);
        self.numbers("ssm_conv1d.bias", channels);
        self.numbers("ssm_dt.bias", sizes.rank);
        self.put("ssm_a", "f32", &[1, sizes.rank]);
        self.put("ssm_d", "f32", &[1, sizes.rank]);
        self.put("ssm_norm.weight", "f32", &[sizes.inner / sizes.groups.max(1), sizes.groups]);
        self.matrix("ssm_out.weight", &[sizes.inner, model.hidden]);
        self.attention();
        self.numbers("ffn_norm", model.hidden);
        self.feed_forward();
    }
}
