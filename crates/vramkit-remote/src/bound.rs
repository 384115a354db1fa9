//! A stranger's JSON, made small before it is parsed: of each list so many items, and of all lists together so many.
//!
//! The text is gone through once; what is left out is never parsed, so that what it would take in memory is not taken. What
//! was left out is counted by the name of its list. A text that is no JSON is passed on to whoever parses it.

use std::collections::BTreeMap;

/// Items of a list, of whatever kind.
const ITEMS: usize = 512;
/// Devices of a machine, and lines about what stands how or is not there.
const LINES: usize = 256;
/// Items of all lists of a document, numbers aside: the memory of each is some hundred bytes.
const ALL: usize = 1 << 17;
/// Lists within lists; the parser goes no deeper.
const DEEPEST: usize = 128;
/// Names of lists that are told apart.
const NAMES: usize = 16;

/// What was left out: items kept and items in all, by the name of the list.
pub(crate) type LeftOut = BTreeMap<String, (usize, usize)>;

struct List<'a> {
    name: &'a str,
    is_object: bool,
    items: usize,
}

/// The same document with short lists, and what they lack.
pub(crate) fn bound(text: &str) -> (String, LeftOut) {
    let (mut out, mut left_out) = (String::new(), LeftOut::new());
    let mut lists: Vec<List<'_>> = Vec::new();
    // From where on the text is kept, and of a list that is cut, its depth and what it has kept.
    let (mut from, mut cut): (usize, Option<(usize, usize)>) = (0, None);
    let (mut string, mut name, mut before) = ("", "", b' ');
    let (mut all, mut at) = (0usize, 0);
    let bytes = text.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = end_of_string(bytes, at);
                string = text.get(at + 1..end).unwrap_or_default();
                at = end;
            }
            b':' => name = string,
            b'[' | b'{' => {
                if lists.len() == DEEPEST {
                    // The parser refuses what is cut here, as it would refuse the whole.
                    out.push_str(text.get(from..at).filter(|_| cut.is_none()).unwrap_or_default());
                    return (out, left_out);
                }
                let name = if name.is_empty() { lists.last().map_or("", |list| list.name) } else { name };
                lists.push(List { name, is_object: byte == b'{', items: 1 });
            }
            b',' => {
                let depth = lists.len();
                if let Some(list) = lists.last_mut() {
                    // A number takes no memory to speak of, and the rest of an object is needed.
                    let is_counted = !list.is_object && matches!(before, b'}' | b']' | b'"');
                    all += usize::from(is_counted && cut.is_none());
                    let is_full = list.items >= most(list.name) || (is_counted && all >= ALL);
                    if cut.is_none() && is_full {
                        out.push_str(text.get(from..at).unwrap_or_default());
                        cut = Some((depth, list.items));
                    }
                    list.items += 1;
                }
            }
            b']' | b'}' => {
                let depth = lists.len();
                if let Some(list) = lists.pop()
                    && let Some((_, kept)) = cut.filter(|(cut, _)| *cut == depth)
                {
                    note(&mut left_out, list.name, kept, list.items);
                    (from, cut) = (at, None);
                }
            }
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            before = byte;
            if byte != b':' && byte != b'"' {
                name = "";
            }
        }
        at += 1;
    }
    if cut.is_none() {
        out.push_str(text.get(from..).unwrap_or_default());
    }
    (out, left_out)
}

/// What was left out, in words.
pub(crate) fn words(left_out: &LeftOut) -> Vec<String> {
    let line = |(name, (kept, all)): (&String, &(usize, usize))| {
        let name = if name == "unavailable" { "lines about what is not there" } else { name };
        format!("only {kept} of its {all} {} are taken", name.replace('_', " "))
    };
    left_out.iter().map(line).collect()
}

fn most(name: &str) -> usize {
    if matches!(name, "devices" | "sources" | "unavailable") { LINES } else { ITEMS }
}

/// Where a string that begins here ends: its closing mark, or the last byte.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn note(left_out: &mut LeftOut, name: &str, kept: usize, all: usize) {
    // The name is a stranger's as well.
    let is_plain = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let name = if is_plain && !name.is_empty() && left_out.len() < NAMES { name } else { "other items" };
    let entry = left_out.entry(name.to_owned()).or_default();
    (entry.0, entry.1) = (entry.0 + kept, entry.1 + all);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_short_stays_as_it_is() {
        for text in [
            "",
            "{}",
            r#"{"a": [1, {"b": "x,]}\"[", "c": []}], "d\\": "\\", "e": -1.5e3}"#,
            "not json, at all",
            "\"",
            "\"\\",
            "]]}},,",
            "é\"é\\é",
        ] {
            assert_eq!(bound(text), (text.to_owned(), LeftOut::new()), "{text}");
        }
    }

    #[test]
    fn of_long_lists_the_first_items_are_kept_and_the_rest_is_counted_by_name() {
        let holder = json!({"name": "a, ]", "list": [1, 2]});
        let device = json!({"holders": vec![holder.clone(); 2000], "level": "high", "few": vec![holder; 3]});
        let document = json!({"devices": [device, device], "unavailable": vec!["x"; 300], "last": 7});
        let (text, left_out) = bound(&document.to_string());
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found["devices"][1]["holders"].as_array().unwrap().len(), ITEMS);
        assert_eq!((&found["devices"][1]["level"], &found["last"]), (&json!("high"), &json!(7)));
        assert_eq!(found["unavailable"].as_array().unwrap().len(), LINES);
        assert_eq!(
            words(&left_out),
            [
                "only 1024 of its 4000 holders are taken",
                "only 256 of its 300 lines about what is not there are taken"
            ]
        );
        let spaced = serde_json::to_string_pretty(&document).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&bound(&spaced).0).unwrap(), found);
    }

    #[test]
    fn many_lists_are_bounded_together_and_the_rest_of_each_object_stays() {
        let device =
            json!({"pools": vec![json!({"owners": vec![json!({}); 500]}); 100], "levels": [0, 0, 0, 1]});
        let (text, left_out) = bound(&json!({"devices": vec![device; 20], "last": 7}).to_string());
        let found: Value = serde_json::from_str(&text).unwrap();
        let devices = found["devices"].as_array().unwrap();
        assert!(devices.len() < 20 && devices.iter().all(|device| device["levels"] == json!([0, 0, 0, 1])));
        assert_eq!(found["last"], json!(7));
        assert!(text.matches("{}").count() <= ALL);
        assert_eq!(left_out["devices"], (devices.len(), 20));
    }

    #[test]
    fn what_nests_for_ever_and_what_has_names_of_its_own_is_borne() {
        assert!(bound(&"[".repeat(1 << 20)).0.len() <= DEEPEST);
        let lists: Vec<String> =
            (0..100).map(|n| format!("\"\\u001b{n}\":[{}0]", "0,".repeat(600))).collect();
        let (text, left_out) = bound(&format!("{{{}}}", lists.join(",")));
        assert!(serde_json::from_str::<Value>(&text).is_ok());
        assert_eq!(left_out.into_iter().collect::<Vec<_>>(), [("other items".to_owned(), (51_200, 60_100))]);
    }
}
