//! llama-swap's YAML, as its release v250 reads it.
//!
//! In: the text. Out: a model for each entry of `models`, from its command with macros put in; promised sets from the groups or
//! from the matrix, wherever the file has them. What has nothing to do with memory (filters, peers, hooks …) is passed over.

mod expression;
mod groups;
mod macros;
mod matrix;
mod names;

use super::place::Place;
use crate::command;
use crate::error::SetsError;
use crate::file::{Entry, Kind, PromisedSet, SetsFile};
use crate::together::Together;
use crate::yaml::{Node, Value, document};
use macros::Macros;
pub(crate) use macros::with_environment;
use names::Names;

/// Reads llama-swap's configuration.
pub(crate) fn read(place: &Place<'_>, text: String) -> Result<SetsFile, SetsError> {
    let resolved = macros::with_environment(&text, place.reading.variable);
    let yaml = document(&resolved).map_err(|(line, reason)| place.invalid(line, reason))?;
    let root = yaml.root.ok_or_else(|| place.invalid(1, "the file is empty"))?;
    let Some(models) = root.get("models").filter(|models| matches!(models.value, Value::Map { .. })) else {
        return Err(place.invalid(root.line, "there is no mapping `models`"));
    };
    place.count(models.pairs().count(), models.line)?;
    let global = Macros::default().and(root.get("macros"), place)?;
    let ttl = root.get("globalTTL").and_then(seconds);
    let mut entries = Vec::new();
    for (key, model) in models.pairs() {
        let name = key.text().ok_or_else(|| place.invalid(key.line, "a model's name is text"))?;
        let mut entry = entry(place, name, key.line, model, &global)?;
        entry.ttl_seconds = model.get("ttl").and_then(seconds).or(ttl);
        entries.push(entry);
    }
    let names = Names::new(&entries);
    let mut notes = Vec::new();
    let promised = promised(place, &root, &names, &mut notes)?;
    Ok(SetsFile {
        file: place.file.clone(),
        kind: Kind::LlamaSwap,
        entries,
        promised,
        memory: None,
        notes,
        text,
    })
}

fn entry(
    place: &Place<'_>,
    name: &str,
    line: usize,
    model: &Node,
    global: &Macros,
) -> Result<Entry, SetsError> {
    let macros = global.of_model(name).and(model.get("macros"), place)?;
    let at = model.get("cmd").map_or(line, |cmd| cmd.line);
    let put =
        |text: &str| macros.put(text).map_err(|reason| place.invalid(at, format!("`{name}`: {reason}")));
    let cmd = model.get("cmd").and_then(Node::text).unwrap_or_default();
    // Comments go first: a macro in one is never put in.
    let code: Vec<&str> = cmd.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let cmd = put(&code.join("\n"))?;
    let mut variables = Vec::new();
    for pair in model.get("env").map(Node::items).unwrap_or_default() {
        if let Some((name, value)) = put(pair.text().unwrap_or_default())?.split_once('=') {
            variables.push((name.to_owned(), value.to_owned()));
        }
    }
    let Some(words) = command::split(&cmd) else {
        return Err(place.invalid(at, format!("`{name}`: a quote in the command is not closed")));
    };
    let mut found = command::read(&words, &variables, place.reading.backend);
    if let Some(unset) = macros::unset(&cmd) {
        let reason = format!("`${{env.{unset}}}` is in its command, and `{unset}` is not set");
        // It counts where the model or what changes memory depends on it.
        if found.missing.is_some()
            || found.model.as_deref().is_none_or(|model| macros::unset(model).is_some())
        {
            found.missing = Some(reason);
            found.model = found.model.filter(|model| macros::unset(model).is_none());
        } else {
            found.note(reason);
        }
    }
    let mut entry = place.entry(name, line, found);
    for alias in model.get("aliases").map(Node::items).unwrap_or_default() {
        entry.aliases.extend(put(alias.text().unwrap_or_default()));
    }
    Ok(entry)
}

fn seconds(node: &Node) -> Option<u64> {
    node.text()?.parse().ok()
}

/// The sets of whichever router the file uses.
fn promised(
    place: &Place<'_>,
    root: &Node,
    names: &Names<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<PromisedSet>, SetsError> {
    let there = |node: &&Node| !node.is_null();
    let filled = |node: &&Node| node.pairs().next().is_some();
    let matrix = root.get("matrix").filter(there);
    let groups = root.get("groups").filter(filled);
    let router = root.get("routing").and_then(|routing| routing.get("router")).filter(filled);
    if let (Some(old), Some(router)) = (matrix.or(groups), router) {
        let reason = format!(
            "`routing.router` is there beside `matrix` or `groups` of line {}; llama-swap takes one of them",
            old.line
        );
        return Err(place.invalid(router.line, reason));
    }
    let (matrix, groups) = match router {
        None => (matrix, groups),
        Some(router) => {
            let settings =
                |key: &str| router.get("settings").and_then(|settings| settings.get(key)).filter(there);
            match router.get("use").and_then(Node::text).unwrap_or("group") {
                "matrix" if settings("matrix").is_some() => (settings("matrix"), None),
                "matrix" => {
                    return Err(place.invalid(router.line, "the router is `matrix`, and there is no matrix"));
                }
                "group" | "" => (None, settings("groups")),
                other => {
                    return Err(place.invalid(
                        router.line,
                        format!("`{other}` is no router; known are group and matrix"),
                    ));
                }
            }
        }
    };
    if let (Some(_), Some(groups)) = (matrix, groups) {
        return Err(
            place.invalid(groups.line, "`groups` is there beside `matrix`; llama-swap takes one of them")
        );
    }
    let (mut promised, alone) = match matrix {
        Some(matrix) => matrix::promised(place, matrix, names)?,
        None => groups::promised(place, groups, names, notes)?,
    };
    if !alone.is_empty() {
        let together = Together::Either(alone.into_iter().map(Together::Model).collect());
        promised.push(PromisedSet { name: "(each alone)".to_owned(), line: None, together });
    }
    Ok(promised)
}
