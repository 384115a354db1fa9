//! A model described by its sizes: what a table's columns say, or a published model's configuration.

use super::file::known;

/// Sizes of a model of one of the architectures `llama` (with experts: Mixtral), `phi3`, `qwen2`, `qwen3`, `qwen3moe`,
/// `qwen35`, `qwen35moe`, `gemma2`, `gemma3`, `granite`, `glm4`, `gpt-oss`, `deepseek2`, `mamba`, `falcon-h1`.
///
/// ```
/// use vramkit_testing::gguf::SparseModel;
///
/// let file = SparseModel::phi_3_mini("q4_0").file();
/// assert_eq!(file.tensors.len(), 2 + 32 * 6 + 1);
/// assert_eq!(file.tensor_bytes(), 2_150_043_648);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SparseModel {
    /// The architecture, by llama.cpp's name.
    pub architecture: String,
    /// Layers.
    pub layers: u64,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Query heads.
    pub heads: u64,
    /// Heads of keys and values.
    pub kv_heads: u64,
    /// Width of a head.
    pub head: u64,
    /// Width of a feed-forward layer, or of an expert where nothing else is said.
    pub feed_forward: u64,
    /// Tokens of the vocabulary.
    pub vocabulary: u64,
    /// Tokens that it was trained for.
    pub trained_context: u64,
    /// Embeddings are the output matrix.
    pub tied: bool,
    /// Tokens of a window; 0 for none.
    pub window: u64,
    /// Queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Experts; `all` is 0 for none.
    pub experts: Experts,
    /// Latent attention (`deepseek2`).
    pub latent: Latent,
    /// Recurrent layers.
    pub recurrent: Recurrent,
    /// The type of matrices, by ggml's name.
    pub kind: &'static str,
    /// The type of experts' matrices, where it is another one.
    pub expert_kind: Option<&'static str>,
}

/// Experts of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Experts {
    /// All of them.
    pub all: u64,
    /// Those that a token uses.
    pub used: u64,
    /// Width of one.
    pub feed_forward: u64,
    /// Experts that every token uses.
    pub shared: u64,
    /// Width of the shared ones together, where it is not theirs times their number.
    pub shared_feed_forward: u64,
    /// Layers before the first that has any.
    pub dense_lead: u64,
    /// How gates become weights: llama.cpp's number; 0 where nothing is said. 2 are sigmoids, with a bias to choose by.
    pub gating: u64,
    /// Groups that experts are chosen in, four of which are used; 0 for none.
    pub groups: u64,
}

/// Ranks and widths of latent attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latent {
    /// Rank of queries; 0 for none.
    pub queries: u64,
    /// Rank of keys and values.
    pub keys_values: u64,
    /// Numbers of a key without position.
    pub key: u64,
    /// Numbers of a key with position.
    pub rope: u64,
    /// Numbers of a value.
    pub value: u64,
    /// The latent vector is what is cached, rather than keys and values.
    pub absorbed: bool,
}

/// Sizes of recurrent layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recurrent {
    /// Tokens of the convolution.
    pub convolution: u64,
    /// Inner width.
    pub inner: u64,
    /// Numbers of a state.
    pub state: u64,
    /// Rank of the time step, or heads.
    pub rank: u64,
    /// Groups.
    pub groups: u64,
    /// Every how many layers one attends.
    pub attention_every: u64,
}

impl SparseModel {
    /// What a table says of a model: `column` gives the text of a column, empty for one that is not there.
    ///
    /// Columns: `arch`, `n_layer`, `n_embd`, `n_head`, `n_head_kv`, `head_dim`, `n_ff`, `n_vocab`, `n_ctx_train`, `tied`, `n_swa`,
    /// `qkv_bias`, `n_expert`, `n_expert_used`, `n_ff_exp`, `n_expert_shared`, `n_ff_shexp`, `n_dense_lead`, `expert_gating`,
    /// `n_expert_groups`, `q_lora`, `kv_lora`, `qk_nope`, `qk_rope`, `v_mla`, `mla`, `d_conv`, `d_inner`, `d_state`, `dt_rank`,
    /// `n_group`, `attn_every`, `wtype`, `wtype_exp`.
    ///
    /// # Panics
    /// Of what is no number, and of types that are not known.
    pub fn from_columns<'a>(column: impl Fn(&str) -> &'a str) -> Self {
        let number = |name: &str| match column(name) {
            "" | "False" => 0,
            "True" => 1,
            text => text.parse().unwrap_or_else(|_| panic!("{name}: `{text}` is no number")),
        };
        let yes = |name: &str| number(name) != 0;
        let kind = |name: &str| Some(column(name)).filter(|text| !text.is_empty()).map(known);
        Self {
            architecture: column("arch").to_owned(),
            layers: number("n_layer"),
            hidden: number("n_embd"),
            heads: number("n_head"),
            kv_heads: number("n_head_kv"),
            head: number("head_dim"),
            feed_forward: number("n_ff"),
            vocabulary: number("n_vocab"),
            trained_context: number("n_ctx_train"),
            tied: yes("tied"),
            window: number("n_swa"),
            qkv_bias: yes("qkv_bias"),
            experts: Experts {
                all: number("n_expert"),
                used: number("n_expert_used"),
                feed_forward: number("n_ff_exp"),
                shared: number("n_expert_shared"),
                shared_feed_forward: number("n_ff_shexp"),
                dense_lead: number("n_dense_lead"),
                gating: number("expert_gating"),
                groups: number("n_expert_groups"),
            },
            latent: Latent {
                queries: number("q_lora"),
                keys_values: number("kv_lora"),
                key: number("qk_nope"),
                rope: number("qk_rope"),
                value: number("v_mla"),
                absorbed: yes("mla"),
            },
            recurrent: Recurrent {
                convolution: number("d_conv"),
                inner: number("d_inner"),
                state: number("d_state"),
                rank: number("dt_rank"),
                groups: number("n_group"),
                attention_every: number("attn_every"),
            },
            kind: kind("wtype").unwrap_or("q4_K"),
            expert_kind: kind("wtype_exp"),
        }
    }

    /// A dense model in 4-bit numbers: architecture, layers, and its widths, named below.
    fn dense(architecture: &str, layers: u64, widths: Widths) -> Self {
        let (hidden, heads, kv_heads, head, feed_forward, vocabulary) = widths;
        Self {
            architecture: architecture.to_owned(),
            layers,
            hidden,
            heads,
            kv_heads,
            head,
            feed_forward,
            vocabulary,
            trained_context: 131_072,
            kind: "q4_K",
            ..Self::default()
        }
    }

    fn with_experts(mut self, all: u64, used: u64, feed_forward: u64) -> Self {
        self.experts = Experts { all, used, feed_forward, ..Experts::default() };
        self
    }

    fn with_recurrent(mut self, recurrent: Recurrent) -> Self {
        self.recurrent = recurrent;
        self
    }

    /// Phi-3-mini-4k in one type.
    pub fn phi_3_mini(kind: &str) -> Self {
        let model = Self::dense("phi3", 32, (3072, 32, 32, 96, 8192, 32_064));
        Self { kind: known(kind), trained_context: 4096, ..model }
    }

    /// Llama-3.1-8B.
    pub fn llama_3_1_8b() -> Self {
        Self::dense("llama", 32, (4096, 32, 8, 128, 14_336, 128_256))
    }

    /// Qwen3-8B.
    pub fn qwen3_8b() -> Self {
        Self::dense("qwen3", 36, (4096, 32, 8, 128, 12_288, 151_936))
    }

    /// Qwen3-30B-A3B.
    pub fn qwen3_30b_a3b() -> Self {
        Self::dense("qwen3moe", 48, (2048, 32, 4, 128, 6144, 151_936)).with_experts(128, 8, 768)
    }

    /// Gemma-3-12B.
    pub fn gemma_3_12b() -> Self {
        let model = Self::dense("gemma3", 48, (3840, 16, 8, 256, 15_360, 262_208));
        Self { tied: true, window: 1024, ..model }
    }

    /// DeepSeek-V2-Lite.
    pub fn deepseek_v2_lite() -> Self {
        let mut model =
            Self::dense("deepseek2", 27, (2048, 16, 1, 192, 10_944, 102_400)).with_experts(64, 6, 1408);
        (model.experts.shared, model.experts.dense_lead) = (2, 1);
        model.latent =
            Latent { queries: 0, keys_values: 512, key: 128, rope: 64, value: 128, absorbed: true };
        model
    }

    /// Mamba-2.8B.
    pub fn mamba_2_8b() -> Self {
        let model = Self::dense("mamba", 64, (2560, 0, 0, 0, 0, 50_280));
        let sizes =
            Recurrent { convolution: 4, inner: 5120, state: 16, rank: 160, groups: 0, attention_every: 0 };
        Self { tied: true, ..model }.with_recurrent(sizes)
    }

    /// Falcon-H1-0.5B.
    pub fn falcon_h1_0_5b() -> Self {
        let sizes =
            Recurrent { convolution: 4, inner: 1536, state: 128, rank: 24, groups: 1, attention_every: 0 };
        Self::dense("falcon-h1", 36, (1024, 8, 2, 64, 2048, 32_784)).with_recurrent(sizes)
    }

    /// Qwen3.5-9B.
    pub fn qwen3_5_9b() -> Self {
        let sizes =
            Recurrent { convolution: 4, inner: 4096, state: 128, rank: 32, groups: 16, attention_every: 4 };
        Self::dense("qwen35", 32, (4096, 16, 4, 256, 12_288, 248_320)).with_recurrent(sizes)
    }

    /// gpt-oss-20b.
    pub fn gpt_oss_20b() -> Self {
        let model = Self::dense("gpt-oss", 24, (2880, 64, 8, 64, 2880, 201_088)).with_experts(32, 4, 2880);
        Self { window: 128, qkv_bias: true, kind: "q8_0", expert_kind: Some("mxfp4"), ..model }
    }
}

/// Hidden, query heads, heads of keys and values, width of a head, of a feed-forward layer, vocabulary.
type Widths = (u64, u64, u64, u64, u64, u64);
