//! A template's values as JSON, written as Python's `json.dumps` writes them: with blanks behind commas and colons.

use minijinja::Value;
use minijinja::value::ValueKind;

/// Deepest nesting that is written.
const DEEPEST: usize = 64;
/// Most bytes that are written: a value that holds itself many times is far larger than what it took to make.
const LONGEST: usize = 1 << 20;

/// Writes a value; with an indent, each entry on a line of its own.
pub(super) fn write(value: &Value, indent: Option<usize>) -> Result<String, String> {
    let mut writer = Writer { written: String::new(), indent: indent.map(|indent| indent.min(64)) };
    writer.value(value, 0)?;
    Ok(writer.written)
}

struct Writer {
    written: String,
    indent: Option<usize>,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        if depth > DEEPEST {
            return Err(format!("JSON of more than {DEEPEST} levels"));
        }
        if self.written.len() > LONGEST {
            return Err(format!("JSON of more than {LONGEST} bytes"));
        }
        match value.kind() {
            ValueKind::None => self.written.push_str("null"),
            ValueKind::Bool => self.written.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.written.push_str(&value.to_string()),
            ValueKind::String => self.text(value.as_str().unwrap_or_default()),
            ValueKind::Map => {
                self.open('{');
                for (at, key) in value.try_iter().map_err(|error| error.to_string())?.enumerate() {
                    self.next(at, depth + 1);
                    self.text(&key.to_string());
                    self.written.push_str(": ");
                    let entry = value.get_item(&key).map_err(|error| error.to_string())?;
                    self.value(&entry, depth + 1)?;
                }
                self.close('{', '}', depth);
            }
            ValueKind::Seq | ValueKind::Iterable => {
                self.open('[');
                for (at, entry) in value.try_iter().map_err(|error| error.to_string())?.enumerate() {
                    self.next(at, depth + 1);
                    self.value(&entry, depth + 1)?;
                }
                self.close('[', ']', depth);
            }
            kind => return Err(format!("no JSON for a value that is {kind}")),
        }
        Ok(())
    }

    fn open(&mut self, bracket: char) {
        self.written.push(bracket);
    }

    fn next(&mut self, at: usize, depth: usize) {
        if at > 0 {
            self.written.push_str(if self.indent.is_some() { "," } else { ", " });
        }
        self.line(depth);
    }

    fn close(&mut self, opened: char, bracket: char, depth: usize) {
        if !self.written.ends_with(opened) {
            self.line(depth);
        }
        self.written.push(bracket);
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = self.indent {
            self.written.push('\n');
            self.written.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn text(&mut self, text: &str) {
        self.written.push('"');
        for character in text.chars() {
            match character {
                '"' => self.written.push_str("\\\""),
                '\\' => self.written.push_str("\\\\"),
                '\n' => self.written.push_str("\\n"),
                '\r' => self.written.push_str("\\r"),
                '\t' => self.written.push_str("\\t"),
                '\u{8}' => self.written.push_str("\\b"),
                '\u{c}' => self.written.push_str("\\f"),
                '\0'..' ' => self.written.push_str(&format!("\\u{:04x}", u32::from(character))),
                _ => self.written.push(character),
            }
        }
        self.written.push('"');
    }
}
