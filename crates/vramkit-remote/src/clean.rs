//! A stranger's JSON, made harmless to show: no character in its strings steers a terminal or turns what is read around, and none
//! of them is endless.
//!
//! The text is gone through once, before it is parsed: a name can be anywhere in it. What is no JSON before is none after.

use vramkit::monitor::text::{self, NAME, is_shown};
use vramkit_watch::Tick;

/// Characters of a string that are kept.
const LONGEST: usize = 4096;

/// The same document without them.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Within a string: characters of it so far.
    let mut inside: Option<usize> = None;
    while let Some(character) = rest.chars().next() {
        let Some(length) = inside else {
            if character == '"' {
                inside = Some(0);
            }
            out.push(character);
            rest = &rest[character.len_utf8()..];
            continue;
        };
        if character == '"' {
            inside = None;
            out.push(character);
            rest = &rest[1..];
            continue;
        }
        let (token, is_kept) = token(rest, character);
        rest = &rest[token.len()..];
        if length < LONGEST && is_kept {
            out.push_str(token);
            inside = Some(length + 1);
        } else if length == LONGEST && is_kept {
            out.push('…');
            inside = Some(length + 1);
        }
    }
    out
}

/// Names as long as this machine's own may be: each is part of a line.
pub(crate) fn names(tick: &mut Tick) {
    let short = |name: &mut String| *name = text::clean(name, NAME).into_owned();
    for device in &mut tick.devices {
        let snapshot = &mut device.snapshot;
        short(&mut snapshot.device.id);
        short(&mut snapshot.device.name);
        snapshot.device.uuid.iter_mut().for_each(short);
        device.holders.iter_mut().for_each(|holder| short(&mut holder.name));
        snapshot
            .processes
            .value
            .iter_mut()
            .flatten()
            .filter_map(|process| process.name.value.as_mut())
            .for_each(short);
    }
    tick.sources.iter_mut().for_each(|source| short(&mut source.source));
    tick.events.iter_mut().for_each(|event| short(&mut event.device));
}

/// One character of a string as it is written, and whether it is welcome.
fn token(rest: &str, character: char) -> (&str, bool) {
    if character != '\\' {
        return (&rest[..character.len_utf8()], is_shown(character));
    }
    let of = |rest: &str| {
        let digits = rest.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    match (of(rest), rest.get(6..).and_then(of)) {
        // The halves of one character stay together.
        (Some(high @ 0xd800..=0xdbff), Some(low @ 0xdc00..=0xdfff)) => {
            let both = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            (&rest[..12], char::from_u32(both).is_none_or(is_shown))
        }
        (Some(character), _) => (&rest[..6], char::from_u32(character).is_none_or(is_shown)),
        (None, _) => {
            let escaped = rest.chars().nth(1);
            let end = 1 + escaped.map_or(0, char::len_utf8);
            (&rest[..end], !matches!(escaped, Some('b' | 'f' | 'n' | 'r' | 't')))
        }
    }
}

#[cfg(test)]
mod tests {
    use vramkit_watch::{Health, SourceTick};

    use super::*;

    fn name(json: &str) -> String {
        serde_json::from_str(&clean(json)).unwrap()
    }

    #[test]
    fn what_steers_a_terminal_is_taken_out_however_it_is_written() {
        for json in [
            "\"a\u{9b}b\"",
            r#""a\u001bb""#,
            r#""a\u001Bb""#,
            r#""a\nb""#,
            r#""a\tb""#,
            r#""a\u202eb""#,
            "\"a\u{202e}b\"",
            "\"a\u{200b}b\"",
            r#""a\u0000b""#,
            r#""a\u061cb""#,
            "\"a\u{e0041}b\"",
            r#""a\udb40\udc41b""#,
        ] {
            assert_eq!(name(json), "ab", "{json:?}");
        }
    }

    #[test]
    fn everything_else_stays() {
        for text in ["", "plain", "\"quoted\" \\ back\\slash", "語 é 🦀", "\\u001b as words", "/home/ann"]
        {
            assert_eq!(name(&serde_json::to_string(text).unwrap()), text);
        }
        assert_eq!(name(r#""\ud83e\udd80 \u00e9 \/""#), "🦀 é /");
        let document = "{\n  \"a\": [1, 2.5e3, true, null],\t\"b\\\\\": {}\r\n}";
        assert_eq!(clean(document), document);
    }

    #[test]
    fn endless_names_end() {
        let long = name(&format!("\"{}\"", "x".repeat(100_000)));
        assert_eq!((long.chars().count(), long.ends_with('…')), (LONGEST + 1, true));
        assert_eq!(name(&format!("\"{}\"", "x".repeat(LONGEST))).len(), LONGEST);
    }

    #[test]
    fn what_is_part_of_a_line_is_a_name() {
        let mut tick = Tick::new("2026-01-01T00:00:00Z".to_owned());
        tick.sources.push(SourceTick::new("n".repeat(1000), Health::Up, tick.time.clone()));
        names(&mut tick);
        assert_eq!(tick.sources[0].source.chars().count(), NAME);
    }

    #[test]
    fn what_is_no_json_is_borne() {
        for text in
            ["\"", "\"\\", "\"\\u", "\"\\u12", "\"\\ud83e", "\"\\ud83e\\u00", "\\\"", "\"\\é", "\"\\uéééé\""]
        {
            clean(text);
        }
    }
}
