//! What is kept, family by family, and what is refused. The numbers are those of published models, worked out by hand: layers ×
//! KV heads × numbers of a head × 2 (a key and a value).

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::shape::Kept;

fn read_json(config: &Value) -> Result<ConfigModel, ReadError> {
    from_json("config.json", &config.to_string())
}

fn kept(config: &Value) -> Kept {
    read_json(config).unwrap().shape.elements(1)
}

/// Numbers for each token, over all layers and over those that grow without bound.
fn per_token(config: &Value) -> (u64, u64) {
    let kept = kept(config);
    (kept.per_token(), kept.growing_per_token)
}

fn refused(config: &Value) -> String {
    read_json(config).unwrap_err().to_string()
}

/// A model of 32 layers of 8 KV heads of 128 numbers, with these keys beside.
fn with(model_type: &str, more: Value) -> Value {
    let mut config = json!({
        "model_type": model_type, "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128,
    });
    if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
        config.extend(more);
    }
    config
}

const EIGHT: u64 = 2 * 8 * 128;

#[test]
fn every_token_in_every_layer() {
    assert_eq!(per_token(&with("llama", json!({}))), (32 * EIGHT, 32 * EIGHT));
    // As many KV heads as heads, and heads that are a part of the hidden width.
    let gpt2 = json!({"model_type": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768});
    assert_eq!(per_token(&gpt2).1, 12 * 2 * 768);
    // Qwen3 has heads of 128 numbers where nothing is said.
    let qwen = json!({"model_type": "qwen3", "num_hidden_layers": 28, "hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 8});
    assert_eq!(per_token(&qwen).1, 28 * EIGHT);
    let read = read_json(&qwen).unwrap();
    assert!(read.notes[0].contains("head_dim 128"), "{:?}", read.notes);
    let chatglm = json!({"model_type": "chatglm", "num_layers": 28, "hidden_size": 4096, "num_attention_heads": 32, "kv_channels": 128, "multi_query_attention": true, "multi_query_group_num": 2});
    assert_eq!(per_token(&chatglm).1, 28 * 2 * 2 * 128);
    let mpt = json!({"model_type": "mpt", "n_layers": 48, "d_model": 7168, "n_heads": 64, "attn_config": {"attn_type": "grouped_query_attention", "kv_n_heads": 8}});
    assert_eq!(per_token(&mpt).1, 48 * 2 * 8 * 112);
    let falcon = json!({"model_type": "falcon", "hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71, "multi_query": true});
    assert_eq!(per_token(&falcon).1, 32 * 2 * 64);
    let openelm = json!({"model_type": "openelm", "num_transformer_layers": 2, "model_dim": 1280, "num_query_heads": [12, 16], "num_kv_heads": [3, 4], "head_dim": 64});
    assert_eq!(per_token(&openelm).1, 2 * 64 * 7);
    let found = json!({"model_type": "nemotron-nas", "num_hidden_layers": 3, "hidden_size": 8192, "num_attention_heads": 64, "block_configs": [
        {"attention": {"n_heads_in_group": 8}}, {"attention": {"no_op": true}}, {"attention": {"n_heads_in_group": 16}}]});
    assert_eq!(per_token(&found).1, 2 * 128 * (8 + 4));
}

#[test]
fn windows() {
    // Mistral 7B keeps a window in every layer, or none.
    assert_eq!(per_token(&with("mistral", json!({"sliding_window": 4096}))), (32 * EIGHT, 0));
    assert_eq!(per_token(&with("mistral", json!({"sliding_window": null}))), (32 * EIGHT, 32 * EIGHT));
    // Qwen2's window is switched off, or on from a layer on.
    let qwen = |on| {
        with("qwen2", json!({"sliding_window": 4096, "max_window_layers": 28, "use_sliding_window": on}))
    };
    assert_eq!(per_token(&qwen(false)).1, 32 * EIGHT);
    assert_eq!(per_token(&qwen(true)), (32 * EIGHT, 28 * EIGHT));
    // gpt-oss: every second layer; Command R7B: three of four; EXAONE 4: in letters.
    let oss = json!({"model_type": "gpt_oss", "num_hidden_layers": 24, "hidden_size": 2880, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "sliding_window": 128});
    assert_eq!(per_token(&oss), (24 * 1024, 12 * 1024));
    assert_eq!(kept(&oss).bounded, [(128, 12 * 1024)]);
    assert_eq!(per_token(&with("cohere2", json!({"sliding_window": 4096}))).1, 8 * EIGHT);
    let letters = json!({"sliding_window": 4096, "sliding_window_pattern": "LLLG"});
    assert_eq!(per_token(&with("exaone4", letters)).1, 8 * EIGHT);
    let types: Vec<_> = (0..32).map(|i| if i < 2 { "full_attention" } else { "sliding_attention" }).collect();
    assert_eq!(per_token(&with("olmo3", json!({"layer_types": types, "sliding_window": 4096}))).1, 2 * EIGHT);
    // Llama 4 Scout: chunks where positions are rotated.
    assert_eq!(per_token(&with("llama4_text", json!({"attention_chunk_size": 8192}))).1, 8 * EIGHT);
    let neo = json!({"model_type": "gpt_neo", "num_layers": 24, "hidden_size": 2048, "num_heads": 16, "window_size": 256, "attention_types": [[["global", "local"], 12]]});
    assert_eq!(per_token(&neo), (24 * 2 * 2048, 12 * 2 * 2048));
}

#[test]
fn parts_of_a_configuration_leave_out_defaults() {
    // As gemma-3-4b is published: heads and their width are the family's.
    let gemma = json!({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34, "sliding_window": 1024}, "vision_config": {"hidden_size": 1152}});
    assert_eq!(per_token(&gemma), (34 * 2 * 4 * 256, 5 * 2 * 4 * 256));
    let read = read_json(&gemma).unwrap();
    assert_eq!(read.shape.architecture, "gemma3_text");
    // The part does not say its own type.
    let llava = json!({"model_type": "llava", "text_config": {"num_hidden_layers": 40, "hidden_size": 5120, "num_attention_heads": 40}});
    assert_eq!(per_token(&llava).1, 40 * 2 * 5120);
    let omni = json!({"model_type": "qwen2_5_omni", "talker_config": {}, "thinker_config": {"model_type": "qwen2_5_omni_thinker", "text_config": {"num_hidden_layers": 28, "hidden_size": 3584, "num_attention_heads": 28, "num_key_value_heads": 4}}});
    assert_eq!(per_token(&omni).1, 28 * 2 * 4 * 128);
    assert!(read_json(&omni).unwrap().notes.iter().any(|note| note.contains("talker")));
}

#[test]
fn shared_caches() {
    // gemma-3n-E4B: the last 15 of 35 layers keep nothing of their own.
    let gemma = json!({"model_type": "gemma3n_text", "num_hidden_layers": 35, "hidden_size": 2048, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256, "sliding_window": 512, "num_kv_shared_layers": 15});
    assert_eq!(per_token(&gemma), (20 * 2 * 2 * 256, 4 * 2 * 2 * 256));
    let layers = read_json(&gemma).unwrap().shape.layers;
    assert_eq!(
        (layers[34].cache, layers[33].cache),
        (Cache::Shared { layer: 19 }, Cache::Shared { layer: 18 })
    );
    let hunyuan = with("hunyuan", json!({"use_cla": true, "cla_share_factor": 2}));
    assert_eq!(per_token(&hunyuan).1, 16 * EIGHT);
    // Gemma 4: layers that keep every token have wider heads, and perhaps fewer.
    let wide = json!({"sliding_window": 1024, "attention_k_eq_v": true, "num_global_key_value_heads": 4, "global_head_dim": 512, "num_hidden_layers": 30});
    assert_eq!(per_token(&with("gemma4_text", wide)), (25 * EIGHT + 5 * 2 * 4 * 512, 5 * 2 * 4 * 512));
    let each = json!({"sliding_window": 1024, "num_hidden_layers": 6, "per_layer_config": {"05": {"head_dim": 512}}});
    assert_eq!(per_token(&with("gemma4_text", each)), (5 * EIGHT + 2 * 8 * 512, 2 * 8 * 512));
}

#[test]
fn a_window_that_is_said_twice() {
    let gemma = |size: u64| with("gemma2", json!({"sliding_window": 4096, "sliding_window_size": size}));
    assert_eq!(kept(&gemma(4096)).bounded[0].0, 4096);
    assert!(read_json(&gemma(512)).unwrap_err().to_string().contains("sliding_window_size"));
}

#[test]
fn latent_attention() {
    let deepseek = |model_type: &str| json!({"model_type": model_type, "num_hidden_layers": 61, "hidden_size": 7168, "num_attention_heads": 128, "num_key_value_heads": 128, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "num_nextn_predict_layers": 1});
    assert_eq!(per_token(&deepseek("deepseek_v3")).1, 61 * 576);
    assert_eq!(per_token(&deepseek("deepseek_v32")).1, 61 * (576 + 128));
    let read = read_json(&deepseek("deepseek_v3")).unwrap();
    assert_eq!(read.shape.draft_elements(1).growing_per_token, 576);
    // Every second layer takes the tokens that another one chose.
    let mut shared = deepseek("glm_moe_dsa");
    shared["indexer_types"] =
        json!(Vec::from_iter((0..61).map(|i| if i % 2 == 0 { "full" } else { "shared" })));
    assert_eq!(per_token(&shared).1, 61 * 576 + 31 * 128);
    // How the indexer rotates its keys changes nothing that is kept (GLM 5).
    shared["indexer_rope_interleave"] = json!(true);
    assert_eq!(per_token(&shared).1, 61 * 576 + 31 * 128);
    // Switched off, as in DeepSeek-OCR.
    let off = json!({"model_type": "deepseek_vl_v2", "language_config": {"model_type": "deepseek_v2", "num_hidden_layers": 12, "hidden_size": 1280, "num_attention_heads": 10, "num_key_value_heads": 10, "use_mla": false, "kv_lora_rank": null, "qk_rope_head_dim": 0, "v_head_dim": 0}});
    assert_eq!(per_token(&off).1, 12 * 2 * 1280);
}

#[test]
fn compressed_attention() {
    // DeepSeek-V4-Flash: a window in all 43 layers; 21 have an entry for 4 tokens with an indexer's key, 20 one for 128.
    let mut ratios = vec![0, 0];
    ratios.extend([4, 128].into_iter().cycle().take(41));
    ratios.push(0);
    let flash = json!({"model_type": "deepseek_v4", "num_hidden_layers": 43, "hidden_size": 4096, "num_attention_heads": 64, "num_key_value_heads": 1, "head_dim": 512, "sliding_window": 128, "index_head_dim": 128, "compress_ratios": ratios, "num_nextn_predict_layers": 1});
    let growing = 21 * (512 + 128) / 4 + 20 * 512 / 128;
    assert_eq!(per_token(&flash), (growing + 43 * 512, growing));
    assert_eq!(read_json(&flash).unwrap().shape.draft_elements(1).bounded, [(128, 512)]);
    let mut odd = flash.clone();
    odd["compress_ratios"][5] = json!(7);
    assert!(refused(&odd).contains('7'));
    odd["compress_ratios"] = json!([0, 4]);
    assert!(refused(&odd).contains("2 entries for 43 layers"));
}

#[test]
fn recurrent_state() {
    let mamba = json!({"model_type": "mamba", "num_hidden_layers": 24, "hidden_size": 768, "state_size": 16, "conv_kernel": 4, "expand": 2});
    assert_eq!((per_token(&mamba), kept(&mamba).constant), ((0, 0), 24 * 1536 * (3 + 16)));
    // Codestral Mamba: 8,192 channels in 128 heads, 8 groups.
    let codestral = json!({"model_type": "mamba2", "hidden_size": 4096, "num_hidden_layers": 64, "num_heads": 128, "head_dim": 64, "state_size": 128});
    assert_eq!(kept(&codestral).constant, 64 * (3 * (8192 + 2 * 8 * 128) + 8192 * 128));
    // Qwen3-Next: 12 of 48 layers with attention; the others a matrix for each of 32 heads.
    let next = json!({"model_type": "qwen3_next", "num_hidden_layers": 48, "hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 256, "linear_num_value_heads": 32, "linear_num_key_heads": 16, "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "full_attention_interval": 4});
    assert_eq!(per_token(&next).1, 12 * 2 * 2 * 256);
    assert_eq!(kept(&next).constant, 36 * (3 * 8192 + 32 * 128 * 128));
    let nemotron = with(
        "nemotron_h",
        json!({"num_hidden_layers": 4, "hybrid_override_pattern": "M-*E", "mamba_num_heads": 64, "mamba_head_dim": 64, "n_groups": 8, "ssm_state_size": 128, "conv_kernel": 4, "num_nextn_predict_layers": 2, "mtp_hybrid_override_pattern": "*E"}),
    );
    assert_eq!(
        (per_token(&nemotron).1, kept(&nemotron).constant),
        (EIGHT, 3 * (4096 + 2 * 8 * 128) + 4096 * 128)
    );
    assert_eq!(read_json(&nemotron).unwrap().shape.draft_elements(1).growing_per_token, 2 * EIGHT);
    // Falcon-H1 keeps both in every layer; Zamba 2 has heads over twice the hidden width.
    let falcon = with(
        "falcon_h1",
        json!({"mamba_d_ssm": 3072, "mamba_n_heads": 24, "mamba_d_head": 128, "mamba_n_groups": 1, "mamba_d_state": 256}),
    );
    assert_eq!(
        (per_token(&falcon).1, kept(&falcon).constant),
        (32 * EIGHT, 32 * (3 * (3072 + 512) + 3072 * 256))
    );
    let zamba = json!({"model_type": "zamba2", "num_hidden_layers": 3, "hidden_size": 2560, "num_attention_heads": 32, "layers_block_type": ["mamba", "hybrid", "mamba"], "n_mamba_heads": 80});
    assert_eq!(per_token(&zamba).1, 2 * 5120);
    let minimax =
        with("minimax_text_01", json!({"num_hidden_layers": 8, "attn_type_list": [0, 0, 0, 0, 0, 0, 0, 1]}));
    assert_eq!((per_token(&minimax).1, kept(&minimax).constant), (EIGHT, 7 * 32 * 128 * 128));
    let lfm = with(
        "lfm2",
        json!({"num_hidden_layers": 3, "conv_L_cache": 3, "layer_types": ["conv", "full_attention", "conv"]}),
    );
    assert_eq!((per_token(&lfm).1, kept(&lfm).constant), (EIGHT, 2 * 2 * 4096));
    let griffin = json!({"model_type": "recurrent_gemma", "num_hidden_layers": 26, "hidden_size": 2560, "num_attention_heads": 10, "num_key_value_heads": 1, "attention_window_size": 2048, "conv1d_width": 4, "lru_width": 2560});
    assert_eq!(
        (kept(&griffin).bounded[..].to_vec(), kept(&griffin).constant),
        (vec![(2048, 8 * 2 * 256)], 18 * 4 * 2560)
    );
    let kimi = json!({"model_type": "kimi_linear", "num_hidden_layers": 2, "hidden_size": 2304, "num_attention_heads": 32, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "head_dim": 72, "linear_attn_config": {"full_attn_layers": [2], "kda_layers": [1], "num_heads": 32, "head_dim": 128, "short_conv_kernel_size": 4}});
    assert_eq!((per_token(&kimi).1, kept(&kimi).constant), (576, 3 * 3 * 4096 + 32 * 128 * 128));
}

#[test]
fn encoders_and_what_looks_at_them() {
    let bert =
        json!({"model_type": "bert", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12});
    assert_eq!((per_token(&bert), kept(&bert).constant), ((0, 0), 0));
    let mut decoder = bert.clone();
    decoder["is_decoder"] = json!(true);
    assert_eq!(per_token(&decoder).1, 12 * 2 * 768);
    // whisper-large-v3: 32 blocks over 1,500 frames.
    let whisper = json!({"model_type": "whisper", "d_model": 1280, "decoder_layers": 32, "decoder_attention_heads": 20, "max_source_positions": 1500, "is_encoder_decoder": true});
    assert_eq!((per_token(&whisper).1, kept(&whisper).constant), (32 * 2 * 1280, 32 * 2 * 1280 * 1500));
    let t5 = json!({"model_type": "t5", "d_model": 512, "num_layers": 6, "num_heads": 8, "d_kv": 64, "n_positions": 512, "is_encoder_decoder": true});
    assert_eq!((per_token(&t5).1, kept(&t5).constant), (6 * 2 * 512, 6 * 2 * 512 * 512));
    // Llama 3.2 with pictures: 8 of 40 layers look at the picture alone.
    let mllama = with("mllama_text_model", json!({"num_hidden_layers": 40}));
    assert_eq!((per_token(&mllama).1, kept(&mllama).constant), (32 * EIGHT, 8 * EIGHT * 6404));
}

#[test]
fn what_was_not_understood_is_named() {
    assert!(refused(&with("llama", json!({"sliding_window": 4096}))).contains("`sliding_window`"));
    assert!(refused(&with("llama", json!({"kv_lora_rank": 512}))).contains("`kv_lora_rank`"));
    assert!(refused(&with("llama", json!({"hybrid_pattern": "M*"}))).contains("`hybrid_pattern`"));
    assert!(refused(&with("minimax_m2", json!({"attn_type_list": [1, 0, 1]}))).contains("`attn_type_list`"));
    assert!(
        refused(&with("gpt_oss", json!({"num_hidden_layers": 1, "layer_types": ["odd_attention"]})))
            .contains("`odd_attention`")
    );
    // Keys that say nothing new.
    for more in [
        json!({"sliding_window": null, "use_cla": false, "kv_lora_rank": 0}),
        json!({"sliding_window": 4096, "use_sliding_window": false, "max_window_layers": 28}),
        json!({"layer_types": vec!["full_attention"; 32], "chunk_size_feed_forward": 0, "cross_attention_hidden_size": null}),
    ] {
        assert_eq!(per_token(&with("llama", more)).1, 32 * EIGHT);
    }
    let error = refused(&json!({"model_type": "lama", "num_hidden_layers": 1}));
    assert!(error.contains("`lama`") && error.contains("llama"), "{error}");
    assert!(refused(&json!({"num_hidden_layers": 1})).contains("`model_type`"));
}

#[test]
fn what_is_missing_is_named() {
    for key in ["num_hidden_layers", "hidden_size", "num_attention_heads"] {
        let mut config = with("llama", json!({}));
        config.as_object_mut().unwrap().remove(key);
        assert!(refused(&config).contains(&format!("`{key}`")), "{key}: {}", refused(&config));
    }
    let typed = json!({"model_type": "bailing_moe_linear", "num_hidden_layers": 20, "hidden_size": 2048, "num_attention_heads": 16});
    assert!(refused(&typed).contains("`layer_group_size`"));
}

#[test]
fn contradictions() {
    let says = |more: Value, what: &str| {
        let error = refused(&with("olmo3", more));
        assert!(error.contains(what), "{error}");
    };
    says(json!({"num_hidden_layers": 0}), "`num_hidden_layers` is 0");
    says(json!({"num_hidden_layers": -1}), "`num_hidden_layers` is -1");
    says(json!({"num_hidden_layers": 1_u64 << 60}), "1152921504606846976");
    says(json!({"num_hidden_layers": 5000}), "5000 layers");
    says(json!({"num_hidden_layers": "32"}), "`num_hidden_layers` is \"32\"");
    says(json!({"num_hidden_layers": 32.5}), "32.5");
    says(json!({"num_key_value_heads": 7}), "no multiple of 7");
    says(json!({"num_key_value_heads": 0}), "0 KV heads");
    says(json!({"head_dim": null, "hidden_size": 4097}), "4097");
    says(json!({"n_layer": 31}), "which is it");
    says(json!({"layer_types": ["full_attention"]}), "1 entries for 32 layers");
    says(json!({"layer_types": vec!["sliding_attention"; 32], "sliding_window": null}), "`sliding_window`");
    says(json!({"layer_types": "full"}), "no list");
    says(json!({"sliding_window": 0}), "0");
    let repeated = json!({"model_type": "gpt_neo", "num_layers": 24, "hidden_size": 2048, "num_heads": 16, "window_size": 256, "attention_types": [[["global"], 1_u64 << 50]]});
    assert!(refused(&repeated).contains("attention_types"));
    let sharing = with("gemma3n_text", json!({"num_kv_shared_layers": 33}));
    assert!(refused(&sharing).contains("33 of 32"));
}

#[test]
fn types_and_widths() {
    let mixtral = with(
        "mixtral",
        json!({"torch_dtype": "bfloat16", "quantization_config": {"quant_method": "fp8"}, "vocab_size": 32000, "intermediate_size": 14336, "num_local_experts": 8, "num_experts_per_tok": 2, "max_position_embeddings": 65536, "tie_word_embeddings": true}),
    );
    let read = read_json(&mixtral).unwrap();
    assert_eq!(read.weights_type.as_deref(), Some("bfloat16, fp8"));
    assert_eq!((read.shape.trained_context, read.shape.tied_embeddings), (Some(65536), Some(true)));
    let widths = read.shape.widths;
    assert_eq!((widths.hidden, widths.vocabulary, widths.heads, widths.head), (4096, 32000, 32, 128));
    assert_eq!((widths.experts, widths.experts_used, widths.expert_feed_forward), (8, 2, 14336));
    // Whether the output is the embeddings is said by the whole where the part does not.
    let part = json!({"model_type": "qwen3_vl", "tie_word_embeddings": false, "text_config": with("qwen3_vl_text", json!({"dtype": "bfloat16"}))});
    assert_eq!(read_json(&part).unwrap().shape.tied_embeddings, Some(false));
}

/// Values that no count can have.
fn unbelievable() -> Vec<Value> {
    vec![json!(-1), json!("8"), json!(8.5), json!(1_u64 << 62), json!(true), json!([8]), json!({"a": 1})]
}

#[test]
fn numbers_that_cannot_be_believed_are_named() {
    let families = [
        ("mixtral", vec!["intermediate_size", "vocab_size", "num_local_experts", "num_experts_per_tok"]),
        ("qwen3_moe", vec!["moe_intermediate_size", "num_experts", "max_position_embeddings", "head_dim"]),
        ("deepseek_v3", vec!["n_routed_experts", "n_shared_experts", "kv_lora_rank", "qk_rope_head_dim"]),
        ("gemma3_text", vec!["sliding_window", "num_key_value_heads", "vocab_size"]),
        ("llama", vec!["num_local_experts", "n_positions", "num_nextn_predict_layers"]),
    ];
    for (family, keys) in families {
        for key in keys {
            for value in unbelievable() {
                let error = refused(&with(family, json!({key: value.clone()})));
                assert!(error.contains(&format!("`{key}`")), "{family}: {error}");
                let is_list = value.is_array();
                assert!(error.contains(&value.to_string()) || is_list, "{family}: {error} without {value}");
            }
        }
    }
    for key in ["vocab_size", "max_position_embeddings", "intermediate_size"] {
        assert!(refused(&with("llama", json!({key: 0}))).contains(&format!("`{key}` is 0")), "{key}");
    }
    // A list has a number for each layer.
    let lists = with("gemma3_text", json!({"intermediate_size": vec![7; 31]}));
    assert!(refused(&lists).contains("31 entries for 32 layers"));
    let mixed = [vec![7; 31], vec![9]].concat();
    let lists = with("gemma3_text", json!({"intermediate_size": mixed}));
    assert_eq!(read_json(&lists).unwrap().shape.widths.feed_forward, 9);
    assert!(refused(&with("llama", json!({"tie_word_embeddings": "no"}))).contains("`tie_word_embeddings`"));
    let infinite = from_json("config.json", r#"{"model_type": "llama", "num_hidden_layers": Infinity}"#);
    let error = infinite.unwrap_err().to_string();
    assert!(error.contains("`num_hidden_layers` is Infinity"), "{error}");
}

#[test]
fn defaults_that_were_taken_are_said() {
    let read = read_json(&with("llama", json!({}))).unwrap();
    for taken in ["vocab_size 32000", "intermediate_size 11008", "max_position_embeddings 2048"] {
        assert!(read.notes[0].contains(taken), "{:?}", read.notes);
    }
    let all = json!({"vocab_size": 9, "intermediate_size": 9, "max_position_embeddings": 9, "tie_word_embeddings": false});
    assert_eq!(read_json(&with("llama", all)).unwrap().notes, Vec::<String>::new());
}

#[test]
fn experts_of_a_dense_family() {
    let read = read_json(&with("llama", json!({"num_experts": 8, "num_experts_per_tok": 2}))).unwrap();
    assert_eq!((read.shape.widths.experts, read.shape.widths.experts_used), (0, 0));
    assert!(read.notes.iter().any(|note| note.contains("`num_experts` is no key of the family llama")));
    let read = read_json(&with("mixtral", json!({"num_local_experts": 0}))).unwrap();
    assert_eq!(read.shape.widths.experts, 0);
    assert!(read.notes.iter().any(|note| note.contains("`num_local_experts` is 0")), "{:?}", read.notes);
}

#[test]
fn a_part_that_names_another_family() {
    let note = |model_type: &str, class: &str| {
        let notes = read_json(&with(model_type, json!({"architectures": [class]}))).unwrap().notes;
        notes.into_iter().find(|note| note.contains(class))
    };
    assert!(note("llama", "MixtralForCausalLM").unwrap().contains("of the family mixtral"));
    for (model_type, class) in [
        ("llama", "LlamaForCausalLM"),
        ("gemma3_text", "Gemma3ForCausalLM"),
        ("qwen3_moe", "Qwen3MoeForCausalLM"),
        ("gpt_neox", "GPTNeoXForCausalLM"),
        ("llama", "OfNobodyForCausalLM"),
    ] {
        assert_eq!(note(model_type, class), None);
    }
    let types = with("llama", json!({"layer_types": vec!["full_attention"; 31]}));
    assert!(refused(&types).contains("31 entries for 32 layers"));
}

#[test]
fn scaled_positions() {
    let shape = |family: &str, trained: u64, scaling: Value| {
        let config = with(family, json!({"max_position_embeddings": trained, "rope_scaling": scaling}));
        read_json(&config).map(|read| (read.shape.trained_context, read.shape.scaled_context))
    };
    let scaled = |scaling: Value| shape("llama", 4096, scaling).unwrap().1;
    let yarn = json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768});
    assert_eq!(shape("qwen3", 40_960, yarn).unwrap(), (Some(40_960), Some(131_072)));
    assert_eq!(scaled(json!({"type": "linear", "factor": 2.0})), Some(8192));
    assert_eq!(scaled(json!({"rope_type": "dynamic", "factor": 1.5})), Some(6144));
    assert_eq!(scaled(json!({"rope_type": "llama3", "factor": 8.0})), None);
    assert_eq!(scaled(json!({"type": "longrope", "long_factor": [1.0]})), None);
    assert_eq!(scaled(json!({"type": "mrope", "mrope_section": [16, 24, 24]})), None);
    assert_eq!(scaled(json!(null)), None);
    assert_eq!(scaled(json!({"type": "odd", "factor": 2.0})), None);
    let odd = read_json(&with("llama", json!({"rope_scaling": {"type": "odd"}}))).unwrap();
    assert!(odd.notes.iter().any(|note| note.contains("`odd`")), "{:?}", odd.notes);
    assert_eq!(shape("gemma3_text", 131_072, json!({"rope_type": "linear", "factor": 8.0})).unwrap().1, None);
    let by_type = json!({"full_attention": {"rope_type": "linear", "factor": 2}, "sliding_attention": {"rope_type": "default"}});
    assert_eq!(scaled(by_type), Some(8192));
    for factor in [json!(0.5), json!(-2), json!("2"), json!(1e300), json!(true)] {
        let error =
            shape("llama", 4096, json!({"type": "linear", "factor": factor})).unwrap_err().to_string();
        assert!(error.contains("`rope_scaling.factor` is"), "{error}");
    }
    assert!(shape("llama", 4096, json!({"factor": 2.0})).unwrap_err().to_string().contains("rope_type"));
    assert!(shape("llama", 4096, json!("yarn")).unwrap_err().to_string().contains("no object"));
}

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, "{\"model_type\": \"llama\",\n \"a\": [}").unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
    std::fs::write(&path, with("llama", json!({})).to_string().replace('}', ", \"limit\": [0.0, Infinity]}"))
        .unwrap();
    assert_eq!(read(&path).unwrap().shape.layers.len(), 32);
    std::fs::write(&path, format!("\u{feff}{}", with("llama", json!({})))).unwrap();
    assert_eq!(read(&path).unwrap().shape.layers.len(), 32);
    std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1234\n").unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("git lfs pull"));
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("UTF-8"));
    let nested = "[".repeat(100_000);
    std::fs::write(&path, nested).unwrap();
    assert!(read(&path).is_err());
    std::fs::File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("16777217"));
}

/// A value that a hostile or damaged configuration may have.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..40_u64).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "full_attention|sliding_attention|linear_attention|M|\\*|.{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 16, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("[0-9]|num_heads|head_dim|kv_n_heads", inner, 0..4)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// Whatever the keys hold, in whatever family, is an answer with as many layers as can be believed, or an error.
    #[test]
    fn any_values_of_known_keys(
        family in 0..families::names().count(),
        more in prop::collection::vec((0..KEYS.len(), any_value()), 0..12),
    ) {
        let mut config = with(families::names().nth(family).unwrap_or_default(), json!({}));
        for (key, value) in more {
            config[KEYS[key]] = value;
        }
        if let Ok(read) = read_json(&config) {
            prop_assert!(read.shape.layers.len() as u64 <= 2 * fields::MOST_LAYERS);
            prop_assert!(read.shape.elements(1).per_token() >= read.shape.elements(8).per_token());
        }
    }

    #[test]
    fn any_text(text in ".{0,200}") {
        let _ = from_json("config.json", &text);
    }
}

/// Keys that readers ask for.
const KEYS: [&str; 44] = [
    "num_hidden_layers",
    "num_layers",
    "hidden_size",
    "num_attention_heads",
    "num_heads",
    "num_key_value_heads",
    "head_dim",
    "sliding_window",
    "layer_types",
    "layers_block_type",
    "sliding_window_pattern",
    "use_sliding_window",
    "max_window_layers",
    "no_rope_layers",
    "no_rope_layer_interval",
    "attention_chunk_size",
    "num_kv_shared_layers",
    "per_layer_config",
    "kv_lora_rank",
    "qk_rope_head_dim",
    "index_head_dim",
    "indexer_types",
    "index_topk_freq",
    "mamba_expand",
    "mamba_n_heads",
    "mamba_n_groups",
    "mamba_d_state",
    "mamba_d_head",
    "mamba_d_conv",
    "attn_layer_period",
    "attn_layer_offset",
    "attn_layer_indices",
    "n_groups",
    "hybrid_override_pattern",
    "linear_num_key_heads",
    "linear_conv_kernel_dim",
    "linear_attn_config",
    "attn_type_list",
    "attention_types",
    "use_cla",
    "cla_share_factor",
    "block_configs",
    "num_nextn_predict_layers",
    "mtp_hybrid_override_pattern",
];
