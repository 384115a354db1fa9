//! Readers by the names that the table of families gives them.

use crate::error::ReadError;
use crate::shape::Layer;

use super::fields::Fields;
use super::{attention, compressed, encoders, hybrid, latent, linear, other_words, recurrent, special};

/// Reads what each layer keeps.
pub(super) type Reader = fn(&Fields<'_>) -> Result<Vec<Layer>, ReadError>;

/// The reader of this name.
pub(super) fn named(name: &str) -> Option<Reader> {
    Some(match name {
        "plain" => attention::plain,
        "one_window" => attention::one_window,
        "gated_window" => attention::gated_window,
        "upper_windows" => attention::upper_windows,
        "lower_windows" => attention::lower_windows,
        "interleaved" => attention::interleaved,
        "first_full" => attention::first_full,
        "typed" => attention::typed,
        "typed_only" => attention::typed_only,
        "typed_windows" => attention::typed_windows,
        "cohere2_moe" => attention::cohere2_moe,
        "deepseek_v4" => compressed::deepseek_v4,
        "gemma4" => special::gemma4,
        "llama4" => special::llama4,
        "smollm3" => special::smollm3,
        "mimo_v2" => special::mimo_v2,
        "step3p5" => special::step3p5,
        "gpt_neo" => special::gpt_neo,
        "hunyuan" => special::hunyuan,
        "mllama" => special::mllama,
        "falcon" => other_words::falcon,
        "gpt_bigcode" => other_words::gpt_bigcode,
        "mpt" => other_words::mpt,
        "dbrx" => other_words::dbrx,
        "jetmoe" => other_words::jetmoe,
        "chatglm" => other_words::chatglm,
        "codeshell" => other_words::codeshell,
        "openelm" => other_words::openelm,
        "per_layer_heads" => other_words::per_layer_heads,
        "block_configs" => other_words::block_configs,
        "latent" => latent::latent,
        "longcat" => latent::longcat,
        "mamba" => recurrent::mamba,
        "mamba2" => recurrent::mamba2,
        "rwkv" => recurrent::rwkv,
        "rwkv5" => recurrent::rwkv5,
        "xlstm" => recurrent::xlstm,
        "jamba" => hybrid::jamba,
        "bamba" => hybrid::bamba,
        "granite_hybrid" => hybrid::granite,
        "falcon_h1" => hybrid::falcon_h1,
        "nemotron_h" => hybrid::nemotron_h,
        "zamba" => hybrid::zamba,
        "zamba2" => hybrid::zamba2,
        "plamo2" => hybrid::plamo2,
        "delta" => linear::delta,
        "olmo_hybrid" => linear::olmo_hybrid,
        "kimi_linear" => linear::kimi,
        "bailing_hybrid" => linear::bailing_hybrid,
        "bailing_linear" => linear::bailing_linear,
        "lightning" => linear::lightning,
        "short_conv" => linear::short_conv,
        "griffin" => linear::griffin,
        "t5" => encoders::t5,
        "bart" => encoders::bart,
        "whisper" => encoders::whisper,
        "encoder" => encoders::encoder,
        _ => return None,
    })
}
