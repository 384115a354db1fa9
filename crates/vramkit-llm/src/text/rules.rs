//! Which rule cuts text into words, by the name that a file gives it (`tokenizer.ggml.pre`).
//!
//! The rules are those of llama.cpp (`llama-vocab.cpp`), so that a file means the same here: where it simplifies the expression that
//! the tokenizer was published with, this does too.

use super::categories::{LETTER, MARK, NUMBER, PUNCTUATION, SPACE, SYMBOL, is};
use super::words::{First, Lead, Letters, Numbers, Others, Runs, Step, Words};

/// What a name stands for.
pub(super) struct Rule {
    pub names: &'static [&'static str],
    pub steps: &'static [Step],
    /// Whether a word that is a token is that token, whatever its merges would give.
    pub whole_words: bool,
    /// Whether a text begins with BOS where the file does not say.
    pub adds_bos: bool,
}

/// The rule of this name.
pub(super) fn named(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.names.contains(&name))
}

/// The names of all rules.
pub(super) fn names() -> String {
    let all: Vec<String> = RULES.iter().flat_map(|rule| rule.names).map(|name| format!("`{name}`")).collect();
    all.join(", ")
}

const fn rule(names: &'static [&'static str], steps: &'static [Step]) -> Rule {
    Rule { names, steps, whole_words: false, adds_bos: false }
}

const fn runs(lead: Lead, class: fn(char) -> bool) -> Step {
    Step::Runs(Runs { lead, class, min: 1, max: usize::MAX })
}

const fn numbers(max: usize) -> Step {
    Step::Runs(Runs { lead: Lead::Nothing, class: |character| is(character, NUMBER), min: 1, max })
}

const ONE_LINE_END: Step =
    Step::Runs(Runs { lead: Lead::Nothing, class: |character| "\r\n".contains(character), min: 1, max: 1 });

const THREE_DIGITS: Step =
    Step::Runs(Runs { lead: Lead::Nothing, class: |character| character.is_ascii_digit(), min: 3, max: 3 });

/// GPT-2's.
const GPT2: Step = Step::Words(Words {
    first: First::Contractions,
    letters: Letters::AfterBlank,
    numbers: Numbers::AfterBlank,
    others: Others::but_words(""),
    lines: false,
});

/// That of GPT-4 and most after it: llama 3's and Qwen's differ in how many digits a word has.
const fn gpt4(first: First, digits: usize) -> Words {
    let letters = Letters::AfterAny { no_lead: LETTER | NUMBER, kinds: LETTER };
    Words { first, letters, numbers: Numbers::UpTo(digits), others: Others::but_words("\r\n"), lines: true }
}

const LLAMA3: Step = Step::Words(gpt4(First::AnyCaseContractions, 3));
const QWEN2: Step = Step::Words(gpt4(First::AnyCaseContractions, 1));

/// That of GPT-4o, with words cut before capitals.
const fn gpt4o(contractions: bool, digits: usize) -> Step {
    Step::Words(Words {
        first: First::Nothing,
        letters: Letters::Cased { contractions },
        numbers: Numbers::UpTo(digits),
        others: Others::but_words("\r\n/"),
        lines: true,
    })
}

/// DeepSeek 3's, behind those that take numbers and Han and kana out.
const DEEPSEEK3: [Step; 3] = [
    numbers(3),
    runs(Lead::Nothing, |character| matches!(character, '一'..='龥' | '\u{3040}'..='\u{30ff}')),
    Step::Words(Words {
        first: First::PunctuatedWord,
        letters: Letters::AfterAny { no_lead: LETTER | PUNCTUATION | SYMBOL, kinds: LETTER | MARK },
        numbers: Numbers::None,
        others: Others::signs("\r\n"),
        lines: true,
    }),
];

/// DeepSeek's class of Han and others; white space in it does not count.
const ASIAN: Step = runs(Lead::Nothing, |character| {
    matches!(character, '一'..='龥' | '\u{800}'..'一' | '가'..='\u{d7ff}') && !is(character, SPACE)
});

/// The letters with a case that DeepSeek's first tokenizer lists.
fn is_cased(character: char) -> bool {
    #[rustfmt::skip]
    const LISTED: &[(u32, u32)] = &[
        (0x41, 0x5a), (0x61, 0x7a), (0xb5, 0xb5), (0xc0, 0xd6), (0xd8, 0xf6), (0xf8, 0x1ba), (0x1bc, 0x1bf),
        (0x1c4, 0x293), (0x295, 0x2af), (0x370, 0x373), (0x376, 0x377), (0x37b, 0x37d), (0x37f, 0x37f),
        (0x386, 0x386), (0x388, 0x38a), (0x38c, 0x38c), (0x38e, 0x3a1), (0x3a3, 0x3f5), (0x3f7, 0x481),
        (0x48a, 0x52f), (0x531, 0x556), (0x10a0, 0x10c5), (0x13a0, 0x13f5), (0x13f8, 0x13fd),
        (0x1c90, 0x1cba), (0x1cbd, 0x1cbf), (0x1d00, 0x1d2b), (0x1d6b, 0x1d77), (0x1d79, 0x1d9a),
        (0x1e00, 0x1f15), (0x1f18, 0x1f1d), (0x1f20, 0x1f45), (0x1f48, 0x1f4d), (0x1f50, 0x1f57),
        (0x1f59, 0x1f59), (0x1f5b, 0x1f5b), (0x1f5d, 0x1f5d), (0x1f5f, 0x1f7d), (0x1f80, 0x1fb4),
        (0x1fb6, 0x1fbc), (0x1fbe, 0x1fbe), (0x1fc2, 0x1fc4), (0x1fc6, 0x1fcc), (0x1fd0, 0x1fd3),
        (0x1fd6, 0x1fdb), (0x1fe0, 0x1fec), (0x1ff2, 0x1ff4), (0x1ff6, 0x1ffc), (0x2102, 0x2102),
        (0x2107, 0x2107), (0x210a, 0x2113), (0x2115, 0x2115), (0x2119, 0x211d), (0x2124, 0x2124),
        (0x2126, 0x2126), (0x2128, 0x2128), (0x212a, 0x212d), (0x212f, 0x2134), (0x2139, 0x2139),
        (0x213c, 0x213f), (0x2145, 0x2149), (0x214e, 0x214e), (0x2183, 0x2184), (0x2c00, 0x2c7b),
        (0x2c7e, 0x2ce4), (0x2ceb, 0x2cee), (0x2cf2, 0x2cf3), (0xa640, 0xa66d), (0xa680, 0xa69b),
        (0xa722, 0xa76f), (0xa771, 0xa787), (0xa78b, 0xa78e), (0xab70, 0xabbf), (0xfb00, 0xfb06),
        (0xfb13, 0xfb17), (0xff21, 0xff3a), (0xff41, 0xff5a), (0x10400, 0x1044f), (0x104b0, 0x104d3),
        (0x104d8, 0x104fb), (0x10c80, 0x10cb2), (0x10cc0, 0x10cf2), (0x118a0, 0x118df), (0x1e900, 0x1e943),
    ];
    let number = u32::from(character);
    let after = LISTED.partition_point(|range| range.0 <= number);
    after.checked_sub(1).is_some_and(|at| number <= LISTED[at].1)
}

/// What BLOOM's tokenizer and its kin take as a word.
const BLOOM: Step =
    runs(Lead::Blank, |character| !is(character, SPACE) && !"(|.,!?…。，、।۔،)".contains(character));

static RULES: &[Rule] = &[
    rule(
        &["default"],
        &[
            runs(Lead::Nothing, |character| is(character, PUNCTUATION) || "$+<=>^~|".contains(character)),
            GPT2,
            numbers(usize::MAX),
            THREE_DIGITS,
        ],
    ),
    rule(
        &[
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "jina-v2-es",
            "jina-v2-de",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "exaone4",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
        ],
        &[GPT2],
    ),
    rule(
        &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[numbers(1), GPT2],
    ),
    rule(
        &["falcon"],
        &[
            runs(Lead::Nothing, |character| is(character, PUNCTUATION) || "$+<=>^~|`".contains(character)),
            GPT2,
            THREE_DIGITS,
        ],
    ),
    Rule {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        steps: &[LLAMA3],
        whole_words: true,
        adds_bos: true,
    },
    rule(&["smaug-bpe", "dbrx", "chatglm-bpe"], &[LLAMA3]),
    Rule { names: &["glm4", "glm5"], steps: &[LLAMA3], whole_words: true, adds_bos: false },
    Rule {
        names: &["minicpm5"],
        steps: &[numbers(3), Step::Words(gpt4(First::AnyCaseContractions, usize::MAX))],
        whole_words: true,
        adds_bos: false,
    },
    rule(
        &[
            "qwen2",
            "deepseek-r1-qwen",
            "kormo",
            "f2llmv2",
            "megrez",
            "stablelm2",
            "hunyuan",
            "solar-open",
            "grok-2",
            "bailingmoe",
            "bailingmoe2",
            "llada-moe",
        ],
        &[QWEN2],
    ),
    rule(
        &["qwen35"],
        &[Step::Words(Words {
            letters: Letters::AfterAny { no_lead: LETTER | NUMBER, kinds: LETTER | MARK },
            others: Others::but_marked_words("\r\n"),
            ..gpt4(First::AnyCaseContractions, 1)
        })],
    ),
    rule(
        &["seed-coder"],
        &[Step::Words(Words { others: Others::but_words(""), ..gpt4(First::AnyCaseContractions, 1) })],
    ),
    rule(&["ufakzeka"], &[Step::Words(gpt4(First::Nothing, 1))]),
    rule(&["laguna"], &[runs(Lead::Nothing, |character| character != '\n'), QWEN2]),
    Rule { names: &["tekken"], steps: &[gpt4o(false, 1)], whole_words: true, adds_bos: true },
    rule(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[gpt4o(true, 3)]),
    rule(
        &["deepseek-llm"],
        &[
            ONE_LINE_END,
            runs(Lead::Space, is_cased),
            runs(
                Lead::Space,
                |character| matches!(character, '!'..='/' | ':'..='~' | '！'..='／' | '：'..='～' | '‘'..='‟' | '\u{3001}' | '。'),
            ),
            Step::Trailing,
            ASIAN,
            numbers(usize::MAX),
        ],
    ),
    rule(
        &["deepseek-coder"],
        &[
            ONE_LINE_END,
            runs(Lead::Space, |character| is(character, LETTER)),
            runs(Lead::Space, |character| is(character, PUNCTUATION)),
            ASIAN,
            numbers(1),
        ],
    ),
    rule(&["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"], &DEEPSEEK3),
    rule(&["bloom", "poro-chat", "gpt3-finnish"], &[BLOOM]),
    rule(&["viking"], &[BLOOM, numbers(1)]),
];

#[cfg(test)]
mod tests;
