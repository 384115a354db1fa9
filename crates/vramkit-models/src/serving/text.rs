//! Finds numbers in lines that programs print for people.

use std::borrow::Cow;

/// A line without colours, and with the quotes that a container's log escapes.
pub(super) fn plain(line: &str) -> Cow<'_, str> {
    let mut plain = Cow::Borrowed(line);
    if line.contains('\x1b') {
        let mut parts = line.split('\x1b');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            // `[` and numbers up to a letter.
            let ends = part.find(|c: char| c.is_ascii_alphabetic()).map_or(part.len(), |at| at + 1);
            text.push_str(part.get(ends..).unwrap_or_default());
        }
        plain = Cow::Owned(text);
    }
    if plain.starts_with('{') && plain.contains("\\\"") {
        plain = Cow::Owned(plain.replace("\\\"", "\""));
    }
    plain
}

/// What stands behind a word.
pub(super) fn after<'l>(line: &'l str, word: &str) -> Option<&'l str> {
    line.find(word).map(|at| &line[at + word.len()..])
}

/// What stands behind a word, whatever its case; only ASCII.
pub(super) fn after_any_case<'l>(line: &'l str, word: &str) -> Option<&'l str> {
    let at = line.as_bytes().windows(word.len()).position(|at| at.eq_ignore_ascii_case(word.as_bytes()))?;
    line.get(at + word.len()..)
}

/// The whole number that text begins with, thousands set off by commas or not.
pub(super) fn number(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let mut value: Option<u64> = None;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                let digit = u64::from(byte - b'0');
                value = Some(value.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
            }
            b',' if value.is_some() && is_group(bytes, at + 1) => {}
            _ => break,
        }
    }
    value
}

/// Whether three digits stand here, and no fourth.
fn is_group(bytes: &[u8], at: usize) -> bool {
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    digit(at) && digit(at + 1) && digit(at + 2) && !digit(at + 3)
}

/// The number with decimals that text begins with.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let text = text.trim_start();
    let ends = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text[..ends].trim_end_matches('.').parse().ok()
}

/// The amount of memory that text begins with: `16.00 GiB`, `1088.00 MiB`; SGLang calls GiB `GB`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let amount = decimal(text)?;
    let text = text.trim_start();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start();
    let one = match unit.get(..2)? {
        "Gi" | "GB" => 1u64 << 30,
        "Mi" | "MB" => 1 << 20,
        "Ki" | "KB" => 1 << 10,
        "Ti" | "TB" => 1 << 40,
        _ => return None,
    };
    let bytes = amount * one as f64;
    (bytes < u64::MAX as f64).then_some(bytes.round() as u64)
}

/// What a program's settings have under a name: `name=1`, `'name': 1`, `"name":1`, `name: Some(1)`, `name = 1`.
pub(super) fn setting<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let mut from = 0;
    while let Some(at) = line.get(from..)?.find(name).map(|at| at + from) {
        from = at + name.len();
        let is_whole = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-');
        let behind = line[from..].trim_start_matches(['\'', '"']).trim_start();
        let value = behind.strip_prefix('=').or_else(|| behind.strip_prefix(':'));
        if let (true, Some(value)) = (is_whole, value) {
            return Some(value.trim_start().trim_start_matches("Some(").trim_start_matches(['\'', '"']));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_programs_print_them() {
        for (text, expected) in [
            ("299,584 tokens", Some(299_584)),
            ("7406, # CPU", Some(7406)),
            (" 4096,32 layers", Some(4096)),
            ("1,2345", Some(1)),
            ("x", None),
            ("", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
        assert_eq!(bytes("16.00 GiB"), Some(16 << 30));
        assert_eq!(bytes("5.38GiB."), Some(5_776_731_013));
        assert_eq!(bytes("512.00 MiB ( 4096"), Some(512 << 20));
        assert_eq!(bytes("-0.94GiB"), None);
        assert_eq!(bytes("1.5"), None);
    }

    #[test]
    fn settings_are_found_by_their_whole_name() {
        assert_eq!(setting("a={'max_model_len': 8192}", "max_model_len").and_then(number), Some(8192));
        assert_eq!(setting("xmax_len=1, max_len=2", "max_len").and_then(number), Some(2));
        assert_eq!(
            setting("max_batch_total_tokens: Some(16000)", "max_batch_total_tokens").and_then(number),
            Some(16000)
        );
        assert_eq!(setting("n_ctx         = 8192", "n_ctx").and_then(number), Some(8192));
        assert_eq!(setting("n_ctx_seq = 1", "n_ctx"), None);
        assert_eq!(setting("max_len=None", "max_len").and_then(number), None);
    }

    #[test]
    fn colours_and_escapes_are_taken_off() {
        assert_eq!(plain("\x1b[1;36m(EngineCore)\x1b[0;0m x"), "(EngineCore) x");
        assert_eq!(plain(r#"{"log":"a{b=\"1\"}"}"#), r#"{"log":"a{b="1"}"}"#);
    }
}
