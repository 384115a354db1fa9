//! Lines of a shell that start servers: `llama-server …` and `vllm serve …`, as in a script.
//!
//! Variables that lines before them set, and those of the environment, are put in. Every other line is passed over.

use std::collections::HashMap;

use super::place::Place;
use crate::command;
use crate::error::SetsError;
use crate::file::{Entry, Kind, SetsFile};

/// Programs that name a server and do not start it.
const OTHERS: &[&str] = &[
    "apt", "brew", "cd", "chmod", "command", "curl", "echo", "git", "if", "kill", "killall", "pip", "pip3",
    "pkill", "printf", "which",
];

/// The longest that a line becomes by variables.
const MOST_LINE: usize = 1 << 20;

pub(super) fn read(place: &Place<'_>, text: String) -> Result<SetsFile, SetsError> {
    let mut set: HashMap<String, String> = HashMap::new();
    let mut entries: Vec<Entry> = Vec::new();
    for (number, line) in joined(&text) {
        let variable = |name: &str| set.get(name).cloned().or_else(|| (place.reading.variable)(name));
        let line = put(&line, &variable).ok_or_else(|| {
            place.invalid(number, format!("variables make more than {MOST_LINE} bytes of it"))
        })?;
        let Some(words) = command::split(&line) else {
            return Err(place.invalid(number, "a quote is not closed"));
        };
        let words = command::until_shell(&words);
        let assigned = words.strip_prefix(&["export".to_owned()]).unwrap_or(words);
        if assigned.iter().all(|word| word.contains('=') && !word.starts_with('-')) {
            set.extend(
                assigned
                    .iter()
                    .filter_map(|word| word.split_once('='))
                    .map(|(a, b)| (a.to_owned(), b.to_owned())),
            );
            continue;
        }
        if !words.iter().any(|word| mentions_server(word))
            || words.first().is_none_or(|word| OTHERS.contains(&word.as_str()))
        {
            continue;
        }
        let found = command::read(words, &[], place.reading.backend);
        let name = name(words, found.model.as_deref(), &entries, number);
        entries.push(place.entry(&name, number, found));
        place.count(entries.len(), number)?;
    }
    if entries.is_empty() {
        return Err(place.invalid(1, "no line starts `llama-server` or `vllm serve`"));
    }
    let file = place.file.clone();
    Ok(SetsFile {
        file,
        kind: Kind::Commands,
        entries,
        promised: Vec::new(),
        memory: None,
        notes: Vec::new(),
        text,
    })
}

/// Whether a text names a server or an image of one.
pub(super) fn mentions_server(text: &str) -> bool {
    ["llama-server", "llama serve", "llama.cpp:", "vllm"].iter().any(|name| text.contains(name))
        || text == "llama"
}

/// What the server calls its model, else the model's own name; with its line where that is taken.
fn name(words: &[String], model: Option<&str>, others: &[Entry], line: usize) -> String {
    let after = |option: &str| {
        let given = words.iter().find_map(|word| word.strip_prefix(option)?.strip_prefix('='));
        let next = words.iter().position(|word| word == option).and_then(|at| words.get(at + 1));
        given.or(next.map(String::as_str))
    };
    let stem = model.map(|model| {
        let last = model.trim_end_matches('/').rsplit('/').next().unwrap_or(model);
        last.strip_suffix(".gguf").unwrap_or(last)
    });
    let name =
        ["--served-model-name", "--alias", "-a"].into_iter().find_map(after).or(stem).unwrap_or("server");
    let taken = others.iter().any(|other| other.name == name);
    if taken || name.is_empty() { format!("{name} (line {line})") } else { name.to_owned() }
}

/// Lines with those that a backslash continues joined, each with the number of its first.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
        let (part, continues) = match line.trim_end().strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        match lines.last_mut() {
            Some((_, last)) if open => {
                last.push(' ');
                last.push_str(part);
            }
            _ => lines.push((number, part.to_owned())),
        }
        open = continues;
    }
    lines.retain(|(_, line)| !line.trim_start().starts_with('#') && !line.trim().is_empty());
    lines
}

/// `$NAME` and `${NAME}` put in; what is not set stays as it is, and single quotes keep it.
fn put(line: &str, variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let mut out = String::with_capacity(line.len());
    let mut quoted = false;
    let mut rest = line;
    while let Some(at) = rest.find(['$', '\'']) {
        out.push_str(&rest[..at]);
        let found = &rest[at..];
        rest = &found[1..];
        if found.starts_with('\'') || quoted {
            quoted ^= found.starts_with('\'');
            out.push_str(&found[..1]);
            continue;
        }
        let braces = rest.strip_prefix('{');
        let inner = braces.unwrap_or(rest);
        let length = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len());
        let (name, after) = inner.split_at(length);
        let after = if braces.is_some() { after.strip_prefix('}') } else { Some(after) };
        match (after, variable(name)) {
            (Some(after), Some(value)) if !name.is_empty() => {
                out.push_str(&value);
                rest = after;
            }
            _ => out.push('$'),
        }
        (out.len() <= MOST_LINE).then_some(())?;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_where_a_shell_would() {
        let variable = |name: &str| (name == "M").then(|| "/m".to_owned());
        assert_eq!(put("a $M/x ${M}y '$M' $N \"$M\" $", &variable).unwrap(), "a /m/x /my '$M' $N \"/m\" $");
    }

    #[test]
    fn continued_lines_are_one() {
        let lines = joined("a \\\n  b\n# c\n\nd\n");
        assert_eq!(lines, [(1, "a    b".to_owned()), (5, "d".to_owned())]);
    }
}
