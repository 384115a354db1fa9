//! Texts of protocol 0, which are lines of letters.

/// A text as protocol 0 writes it: Latin letters as they are, others and line ends as `\\u00e9`, `\\U0001f600`; a `plain` one in quotes,
/// with `\\n`, `\\x41` and the like.
pub(super) fn unescaped(line: &[u8], plain: bool) -> String {
    let letters: String = line.iter().map(|&byte| char::from(byte)).collect();
    let letters = if plain { letters.trim_matches(['\'', '"']) } else { &letters };
    let mut text = String::with_capacity(letters.len());
    let mut rest = letters.chars();
    while let Some(letter) = rest.next() {
        let mut after = rest.clone();
        let digits = match (letter, after.next()) {
            ('\\', Some('u')) => 4,
            ('\\', Some('U')) => 8,
            ('\\', Some('x')) if plain => 2,
            ('\\', Some(letter @ ('n' | 'r' | 't' | '\\' | '\'' | '"'))) if plain => {
                text.push(match letter {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    letter => letter,
                });
                rest = after;
                continue;
            }
            _ => {
                text.push(letter);
                continue;
            }
        };
        let code: String = after.by_ref().take(digits).collect();
        match u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == digits) {
            // Half of a pair is no letter.
            Some(code) => text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
            None => {
                text.push(letter);
                continue;
            }
        }
        rest = after;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_what_they_were() {
        assert_eq!(unescaped(b"a\\u005cb\xe9\\U0001f600\\u12", false), "a\\b\u{e9}\u{1f600}\\u12");
        assert_eq!(unescaped(b"'a\\'b\\x41\\n\\\\'", true), "a'bA\n\\");
        assert_eq!(unescaped(b"a\\ud83d\\", false), "a\u{fffd}\\");
    }
}
