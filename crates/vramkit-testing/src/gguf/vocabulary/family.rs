//! The tokenizers of the families: which special tokens each has and how a chat is written.

const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}\
{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// What a family's tokenizer is like.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Family {
    /// The pre-tokeniser of pairs of bytes; none where pieces are characters with scores.
    pub(super) pre: Option<&'static str>,
    /// Special tokens. The first begins a text and the second ends it.
    pub(super) specials: &'static [&'static str],
    /// A text begins with the token for it.
    pub(super) begins: bool,
    /// A space is put before a text; of pieces with scores alone.
    pub(super) space: bool,
    /// Where an answer ends.
    pub(super) turn_ends: &'static str,
    /// The chat template.
    pub(super) template: &'static str,
}

impl Family {
    pub(in super::super) const LLAMA: Self = Self {
        pre: Some("llama-bpe"),
        specials: &[
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
        ],
        begins: true,
        space: false,
        turn_ends: "<|eot_id|>",
        template: "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + \
message['content'] + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}\
{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
    };

    pub(in super::super) const SMOL: Self = Self {
        pre: Some("smollm"),
        specials: &["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
        begins: false,
        space: false,
        turn_ends: "<|im_end|>",
        template: CHATML,
    };

    pub(in super::super) const QWEN: Self = Self {
        pre: Some("qwen2"),
        specials: &["<|endoftext|>", "<|im_end|>", "<|im_start|>"],
        begins: false,
        space: false,
        turn_ends: "<|im_end|>",
        template: CHATML,
    };

    pub(in super::super) const PHI: Self = Self {
        pre: None,
        specials: &["<s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"],
        begins: true,
        space: true,
        turn_ends: "<|end|>",
        template: "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}",
    };

    pub(in super::super) const MISTRAL: Self = Self {
        pre: None,
        specials: &["<s>", "</s>", "[INST]", "[/INST]"],
        begins: true,
        space: true,
        turn_ends: "</s>",
        template: "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}\
{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}",
    };

    pub(in super::super) const GEMMA: Self = Self {
        pre: None,
        specials: &["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"],
        begins: true,
        space: false,
        turn_ends: "<end_of_turn>",
        template: "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + \
(message['role'] if message['role'] == 'user' else 'model') + '\\n' + message['content'] + '<end_of_turn>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
    };
}
