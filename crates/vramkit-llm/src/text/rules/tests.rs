//! The rules against the expressions that they stand for, on texts of any kind.

use fancy_regex::Regex;
use proptest::prelude::*;

use super::super::words::cut;
use super::named;

const CONTRACTIONS: &str = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

fn gpt4(first: &str, numbers: &str, behind: &str) -> String {
    format!(
        r"{first}[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}| ?[^\s\p{{L}}\p{{N}}]+{behind}|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
}

fn gpt4o(contractions: &str, numbers: &str) -> String {
    let (upper, lower) = (r"[\p{L}&&[^a-z]]", r"[\p{L}&&[^A-Z]]");
    let lead = r"[^\r\n\p{L}\p{N}]?";
    format!(
        r"{lead}{upper}*{lower}+{contractions}|{lead}{upper}+{lower}*{contractions}|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
}

/// Rules and what they stand for, a step after the other.
fn rules() -> Vec<(&'static str, Vec<String>)> {
    let own = |steps: &[&str]| steps.iter().map(|&step| step.to_owned()).collect::<Vec<_>>();
    let any_case = format!("{CONTRACTIONS}|");
    vec![
        ("gpt-2", own(&[GPT2])),
        ("smollm", own(&[r"\p{N}", GPT2])),
        ("default", own(&[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"])),
        ("falcon", own(&[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"])),
        ("llama-bpe", vec![gpt4(&any_case, r"\p{N}{1,3}", r"[\r\n]*")]),
        ("qwen2", vec![gpt4(&any_case, r"\p{N}", r"[\r\n]*")]),
        ("seed-coder", vec![gpt4(&any_case, r"\p{N}", "")]),
        ("ufakzeka", vec![gpt4("", r"\p{N}", r"[\r\n]*")]),
        ("minicpm5", vec![r"\p{N}{1,3}".to_owned(), gpt4(&any_case, r"\p{N}+", r"[\r\n]*")]),
        ("laguna", vec![r"[^\n]+|[\n]+".to_owned(), gpt4(&any_case, r"\p{N}", r"[\r\n]*")]),
        (
            "qwen35",
            vec![format!(
                r"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            )],
        ),
        ("tekken", vec![gpt4o("", r"\p{N}")]),
        ("gpt-4o", vec![gpt4o(&format!("{CONTRACTIONS}?"), r"\p{N}{1,3}")]),
        (
            "deepseek-v3",
            own(&[
                r"\p{N}{1,3}",
                r"[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+",
                r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
            ]),
        ),
        (
            "deepseek-coder",
            own(&[
                r"[\r\n]",
                r"\s?\p{L}+",
                r"\s?\p{P}+",
                r"[[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]&&\S]+",
                r"\p{N}",
            ]),
        ),
        ("viking", own(&[r" ?[^(\s|.,!?…。，、।۔،)]+", r"\p{N}"])),
    ]
}

/// The matches of an expression, and what lies between.
fn pieces<'t>(step: &Regex, text: &'t str) -> Vec<&'t str> {
    let (mut found, mut from) = (Vec::new(), 0);
    for part in step.find_iter(text) {
        let part = part.unwrap();
        found.extend([&text[from..part.start()], part.as_str()]);
        from = part.end();
    }
    found.push(&text[from..]);
    found.into_iter().filter(|piece| !piece.is_empty()).collect()
}

fn text() -> impl Strategy<Value = String> {
    // No character that came into Unicode after 15.1, which the expressions know and the rules do not.
    let some = r"[ \n\r\t'stmrevldSTLREa-zA-Z0-9!/.,<|>$ÄäßéжЖ\u{301}\u{4e00}-\u{4e40}\u{3040}-\u{3050}\u{ac00}\u{1f44d}\u{200d}\u{a0}\u{3000}½٣ⅧʰǅΩ。（）]{0,24}";
    prop_oneof![some, r"[ \n\r]{0,12}[a-zA-Z]{0,3}[ \n\r]{0,5}", r"[\u{0}-\u{240}]{0,30}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn rules_cut_as_their_expressions(text in text()) {
        thread_local! {
            static COMPILED: Vec<(&'static str, Vec<Regex>)> = rules()
                .into_iter()
                .map(|(name, steps)| (name, steps.iter().map(|step| Regex::new(step).unwrap()).collect()))
                .collect();
        }
        COMPILED.with(|rules| {
            for (name, steps) in rules {
                let mut expected = vec![text.as_str()];
                for step in steps {
                    expected = expected.into_iter().flat_map(|piece| pieces(step, piece)).collect();
                }
                expected.retain(|piece| !piece.is_empty());
                let mut found = Vec::new();
                cut(named(name).unwrap().steps, &text, &mut |piece| found.push(piece));
                prop_assert_eq!(&found, &expected, "{}", name);
            }
            Ok(())
        })?;
    }
}

#[test]
fn a_name_has_one_rule() {
    let mut names: Vec<&str> = super::RULES.iter().flat_map(|rule| rule.names).copied().collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|two| two[0] != two[1]));
    assert!(named("nobody").is_none() && named("").is_none());
}
