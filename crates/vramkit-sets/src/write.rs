//! llama-swap's file with the maximal sets in it.
//!
//! In: the file and the sets. Out: its text, as it was but for one block between two comments: a matrix, as llama-swap's release
//! v250 takes it under `routing.router`. A block that is there from before is replaced where it is. Sets, groups or a router of
//! the user's own are never touched: then nothing is written, and the error says what is in the way. What is given out has been
//! read again and says the same as before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use vramkit_fit::Backend;
use vramkit_units::ByteSize;

use crate::error::SetsError;
use crate::file::{Kind, SetsFile};
use crate::read::{read_text, with_environment};
use crate::reading::Reading;
use crate::solve::MaximalSets;
use crate::yaml::{Node, Value, document};

/// How the block begins.
const BEGIN: &str = "# vramkit: begin";
/// How it ends.
const END: &str = "# vramkit: end";
/// The longest name of a var.
const LONGEST_VAR: usize = 32;

/// The text of a llama-swap configuration with the sets in it, in the format of release v250 (`routing.router`, `use: matrix`).
///
/// ```
/// use std::path::Path;
/// use vramkit_sets::{Reading, maximal_sets, read_text, write_llama_swap};
/// use vramkit_units::ByteSize;
///
/// let text = "models:\n  a:\n    cmd: llama-server -m a.gguf\n  b:\n    cmd: llama-server -m b.gguf\n";
/// let file = read_text(Path::new("llama-swap.yaml"), text.to_owned(), &Reading::default())?;
/// let sizes = [("a".to_owned(), ByteSize::gib(9)), ("b".to_owned(), ByteSize::gib(4))];
/// let written = write_llama_swap(&file, &maximal_sets(&sizes, ByteSize::gib(16)))?;
/// assert!(written.starts_with(text) && written.contains("fit-1: \"a & b\""));
/// # Ok::<(), vramkit_sets::SetsError>(())
/// ```
pub fn write_llama_swap(file: &SetsFile, sets: &MaximalSets) -> Result<String, SetsError> {
    let cannot = |reason: &str| SetsError::CannotWrite { file: file.file.clone(), reason: reason.to_owned() };
    if file.kind != Kind::LlamaSwap {
        return Err(cannot("only llama-swap's configuration is given back with sets in it"));
    }
    if sets.sets.is_empty() {
        return Err(cannot("no model of it fits, so there are no sets to write"));
    }
    let (mut lines, before) = without_block(&file.text).ok_or_else(|| {
        cannot(
            "the comments around the sets written before do not match; take what is left of that block out",
        )
    })?;
    let yaml = document(&with_environment(&lines.concat(), &|_| None));
    let yaml = yaml.map_err(|(line, reason)| SetsError::Invalid { file: file.file.clone(), line, reason })?;
    let (Some(root), false) = (&yaml.root, yaml.followed) else {
        return Err(cannot("it is no single YAML document without an end of its own"));
    };
    if matches!(root.value, Value::Map { braces: true, .. }) {
        return Err(cannot("it is written in braces, to which no comment and no block can be added"));
    }
    untouched(file, root)?;
    let at = place(root, before, lines.len()).ok_or_else(|| {
        cannot("`routing` is written in a way to which no router can be added; write it as a block")
    })?;
    let ending = if file.text.contains("\r\n") { "\r\n" } else { "\n" };
    let block = block(file, sets, &at).map_err(|reason| cannot(&reason))?;
    if let Some(last) = lines.get_mut(at.line.wrapping_sub(1)).filter(|last| !last.ends_with('\n')) {
        last.push_str(ending);
    }
    lines.insert(at.line, block.replace('\n', ending));
    let text = lines.concat();
    if !says_the_same(file, root, sets, &text) {
        return Err(cannot("the sets cannot be added without changing what else it says"));
    }
    Ok(text)
}

/// Where the block goes.
struct At {
    /// After so many lines.
    line: usize,
    /// Blanks before each of its lines.
    indent: usize,
    /// Whether `routing` is part of the block.
    routing: bool,
}

/// Its lines without a block written before, and after how many of them that was.
fn without_block(text: &str) -> Option<(Vec<String>, Option<usize>)> {
    let mut lines = Vec::new();
    let mut at = None;
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        if trimmed.starts_with(BEGIN) {
            if inside || at.is_some() {
                return None;
            }
            inside = true;
            at = Some(lines.len());
        } else if trimmed.starts_with(END) {
            if !inside {
                return None;
            }
            inside = false;
        } else if !inside {
            lines.push(line.to_owned());
        }
    }
    (!inside).then_some((lines, at))
}

/// Nothing of the user's own is where the sets would go.
fn untouched(file: &SetsFile, root: &Node) -> Result<(), SetsError> {
    let of = |node: &'_ Node, name: &str| {
        let found = node.pairs().find(|(key, value)| key.text() == Some(name) && !value.is_null());
        found.map(|(key, _)| key.line)
    };
    let router = root.get("routing").and_then(|routing| of(routing, "router"));
    for (key, line) in
        [("groups", of(root, "groups")), ("matrix", of(root, "matrix")), ("routing.router", router)]
    {
        if let Some(line) = line {
            return Err(SetsError::HandWritten { file: file.file.clone(), line, key: key.to_owned() });
        }
    }
    Ok(())
}

fn place(root: &Node, before: Option<usize>, lines: usize) -> Option<At> {
    let routing = root.pairs().find(|(key, _)| key.text() == Some("routing"));
    let Some((key, value)) = routing else {
        return Some(At { line: before.unwrap_or(lines), indent: root.column, routing: true });
    };
    let indent = match &value.value {
        Value::Map { entries, braces: false } => entries.first().map(|(key, _)| key.column)?,
        Value::Scalar { text, plain: true } if text.is_empty() => root.column + 2,
        _ => return None,
    };
    Some(At { line: key.line, indent, routing: false })
}

fn block(file: &SetsFile, sets: &MaximalSets, at: &At) -> Result<String, String> {
    let members: BTreeSet<&str> = sets.sets.iter().flat_map(|set| &set.models).map(String::as_str).collect();
    if let Some(stranger) = members.iter().find(|name| file.entries.iter().all(|entry| entry.name != **name))
    {
        return Err(format!("it has no model `{stranger}`"));
    }
    if let Some(name) = members.iter().find(|name| name.contains("${") || name.chars().any(char::is_control))
    {
        return Err(format!("the name of `{}` cannot be written as a set's member", name.escape_debug()));
    }
    let vars = vars(file, &members)?;
    let of = |name: &String| vars.get(name.as_str()).map_or_else(|| name.clone(), Clone::clone);
    let mut lines = vec![format!(
        "{BEGIN}: sets of models that fit together in {}; written again as a whole",
        sets.capacity
    )];
    if sets.truncated {
        lines.push("# There are more sets that fit than are listed.".to_owned());
    }
    for (name, size) in &sets.too_large {
        lines.push(format!("# Not in a set: {} takes {size} and does not fit alone.", quoted(name)));
    }
    let large = |name: &str| sets.too_large.iter().any(|(large, _)| large == name);
    for entry in
        file.entries.iter().filter(|entry| !members.contains(entry.name.as_str()) && !large(&entry.name))
    {
        lines.push(format!(
            "# Not in a set: what {} takes is not known, so it runs alone.",
            quoted(&entry.name)
        ));
    }
    if at.routing {
        lines.push("routing:".to_owned());
    }
    let inner = if at.routing { "  " } else { "" };
    lines.push(format!("{inner}router:"));
    lines.push(format!("{inner}  use: matrix"));
    lines.push(format!("{inner}  settings:"));
    lines.push(format!("{inner}    matrix:"));
    if !vars.is_empty() {
        lines.push(format!("{inner}      vars:"));
        lines.extend(
            vars.iter().map(|(name, var)| format!("{inner}        {}: {}", quoted(var), quoted(name))),
        );
    }
    lines.push(format!("{inner}      sets:"));
    for (set, number) in sets.sets.iter().zip(1..) {
        let names: Vec<String> = set.models.iter().map(of).collect();
        let left = ByteSize::new(u64::try_from(set.headroom_bytes).unwrap_or(0));
        let said = format!("# {}, {left} left", set.total);
        lines.push(format!("{inner}        fit-{number}: \"{}\" {said}", names.join(" & ")));
    }
    lines.push(END.to_owned());
    let indent = " ".repeat(at.indent);
    Ok(lines.iter().map(|line| format!("{indent}{line}\n")).collect())
}

/// Short names for models whose own cannot stand in an expression, none of them another model's.
fn vars<'a>(file: &SetsFile, members: &BTreeSet<&'a str>) -> Result<BTreeMap<&'a str, String>, String> {
    let mut taken: BTreeSet<String> = file.entries.iter().map(|entry| entry.name.clone()).collect();
    let plain = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    let mut vars = BTreeMap::new();
    for name in members.iter().filter(|name| !plain(name)) {
        let spelt: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
            .take(LONGEST_VAR)
            .collect();
        let numbered = (2..).map(|number: u32| {
            let number = format!("-{number}");
            format!("{}{number}", &spelt[..spelt.len().min(LONGEST_VAR - number.len())])
        });
        let mut choices = std::iter::once(spelt.clone()).chain(numbered);
        let free = choices.find(|var| !var.is_empty() && !taken.contains(var));
        let var = free.ok_or_else(|| format!("there is no short name for `{name}`"))?;
        taken.insert(var.clone());
        vars.insert(*name, var);
    }
    Ok(vars)
}

/// Text in double quotes, as YAML and JSON have them.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

/// Whether the new text says what the old one did, and these sets.
fn says_the_same(file: &SetsFile, root: &Node, sets: &MaximalSets, text: &str) -> bool {
    let Ok(yaml) = document(&with_environment(text, &|_| None)) else { return false };
    let Some(new) = &yaml.root else { return false };
    if without_router(new) != without_router(root) {
        return false;
    }
    let nowhere = |_: &str| None;
    let reading = Reading { backend: Backend::Cuda, locate: &nowhere, variable: &|_| None };
    let Ok(again) = read_text(Path::new(&file.file), text.to_owned(), &reading) else { return false };
    let written = again.promised.iter().filter(|set| set.line.is_some());
    let written: Option<Vec<BTreeSet<&str>>> =
        written.map(|set| Some(set.together.combinations(1)?.into_iter().flatten().collect())).collect();
    let meant: Vec<BTreeSet<&str>> =
        sets.sets.iter().map(|set| set.models.iter().map(String::as_str).collect()).collect();
    written == Some(meant)
}

/// A configuration but for its router, and without `routing` where nothing else is in it.
fn without_router(root: &Node) -> Node {
    let mut rest = root.clone();
    if let Value::Map { entries, .. } = &mut rest.value {
        for (key, value) in entries.iter_mut() {
            if let (Some("routing"), Value::Map { entries, .. }) = (key.text(), &mut value.value) {
                entries.retain(|(key, _)| key.text() != Some("router"));
            }
        }
        let empty = |node: &Node| {
            node.is_null() || matches!(&node.value, Value::Map { entries, .. } if entries.is_empty())
        };
        entries.retain(|(key, value)| key.text() != Some("routing") || !empty(value));
    }
    rest
}
