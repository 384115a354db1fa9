//! Configurations that Python wrote: `NaN` and `Infinity`, which JSON does not have.
//!
//! In: a file's text. Out: the same with their names as texts in their place, so that a strict reader takes it and still says what
//! a key holds. Never here: a change inside a string, or of anything else; lines stay where they are, so that errors name the right
//! one.

use std::borrow::Cow;

/// What Python's `json` writes for numbers that JSON does not have; the longest first.
pub(super) const LITERALS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// The text with a text for each number that JSON does not have.
pub(super) fn without(text: &str) -> Cow<'_, str> {
    let mut strict = String::new();
    // What is copied so far, and whether the place that is looked at is in a string.
    let (mut copied, mut in_string) = (0, false);
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => at += 1,
            b'-' | b'I' | b'N' if !in_string => {
                let rest = &bytes[at..];
                if let Some(literal) = LITERALS.iter().find(|literal| rest.starts_with(literal.as_bytes())) {
                    // Both ends are at ASCII letters, so they are whole characters'.
                    strict.push_str(&text[copied..at]);
                    strict.extend(["\"", literal, "\""]);
                    at += literal.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    strict.push_str(&text[copied..]);
    Cow::Owned(strict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_that_json_does_not_have() {
        assert_eq!(
            without(r#"{"a": [0.0, Infinity], "b": -Infinity}"#),
            r#"{"a": [0.0, "Infinity"], "b": "-Infinity"}"#
        );
        assert_eq!(without("NaN"), "\"NaN\"");
        assert!(matches!(without(r#"{"a": -1}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn strings_stay() {
        let text = r#"{"NaN": "Infinity \" NaN \\", "b": NaN, "é": "-Infinity"}"#;
        assert_eq!(without(text), r#"{"NaN": "Infinity \" NaN \\", "b": "NaN", "é": "-Infinity"}"#);
        assert_eq!(without(r#""NaN\"#), r#""NaN\"#);
    }

    proptest! {
        #[test]
        fn json_stays(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(without(&json), json.as_str());
            without(&text);
        }
    }
}
