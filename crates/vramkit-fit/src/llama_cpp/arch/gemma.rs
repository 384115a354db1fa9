//! Gemma 2 and 3: layers with a window, norms behind attention and feed-forward, squashed logits.

use crate::error::FitError;
use crate::ggml::{Glu, TensorId, Unary};
use crate::llama_cpp::attention::Extras;
use crate::llama_cpp::builder::Builder;
use crate::llama_cpp::hyper::{Hyper, Keys};

/// Every second layer looks back 4,096 tokens, unless the header says otherwise.
pub(super) fn windows_2(keys: Keys<'_>, hyper: &mut Hyper) -> Result<(), FitError> {
    hyper.window = keys.number("attention.sliding_window", 4096)?;
    keys.window_layers(hyper, 2)
}

/// Five of six layers look back a window, where there is one.
pub(super) fn windows_3(keys: Keys<'_>, hyper: &mut Hyper) -> Result<(), FitError> {
    if hyper.window > 0 { keys.window_layers(hyper, 6) } else { Ok(()) }
}

pub(super) fn gemma2(b: &mut Builder<'_>) {
    build(b, true);
}

pub(super) fn gemma3(b: &mut Builder<'_>) {
    build(b, false);
}

fn build(b: &mut Builder<'_>, second: bool) {
    let mut stream = if second {
        let rows = b.embeddings();
        b.graph.scale(rows)
    } else {
        b.scaled_embeddings()
    };
    let positions = b.positions(1);
    let has_windows = b.parts.hyper.window > 0;
    let windows = has_windows.then(|| b.window_inputs());
    let inputs = b.attention_inputs();
    let wanted = b.wanted_rows();
    let extras = Extras { soft_cap: second, ..Extras::default() };
    for layer in 0..b.layers() {
        let normed = b.norm(layer, "attn_norm", stream);
        let mut heads = b.heads(layer, normed);
        if !second {
            heads.q = b.norm(layer, "attn_q_norm", heads.q);
        }
        heads.q = b.graph.rope(heads.q, positions, None);
        if !second {
            heads.k = b.norm(layer, "attn_k_norm", heads.k);
        }
        heads.k = b.graph.rope(heads.k, positions, None);
        heads.q = b.graph.scale(heads.q);
        let attended = match &windows {
            Some(windows) => b.window_attention(layer, windows, heads, extras),
            None => b.attention(layer, &inputs, heads, extras),
        };
        let (attended, residual) = b.keep_wanted(layer, wanted, attended, stream);
        let attended = b.norm(layer, "post_attention_norm", attended);
        let joined = b.graph.add(attended, residual);
        let normed = b.norm(layer, "ffn_norm", joined);
        let names = ["ffn_up", "ffn_gate", "ffn_down"];
        let forward = b.gated_feed_forward(layer, names, Glu::Ge, normed);
        let forward = b.norm_anywhere(layer, "post_ffw_norm", forward);
        stream = b.graph.add(forward, joined);
    }
    let squashed = second || b.parts.keys.float("final_logit_softcapping", 0.0) != 0.0;
    b.finish(stream, |b, logits| if squashed { squash(b, logits) } else { logits });
}

fn squash(b: &mut Builder<'_>, logits: TensorId) -> TensorId {
    let scaled = b.graph.scale(logits);
    let bounded = b.graph.unary(Unary::Tanh, scaled);
    b.graph.scale(bounded)
}
