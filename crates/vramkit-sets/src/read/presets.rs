//! llama.cpp's presets: the INI file of `llama-server --models-preset`, as its build v0.5.0 reads it.
//!
//! A section is a model, `[*]` gives defaults for all, keys are the server's options without dashes or variables of its
//! environment. What the command line of the router itself says comes over all of them and is not here.

use std::collections::BTreeMap;

use super::place::Place;
use crate::command;
use crate::error::SetsError;
use crate::file::{Kind, PromisedSet, SetsFile};
use crate::together::Together;

/// Keys that are the router's own.
const OF_THE_ROUTER: &[&str] = &["version", "load-on-startup", "stop-timeout", "dedup-cache-models"];

#[derive(Default)]
struct Section {
    line: usize,
    keys: BTreeMap<String, String>,
}

pub(super) fn read(place: &Place<'_>, text: String) -> Result<SetsFile, SetsError> {
    let sections = sections(place, &text)?;
    place.count(sections.len(), 1)?;
    let global = sections.iter().find(|(name, _)| name == "*").map(|(_, section)| &section.keys);
    let mut entries = Vec::new();
    let mut at_start = Vec::new();
    for (name, section) in sections.iter().filter(|(name, _)| name != "*") {
        // An option has several names, so those of the section come after all of the global ones.
        let keys = || {
            global
                .into_iter()
                .flatten()
                .chain(&section.keys)
                .map(|(key, value)| (key.as_str(), value.as_str()))
        };
        let on = |value: &str| matches!(value, "on" | "enabled" | "true" | "1");
        if keys().rfind(|(key, _)| *key == "load-on-startup").is_some_and(|(_, value)| on(value)) {
            at_start.push(Together::Model(name.clone()));
        }
        let options = keys().filter(|(key, _)| !OF_THE_ROUTER.contains(key));
        let mut found = command::from_keys(options, place.reading.backend);
        if found.model.is_none() {
            found.missing = Some(format!("`{name}` names no file: the router takes it from its cache"));
        }
        entries.push(place.entry(name, section.line, found));
    }
    let mut promised = Vec::new();
    if !at_start.is_empty() {
        let together = Together::All(at_start);
        promised.push(PromisedSet { name: "load-on-startup".to_owned(), line: None, together });
    }
    let notes = vec![
        "Options on the router's own command line come over those of its presets, and are not known here"
            .to_owned(),
    ];
    Ok(SetsFile {
        file: place.file.clone(),
        kind: Kind::Presets,
        entries,
        promised,
        memory: None,
        notes,
        text,
    })
}

/// Sections in their order. Keys before the first one are a model called `default`, as for the router.
fn sections(place: &Place<'_>, text: &str) -> Result<Vec<(String, Section)>, SetsError> {
    let mut sections: Vec<(String, Section)> = Vec::new();
    for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let Some((name, after)) = rest.split_once(']') else {
                return Err(place.invalid(number, "a section's name ends with `]`"));
            };
            if !without_comment(after).is_empty() {
                return Err(place.invalid(number, "nothing but a comment follows a section's name"));
            }
            let name = name.trim().to_owned();
            // Said again, a section begins anew.
            sections.retain(|(known, _)| *known != name);
            sections.push((name, Section { line: number, keys: BTreeMap::new() }));
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(place.invalid(number, "neither a section, a key with a value, nor a comment"));
        };
        let key = key.trim();
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || !key.chars().all(letters) {
            return Err(place.invalid(number, format!("`{key}` is no key")));
        }
        if key == "version" {
            continue;
        }
        if sections.is_empty() {
            sections.push(("default".to_owned(), Section { line: number, keys: BTreeMap::new() }));
        }
        if let Some((_, section)) = sections.last_mut() {
            section.keys.insert(key.to_owned(), without_comment(value).to_owned());
        }
    }
    Ok(sections)
}

/// A value without the blanks around it and a comment after it.
fn without_comment(value: &str) -> &str {
    value.split([';', '#']).next().unwrap_or_default().trim()
}
