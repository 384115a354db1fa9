//! What a name in a set means.

use std::collections::BTreeMap;

use crate::file::Entry;

/// Models by name and alias.
pub(super) struct Names<'a> {
    pub models: Vec<&'a str>,
    aliases: BTreeMap<&'a str, &'a str>,
}

impl<'a> Names<'a> {
    /// Those of a file.
    pub fn new(entries: &'a [Entry]) -> Self {
        let models = entries.iter().map(|entry| entry.name.as_str()).collect();
        let names =
            |entry: &'a Entry| entry.aliases.iter().map(move |alias| (alias.as_str(), entry.name.as_str()));
        Self { models, aliases: entries.iter().flat_map(names).collect() }
    }

    /// The model that a name or alias means.
    pub fn real(&self, name: &str) -> Option<&'a str> {
        self.models.iter().find(|model| **model == name).or_else(|| self.aliases.get(name)).copied()
    }

    /// The model of exactly this name.
    pub fn model(&self, name: &str) -> Option<&'a str> {
        self.models.iter().find(|model| **model == name).copied()
    }
}
