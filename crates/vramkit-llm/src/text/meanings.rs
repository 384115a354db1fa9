//! Tokens with a meaning: which end an answer, and which are no text although the file does not say so.
//!
//! A file names few of them; llama.cpp finds the others by their text (`llama-vocab.cpp`), and a file must mean the same here.

use std::collections::BTreeSet;

use super::tokens::{CONTROL, NORMAL, STRIPS_BEFORE, STRIPS_BEHIND, Tokens, UNKNOWN, USER_DEFINED};
use super::vocabulary::{SpecialIds, Vocabulary};

/// Texts that end an answer.
const ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
    "<|ifm|im_end|>",
];

const FIM_PREFIXES: &[&str] = &[
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
    "<|plamo:fim_prefix|>",
];
const FIM_SUFFIXES: &[&str] = &[
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
    "<|plamo:fim_suffix|>",
];
const FIM_MIDDLES: &[&str] = &[
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<|code_middle|>",
    "<|middle|>",
    "<|plamo:fim_middle|>",
];
const FIM_PADDINGS: &[&str] = &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"];
const FIM_REPOSITORIES: &[&str] = &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"];
const FIM_SEPARATORS: &[&str] = &["<|file_sep|>", "<|plamo:file_separator|>"];

/// Text of an answer although they look like control tokens: the channels of gpt-oss.
const SHOWN: &[&str] = &["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// Finds the tokens that end an answer, and corrects the kinds of those whose text tells them.
pub(super) fn ends(tokens: &mut Tokens, ids: &SpecialIds) -> BTreeSet<u32> {
    for (named, texts) in
        [(ids.fim_prefix, FIM_PREFIXES), (ids.fim_suffix, FIM_SUFFIXES), (ids.fim_middle, FIM_MIDDLES)]
    {
        named.or_else(|| first(tokens, texts));
    }
    let gap = [
        (ids.fim_padding, FIM_PADDINGS),
        (ids.fim_repository, FIM_REPOSITORIES),
        (ids.fim_separator, FIM_SEPARATORS),
    ];
    let mut ends: BTreeSet<u32> =
        gap.into_iter().filter_map(|(named, texts)| named.or_else(|| first(tokens, texts))).collect();
    for text in ENDS {
        if let Some(id) = tokens.find(text.as_bytes()) {
            tokens.change_kinds(id, |kinds| kinds | CONTROL);
            ends.insert(id);
        }
    }
    for id in SHOWN.iter().filter_map(|text| tokens.find(text.as_bytes())).collect::<Vec<_>>() {
        tokens.change_kinds(id, |_| USER_DEFINED);
    }
    ends.extend([ids.eos, ids.eot, ids.eom].into_iter().flatten());

    let end = |text: &str| tokens.find(text.as_bytes()).filter(|id| ends.contains(id));
    let has_call = end("<|call|>").or_else(|| end("<|calls|>")).is_some();
    // In these two families an `<|end|>` ends a part of an answer.
    let parts = has_call && (end("<|return|>").is_some() || end("<|flush|>").is_some());
    let part = end("<|end|>").filter(|_| parts);
    // And in these `</s>` is text.
    let text = ["<|tool_response>", "<|plamo:eos|>"].into_iter().any(|text| end(text).is_some());
    let text = end("</s>").filter(|_| text);
    for (id, kind) in [(part, USER_DEFINED), (text, NORMAL)] {
        if let Some(id) = id {
            ends.remove(&id);
            tokens.change_kinds(id, |_| kind);
        }
    }
    ends
}

/// The first of these texts that is a token, which then is a control token.
fn first(tokens: &mut Tokens, texts: &[&str]) -> Option<u32> {
    let id = texts.iter().find_map(|text| tokens.find(text.as_bytes()))?;
    tokens.change_kinds(id, |kinds| kinds | CONTROL);
    Some(id)
}

/// Sets which tokens take the white space around them with them: no file says so, and llama.cpp knows it by the model's name.
pub(super) fn strip(tokens: &mut Tokens, vocabulary: &Vocabulary) {
    let name = vocabulary.name.as_deref().unwrap_or_default().to_ascii_lowercase();
    let pre = vocabulary.pre.as_deref().unwrap_or_default();
    if pre.contains("jina-v2") {
        if let Some(mask) = tokens.find(b"<mask>") {
            tokens.change_kinds(mask, |kinds| kinds | STRIPS_BEFORE);
        }
    } else if name.contains("phi-3") || name.contains("phi3") {
        let kept: Vec<Option<u32>> =
            ["<unk>", "<s>", "<|endoftext|>"].iter().map(|text| tokens.find(text.as_bytes())).collect();
        let end = tokens.find(b"</s>");
        for id in 0..tokens.len() as u32 {
            let is_special = tokens.is(id, CONTROL | USER_DEFINED | UNKNOWN) || Some(id) == end;
            if is_special && !kept.contains(&Some(id)) {
                tokens.change_kinds(id, |kinds| kinds | STRIPS_BEHIND);
            }
        }
    }
}
