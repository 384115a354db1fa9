//! Which rule cuts text into words, by the name that a file gives it (`tokenizer.ggml.pre`).
//!
//! The rules are those of llama.cpp (`llama-vocab.cpp`), so that a file means the same here: where it simplifies the expression that
//! the tokenizer was published with, this does too.

use std::sync::LazyLock;

use super::categories::{LETTER, MARK, NUMBER, PUNCTUATION, SPACE, SYMBOL, is, ranges};
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
    let all: Vec<String> =
        RULES.iter().flat_map(|rule| rule.names).map(|name| format!("`{name}`")).collect();
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
    matches!(character, '一'..='龥' | '\u{800}'..='一' | '가'..='\u{d7ff}') && !is(character, SPACE)
});

/// The letters with a case that DeepSeek's first tokenizer lists.
fn is_cased(character: char) -> bool {
    const LISTED: &str = "[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅ\
        ὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ\
        𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]";
    static RANGES: LazyLock<Vec<(char, char)>> = LazyLock::new(|| ranges(LISTED));
    let after = RANGES.partition_point(|range| range.0 <= character);
    after.checked_sub(1).is_some_and(|at| character <= RANGES[at].1)
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
            "gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "gigachat", "a.x-4.0",
            "mellum", "modern-bert", "exaone4", "mpt", "olmo", "jais", "trillion", "granite-docling",
        ],
        &[GPT2],
    ),
    rule(
        &[
            "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2",
        ],
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
            "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
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
            "qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open",
            "grok-2", "bailingmoe", "bailingmoe2", "llada-moe",
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
            runs(Lead::Space, |character| {
                matches!(character, '!'..='/' | ':'..='~' | '！'..='／' | '：'..='～' | '‘'..='‟' | '\u{3001}' | '。')
            }),
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
