//! Tokenizers and chat templates, from files.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use vramkit_llm::text::{
    ChatTemplate, Decoder, Message, Setting, Special, TemplateError, Tokenizer, TokenizerError, Vocabulary,
};
use vramkit_models::gguf::{GgufFile, Texts};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn file(name: &str) -> GgufFile {
    GgufFile::open(&data(name)).unwrap()
}

fn vocabulary(name: &str) -> Vocabulary {
    Vocabulary::from_gguf(&file(name)).unwrap()
}

fn tokenizer(name: &str) -> Tokenizer {
    Tokenizer::from_gguf(&file(name)).unwrap()
}

/// The tokenizer of a rule in `tokens.txt`.
fn of_rule(rule: &str) -> Tokenizer {
    let vocabulary = match rule {
        "spm" => vocabulary("spm.gguf"),
        "spm-no-blank" => Vocabulary { add_space_prefix: Some(false), ..vocabulary("spm.gguf") },
        rule => Vocabulary { pre: Some(rule.to_owned()), add_bos: None, ..vocabulary("bpe.gguf") },
    };
    Tokenizer::new(vocabulary).unwrap()
}

fn texts() -> Vec<String> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let lines = std::fs::read_to_string(data("texts.txt")).unwrap();
    lines
        .lines()
        .map(|line| String::from_utf8(line.as_bytes().chunks(2).map(byte).collect()).unwrap())
        .collect()
}

#[test]
fn tokens_are_those_of_llama_cpp() {
    let (texts, lines) = (texts(), std::fs::read_to_string(data("tokens.txt")).unwrap());
    let mut rules: BTreeMap<&str, Tokenizer> = BTreeMap::new();
    let mut compared = 0;
    for line in lines.lines() {
        let (case, expected) = line.split_once(':').unwrap();
        let [rule, parse, text] = case.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let special = if parse == "1" { Special::Parse } else { Special::Plain };
        let text = &texts[text.parse::<usize>().unwrap()];
        let expected: Vec<u32> = expected.split_whitespace().map(|token| token.parse().unwrap()).collect();
        let tokenizer = rules.entry(rule).or_insert_with(|| of_rule(rule));
        assert_eq!(tokenizer.encode(text, special, true), expected, "{rule} {special:?} {text:?}");
        compared += 1;
    }
    assert!(compared > 1000 && rules.len() > 15, "{compared} of {} rules", rules.len());
}

#[test]
fn text_comes_back() {
    for name in ["bpe.gguf", "spm.gguf"] {
        let tokenizer = tokenizer(name);
        // `▁` is how SentencePiece writes a blank, and behind a token of its own it puts one.
        for text in texts().iter().filter(|text| name == "bpe.gguf" || !text.contains(['▁', '\n', ' '])) {
            assert_eq!(tokenizer.decode(&tokenizer.encode(text, Special::Plain, true)), *text, "{name}");
        }
    }
}

#[test]
fn special_tokens_are_read_and_written_when_asked() {
    let tokenizer = tokenizer("bpe.gguf");
    let (start, end) = (tokenizer.token("<|im_start|>").unwrap(), tokenizer.token("<|im_end|>").unwrap());
    let text = "<|im_start|>Hi<|im_end|>";
    let parsed = tokenizer.encode(text, Special::Parse, false);
    assert_eq!((parsed[0], parsed[parsed.len() - 1]), (start, end));
    assert_eq!(tokenizer.decode(&parsed), "Hi");
    let plain = tokenizer.encode(text, Special::Plain, false);
    assert!(!plain.contains(&start) && !plain.contains(&end));
    assert_eq!(tokenizer.decode(&plain), text);

    let mut decoder = Decoder::new(Special::Parse);
    let written: String = parsed.iter().map(|&token| decoder.push(&tokenizer, token)).collect();
    assert_eq!(written + &decoder.finish(), text);
    assert_eq!(tokenizer.encode("Hi", Special::Plain, true)[0], start);
}

#[test]
fn answers_end_where_llama_cpp_ends_them() {
    let tokenizer = tokenizer("bpe.gguf");
    let ends: Vec<&str> = tokenizer.ends().map(|token| tokenizer.token_text(token).unwrap()).collect();
    assert_eq!(ends, ["<|im_end|>", "<|endoftext|>"]);
    assert!(!tokenizer.is_end(0));
    let sentence = self::tokenizer("spm.gguf");
    let ends: Vec<&str> = sentence.ends().map(|token| sentence.token_text(token).unwrap()).collect();
    assert_eq!(ends, ["</s>", "<end_of_turn>"]);

    // In the family of gpt-oss `<|end|>` ends a part, not the answer.
    let with = |more: &[&str]| {
        let mut vocabulary = vocabulary("bpe.gguf");
        vocabulary.tokens = vocabulary.tokens.iter().chain(more.iter().copied()).collect();
        vocabulary.types = vocabulary.types.map(|mut types| {
            types.extend(more.iter().map(|_| 3));
            types
        });
        let tokenizer = Tokenizer::new(vocabulary).unwrap();
        tokenizer.is_end(tokenizer.token("<|end|>").unwrap())
    };
    assert!(with(&["<|end|>"]));
    assert!(!with(&["<|end|>", "<|return|>", "<|call|>"]));
}

#[test]
fn a_vocabulary_that_contradicts_itself_is_refused_by_the_key() {
    type Change = fn(&mut Vocabulary);
    let cases: [(&str, Change, &str); 17] = [
        ("bpe.gguf", |it| it.model = "bert".to_owned(), "`tokenizer.ggml.model` is `bert`"),
        ("bpe.gguf", |it| it.pre = Some("nobody".to_owned()), "`tokenizer.ggml.pre` is `nobody`"),
        ("bpe.gguf", |it| it.pre = None, "no `tokenizer.ggml.pre`"),
        ("bpe.gguf", |it| it.merges = None, "no `tokenizer.ggml.merges`"),
        ("bpe.gguf", |it| it.tokens = Texts::default(), "`tokenizer.ggml.tokens`"),
        ("bpe.gguf", |it| it.types = Some(vec![1; 3]), "`tokenizer.ggml.token_type` has 3 values"),
        (
            "bpe.gguf",
            |it| it.merges = Some(["a b", "nope nope"].iter().collect()),
            "`nope nope`, names `nope",
        ),
        ("bpe.gguf", |it| it.merges = Some(["ab"].iter().collect()), "number 0, `ab`"),
        ("bpe.gguf", |it| it.merges = Some([" a b"].iter().collect()), "number 0"),
        ("bpe.gguf", |it| it.ids.bos = Some(99_999), "`tokenizer.ggml.bos_token_id` is 99999"),
        ("bpe.gguf", |it| it.ids.bos = None, "no `tokenizer.ggml.bos_token_id`"),
        ("bpe.gguf", |it| it.tokens = it.tokens.iter().map(|text| text.replace('b', "a")).collect(), "twice"),
        ("spm.gguf", |it| it.scores = None, "no `tokenizer.ggml.scores`"),
        ("spm.gguf", |it| it.scores = Some(vec![0.0; 3]), "`tokenizer.ggml.scores` has 3 values"),
        ("spm.gguf", |it| it.scores.iter_mut().for_each(|all| all[7] = f32::NAN), "number 7 is NaN"),
        ("spm.gguf", |it| it.types.iter_mut().for_each(|all| all[0] = 6), "token 0, `<unk>`, as a byte"),
        (
            "spm.gguf",
            |it| it.tokens = it.tokens.iter().map(|text| text.replace("<0x80>", "<0x8>")).collect(),
            "no token for the byte 0x80",
        ),
    ];
    for (name, change, expected) in cases {
        let mut vocabulary = vocabulary(name);
        change(&mut vocabulary);
        let error = Tokenizer::new(vocabulary).err().expect(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut without_byte = vocabulary("spm.gguf");
    without_byte.types = None;
    without_byte.tokens = without_byte.tokens.iter().map(|text| text.replace("<0x80>", "x80")).collect();
    assert!(matches!(Tokenizer::new(without_byte), Err(TokenizerError::NoByte { byte: 0x80 })));
}

#[test]
fn an_empty_token_is_found_nowhere() {
    let mut vocabulary = vocabulary("bpe.gguf");
    vocabulary.tokens = vocabulary.tokens.iter().map(|text| text.replace("<mask>", "")).collect();
    let tokenizer = Tokenizer::new(vocabulary).unwrap();
    assert_eq!(tokenizer.decode(&tokenizer.encode("a <mask> b", Special::Parse, false)), "a <mask> b");
}

#[test]
fn long_texts_take_time_in_proportion() {
    let size = 1 << 20;
    let texts = [
        " ".repeat(size),
        "\n".repeat(size),
        "a".repeat(size),
        "1".repeat(size),
        "👍".repeat(size / 4),
        "\u{301}".repeat(size / 2),
        "<|im_start|>".repeat(size / 12),
        "<".repeat(size),
        format!("\n{}x", " ".repeat(size)),
        format!("Ä{}", "A".repeat(size)),
        " \n".repeat(size / 2),
        "'".repeat(size),
    ];
    let begin = Instant::now();
    for rule in ["smollm", "llama-bpe", "gpt-4o", "deepseek-v3", "deepseek-llm", "default", "spm"] {
        let tokenizer = of_rule(rule);
        for text in &texts {
            let tokens = tokenizer.encode(text, Special::Parse, false);
            assert!(!tokens.is_empty() && tokens.len() <= text.len() + 3, "{rule}");
        }
    }
    // Some seconds; what took the square of the length would take hours.
    assert!(begin.elapsed() < Duration::from_secs(240), "{:?}", begin.elapsed());
}

proptest! {
    #[test]
    fn a_stream_of_tokens_is_the_text_of_all(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        // In this vocabulary, the first 256 tokens behind three are the bytes.
        let tokenizer = tokenizer("spm.gguf");
        let mut decoder = Decoder::new(Special::Plain);
        let mut text: String =
            bytes.iter().map(|&byte| decoder.push(&tokenizer, 3 + u32::from(byte))).collect();
        text.push_str(&decoder.finish());
        prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_tokens_are_some_text(tokens in proptest::collection::vec(0..1400_u32, 0..40), odd in any::<u32>()) {
        for name in ["bpe.gguf", "spm.gguf"] {
            let tokenizer = tokenizer(name);
            tokenizer.decode(&tokens);
            let text = tokenizer.decode(&[odd.max(5000)]);
            prop_assert_eq!(text, "\u{fffd}");
        }
    }

    #[test]
    fn any_text_comes_back(text in "\\PC{0,40}|[ \\n\\ra-z'0-9<|>]{0,60}|.{0,30}") {
        let tokenizer = tokenizer("bpe.gguf");
        for special in [Special::Plain, Special::Parse] {
            let tokens = tokenizer.encode(&text, special, false);
            let mut decoder = Decoder::new(Special::Parse);
            let written: String = tokens.iter().map(|&token| decoder.push(&tokenizer, token)).collect();
            prop_assert_eq!(written + &decoder.finish(), text.clone());
        }
    }
}

fn said() -> Vec<Message> {
    vec![
        Message::new("system", " Be brief. "),
        Message::new("user", "Hi \"you\"\n"),
        Message::new("assistant", "Hello"),
        Message::new("user", "日本?"),
    ]
}

#[test]
fn a_file_has_its_template() {
    let (file, tokenizer) = (file("bpe.gguf"), tokenizer("bpe.gguf"));
    let template = ChatTemplate::from_gguf(&file, &tokenizer).unwrap();
    let text = template.render(&[Message::new("user", "Hi")], true).unwrap();
    assert_eq!(text, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    let none = ChatTemplate::from_gguf(&self::file("spm.gguf"), &tokenizer);
    assert!(matches!(none, Err(TemplateError::Missing)));
}

/// What Jinja 3.1 with the settings of `transformers` makes of the same.
#[test]
fn templates_are_rendered_as_by_transformers() {
    let llama2 = "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = \
        messages[0]['content'] %}{% else %}{% set rest = messages %}{% set system = false %}{% endif %}{% for m in rest %}\
        {% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}{% endif %}\
        {% if loop.index0 == 0 and system != false %}{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + \
        m['content'] %}{% else %}{% set content = m['content'] %}{% endif %}{% if m['role'] == 'user' %}\
        {{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}\
        {% endif %}{% endfor %}";
    let cases = [
        (
            llama2,
            "<s>[INST] <<SYS>>\n Be brief. \n<</SYS>>\n\nHi \"you\" [/INST] Hello </s><s>[INST] 日本? [/INST]",
        ),
        ("{{ messages[1:2] | tojson }}", r#"[{"role": "user", "content": "Hi \"you\"\n"}]"#),
        ("{{ [1, {'a': none}, []] | tojson(indent=2) }}", "[\n  1,\n  {\n    \"a\": null\n  },\n  []\n]"),
        ("{{ true }}{{ none }} {{ [true, 'a'] }}", "TrueNone [True, 'a']"),
        ("{{ none is iterable }}{{ 'a' is sequence }}{{ messages is mapping }}", "FalseTrueFalse"),
        ("a\n  {% if true %}\n b\n  {% endif %}\n c\n", "a\n b\n c"),
        (
            "{% for m in messages %}{% if loop.index == 2 %}{% continue %}{% endif %}{{ m.role[0] }}{% endfor %}",
            "sau",
        ),
        ("{%- generation -%}\n x {%- endgeneration %} y", "x y"),
        ("{{ messages[0].content.strip().upper() }}{{ 'a,b'.split(',') }}", "BE BRIEF.['a', 'b']"),
        ("{{ tools is none }}{{ nothing is defined }}{{ enable_thinking }}", "TrueFalseFalse"),
    ];
    let settings = [("enable_thinking", Setting::Flag(false))];
    for (source, expected) in cases {
        let template = ChatTemplate::new(source, "<s>", "</s>").unwrap();
        assert_eq!(template.render_with(&said(), true, &settings).unwrap(), expected, "{source}");
    }
    let template = ChatTemplate::new(llama2, "<s>", "</s>").unwrap();
    let refused = template.render(&[Message::new("assistant", "I")], true);
    assert!(matches!(refused, Err(TemplateError::Refused(reason)) if reason == "must alternate"));
}

#[test]
fn a_template_has_no_more_than_its_fuel() {
    let hostile = [
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{% set s = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set s.x = s.x ~ s.x %}{% endfor %}{{ s.x }}",
        "{% set s = namespace(x=[1]) %}{% for i in range(60) %}{% set s.x = [s.x, s.x] %}{% endfor %}{{ s.x | tojson }}",
        "{% set s = namespace(x=[1]) %}{% for i in range(60) %}{% set s.x = [s.x, s.x] %}{% endfor %}{{ s.x }}",
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 'a' * 1000000000000 }}",
        "{{ range(1000000000) | list | length }}",
        "{% for m in messages %}{{ m.content | replace('', m.content) | replace('', m.content) }}{% endfor %}",
    ];
    let messages = [Message::new("user", "x".repeat(20_000))];
    for source in hostile {
        let begin = Instant::now();
        let rendered =
            ChatTemplate::new(source, "", "").and_then(|template| template.render(&messages, true));
        assert!(rendered.is_err(), "{source}");
        assert!(begin.elapsed() < Duration::from_secs(30), "{source}: {:?}", begin.elapsed());
    }
    let forever = ChatTemplate::new(hostile[0], "", "").unwrap().render(&[], true);
    assert!(matches!(forever, Err(TemplateError::OutOfFuel { .. })), "{forever:?}");
}

#[test]
fn what_is_no_template_is_refused() {
    for source in
        ["{% for %}", "{{", "{% unknown %}", &"(".repeat(60_000), &"{{ (".repeat(10_000), "{% if 1 %}"]
    {
        let refused = ChatTemplate::new(source, "", "").and_then(|template| template.render(&[], true));
        let is_refused = match &refused {
            Err(TemplateError::Syntax(_)) => true,
            Ok(_) => source.starts_with("(("),
            Err(_) => false,
        };
        assert!(is_refused, "{refused:?}");
    }
    let long = ChatTemplate::new(&" ".repeat(2 << 20), "", "");
    assert!(matches!(long, Err(TemplateError::TooLong { bytes: 2_097_152, most: 65_536 })));
}

#[test]
fn they_can_be_used_from_many_threads() {
    fn check<T: Send + Sync>() {}
    check::<Tokenizer>();
    check::<ChatTemplate>();
    check::<Decoder>();
}
