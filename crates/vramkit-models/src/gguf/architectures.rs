//! What the layers of each architecture keep, a line each; what its lines mean is in `shape_of.rs`.

/// Where an architecture's window comes from when its key is absent.
#[derive(Clone, Copy)]
pub(super) enum Span {
    /// The key must be there.
    Needed,
    /// Without the key, or with 0, every layer looks back over all.
    Optional,
    /// So many tokens without the key.
    Default(u64),
    /// So many tokens whatever the key says, unless it says 0.
    Fixed(u64),
    /// So many tokens if the key is there and not 0.
    FixedIfFound(u64),
}

/// Which layers look back a window.
#[derive(Clone, Copy)]
pub(super) enum Pattern {
    /// All but the last of every so many.
    LastFull(u64),
    /// All but the first of every so many.
    FirstFull(u64),
    /// As the header must list them.
    Listed,
}

/// Which layers keep a recurrent state and no keys.
#[derive(Clone, Copy)]
pub(super) enum Recurrent {
    /// Those without KV heads.
    NoHeads,
    /// Those without KV heads and without a feed-forward block; with one they keep nothing.
    NoHeadsNoFeedForward,
    /// All but every so-manieth, or as the header lists them.
    Interval(u64),
}

/// What an architecture's layers keep.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Keys and values.
    Plain,
    /// Keys and values, of some layers within a window.
    Windows(Span, Pattern),
    /// As [`Self::Windows`]; the last layers share with earlier ones: as many as a key says, or all from so many on.
    Shared(Span, Pattern, Option<u64>),
    /// A latent vector where the file has it absorbed (`key_length_mla`), or keys and values.
    Latent,
    /// As [`Self::Latent`], with an indexer's keys in some layers or all.
    Indexed,
    /// Some layers recurrent, others with keys and values.
    Hybrid(Recurrent),
    /// Some layers recurrent, others with a latent vector.
    LatentHybrid(Recurrent),
    /// Every layer has keys and values and a recurrent state.
    Both,
    /// Every layer is recurrent.
    Recurrent,
    /// It reads its text whole, and keeps nothing.
    Nothing,
}

pub(super) const KNOWN: &[(&str, Kind)] = &[
    ("afmoe", Kind::Windows(Span::Optional, Pattern::LastFull(4))),
    ("apertus", Kind::Plain),
    ("arcee", Kind::Plain),
    ("arctic", Kind::Plain),
    ("arwkv7", Kind::Recurrent),
    ("baichuan", Kind::Plain),
    ("bailingmoe", Kind::Plain),
    ("bailingmoe2", Kind::Plain),
    ("bert", Kind::Nothing),
    ("bitnet", Kind::Plain),
    ("bloom", Kind::Plain),
    ("chameleon", Kind::Plain),
    ("chatglm", Kind::Plain),
    ("codeshell", Kind::Plain),
    ("cogvlm", Kind::Plain),
    ("cohere2", Kind::Windows(Span::Needed, Pattern::LastFull(4))),
    ("cohere2moe", Kind::Windows(Span::Needed, Pattern::FirstFull(4))),
    ("command-r", Kind::Plain),
    ("dbrx", Kind::Plain),
    ("deci", Kind::Plain),
    ("deepseek", Kind::Plain),
    ("deepseek2", Kind::Latent),
    ("deepseek32", Kind::Indexed),
    ("dots1", Kind::Plain),
    ("dream", Kind::Nothing),
    ("ernie4_5", Kind::Plain),
    ("ernie4_5-moe", Kind::Plain),
    ("eurobert", Kind::Nothing),
    ("exaone", Kind::Plain),
    ("exaone-moe", Kind::Windows(Span::Needed, Pattern::LastFull(4))),
    ("exaone4", Kind::Windows(Span::Default(4096), Pattern::LastFull(4))),
    ("falcon", Kind::Plain),
    ("falcon-h1", Kind::Both),
    ("gemma", Kind::Plain),
    ("gemma-embedding", Kind::Nothing),
    ("gemma2", Kind::Windows(Span::Default(4096), Pattern::LastFull(2))),
    ("gemma3", Kind::Windows(Span::Optional, Pattern::LastFull(6))),
    ("gemma3n", Kind::Shared(Span::Needed, Pattern::LastFull(5), Some(20))),
    ("gemma4", Kind::Shared(Span::Needed, Pattern::Listed, None)),
    ("glm-dsa", Kind::Indexed),
    ("glm4", Kind::Plain),
    ("glm4moe", Kind::Plain),
    ("gpt-oss", Kind::Windows(Span::Needed, Pattern::LastFull(2))),
    ("gpt2", Kind::Plain),
    ("gptneox", Kind::Plain),
    ("granite", Kind::Plain),
    ("granite_swa", Kind::Windows(Span::Needed, Pattern::Listed)),
    ("granitehybrid", Kind::Hybrid(Recurrent::NoHeads)),
    ("granitemoe", Kind::Plain),
    ("grok", Kind::Plain),
    ("grovemoe", Kind::Plain),
    ("hunyuan-dense", Kind::Plain),
    ("hunyuan-moe", Kind::Plain),
    ("hunyuan_vl", Kind::Plain),
    ("internlm2", Kind::Plain),
    ("jais", Kind::Plain),
    ("jais2", Kind::Plain),
    ("jamba", Kind::Hybrid(Recurrent::NoHeads)),
    ("jina-bert-v2", Kind::Nothing),
    ("jina-bert-v3", Kind::Nothing),
    ("kimi-linear", Kind::LatentHybrid(Recurrent::NoHeads)),
    ("laguna", Kind::Windows(Span::Optional, Pattern::FirstFull(4))),
    ("lfm2", Kind::Hybrid(Recurrent::NoHeads)),
    ("lfm2moe", Kind::Hybrid(Recurrent::NoHeads)),
    ("llada", Kind::Nothing),
    ("llada-moe", Kind::Nothing),
    ("llama", Kind::Plain),
    ("llama4", Kind::Windows(Span::Fixed(8192), Pattern::LastFull(4))),
    ("maincoder", Kind::Plain),
    ("mamba", Kind::Recurrent),
    ("mamba2", Kind::Recurrent),
    ("mellum", Kind::Windows(Span::Optional, Pattern::LastFull(4))),
    ("mimo2", Kind::Windows(Span::Needed, Pattern::Listed)),
    ("minicpm", Kind::Plain),
    ("minicpm3", Kind::Plain),
    ("minimax-01", Kind::Hybrid(Recurrent::Interval(8))),
    ("minimax-m2", Kind::Plain),
    ("mistral3", Kind::Plain),
    ("mistral4", Kind::Latent),
    ("modern-bert", Kind::Nothing),
    ("mpt", Kind::Plain),
    ("nemotron", Kind::Plain),
    ("nemotron_h", Kind::Hybrid(Recurrent::NoHeadsNoFeedForward)),
    ("nemotron_h_moe", Kind::Hybrid(Recurrent::NoHeadsNoFeedForward)),
    ("neo-bert", Kind::Nothing),
    ("nomic-bert", Kind::Nothing),
    ("nomic-bert-moe", Kind::Nothing),
    ("olmo", Kind::Plain),
    ("olmo2", Kind::Windows(Span::Optional, Pattern::LastFull(4))),
    ("olmoe", Kind::Plain),
    ("openelm", Kind::Plain),
    ("orion", Kind::Plain),
    ("paddleocr", Kind::Plain),
    ("pangu-embedded", Kind::Plain),
    ("phi2", Kind::Plain),
    ("phi3", Kind::Plain),
    ("phimoe", Kind::Plain),
    ("plamo", Kind::Plain),
    ("plamo2", Kind::Hybrid(Recurrent::NoHeads)),
    ("plamo3", Kind::Windows(Span::Optional, Pattern::LastFull(8))),
    ("plm", Kind::Plain),
    ("qwen", Kind::Plain),
    ("qwen2", Kind::Plain),
    ("qwen2moe", Kind::Plain),
    ("qwen2vl", Kind::Plain),
    ("qwen3", Kind::Plain),
    ("qwen35", Kind::Hybrid(Recurrent::Interval(4))),
    ("qwen35moe", Kind::Hybrid(Recurrent::Interval(4))),
    ("qwen3moe", Kind::Plain),
    ("qwen3next", Kind::Hybrid(Recurrent::Interval(4))),
    ("qwen3vl", Kind::Plain),
    ("qwen3vlmoe", Kind::Plain),
    ("refact", Kind::Plain),
    ("rnd1", Kind::Nothing),
    ("rwkv6", Kind::Recurrent),
    ("rwkv6qwen2", Kind::Recurrent),
    ("rwkv7", Kind::Recurrent),
    ("seed_oss", Kind::Plain),
    ("smallthinker", Kind::Windows(Span::FixedIfFound(4096), Pattern::FirstFull(4))),
    ("smollm3", Kind::Plain),
    ("stablelm", Kind::Plain),
    ("starcoder", Kind::Plain),
    ("starcoder2", Kind::Plain),
    ("step35", Kind::Windows(Span::Needed, Pattern::Listed)),
    ("xverse", Kind::Plain),
];

#[cfg(test)]
mod tests {
    use super::KNOWN;

    #[test]
    fn architectures_are_in_order_and_once() {
        assert!(KNOWN.windows(2).all(|two| two[0].0 < two[1].0));
    }
}
