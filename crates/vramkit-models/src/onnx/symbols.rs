//! Sizes that were given to dimensions which no file has: most likely a name that was mistyped.
//!
//! In: what the user gave, and every name that can be given a size (symbols that the files declare, and places such as
//! `input[0]`). Out: nothing, or the error that names the one that is unknown and those that there are.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{ReadError, nearest};

/// Names that the error lists at most: enough to see what a file calls its dimensions.
const LISTED: usize = 20;

/// Letters of each that are shown.
const LETTERS: usize = 80;

/// What the dimensions of a graph without a length go by: symbols, and places of tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Symbols {
    named: BTreeSet<String>,
    /// Axes by tensor: written out, places would be many times as long as the file.
    places: BTreeMap<String, Vec<usize>>,
}

impl Symbols {
    pub(super) fn add(&mut self, symbol: Option<&str>, tensor: &str, axis: usize) {
        if let Some(symbol) = symbol {
            self.named.insert(symbol.to_owned());
        }
        let axes = self.places.entry(tensor.to_owned()).or_default();
        if !axes.contains(&axis) {
            axes.push(axis);
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        let place = || {
            let (tensor, axis) = name.strip_suffix(']')?.rsplit_once('[')?;
            Some(self.places.get(tensor)?.contains(&axis.parse().ok()?))
        };
        self.named.contains(name) || place().unwrap_or(false)
    }

    fn len(&self) -> usize {
        self.named.len() + self.places.values().map(Vec::len).sum::<usize>()
    }

    /// Symbols, then places; of tensors with names of at most so many letters.
    fn names(&self, letters: usize) -> impl Iterator<Item = String> {
        let named = self.named.iter().filter(move |name| name.len() <= letters).cloned();
        let places = self.places.iter().filter(move |(tensor, _)| tensor.len() <= letters);
        named
            .chain(places.flat_map(|(tensor, axes)| axes.iter().map(move |axis| format!("{tensor}[{axis}]"))))
    }
}

/// The first given dimension that no graph has, as an error.
///
/// # Errors
/// [`UnknownDimension`](ReadError::UnknownDimension).
pub(crate) fn unknown_dimension(given: &BTreeMap<String, u64>, known: &[&Symbols]) -> Result<(), ReadError> {
    let is_known = |name: &str| known.iter().any(|symbols| symbols.contains(name));
    let Some(name) = given.keys().find(|name| !is_known(name)) else { return Ok(()) };
    // What is far longer cannot be meant, and may be as long as a file.
    let near: BTreeSet<String> =
        known.iter().flat_map(|symbols| symbols.names(2 * name.len() + 2)).take(LOOKED_AT).collect();
    Err(ReadError::UnknownDimension {
        name: name.clone(),
        nearest: nearest(name, near.iter().map(String::as_str)),
        known: listed(known),
    })
}

/// Names among which the nearest is looked for, at most.
const LOOKED_AT: usize = 10_000;

fn listed(known: &[&Symbols]) -> String {
    let count: usize = known.iter().map(|symbols| symbols.len()).sum();
    if count == 0 {
        return "the files have no dimensions that can be given a size".to_owned();
    }
    let shown: Vec<String> =
        known.iter().flat_map(|symbols| symbols.names(usize::MAX)).take(LISTED).collect();
    let mut text = shown.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    if count > LISTED {
        text += &format!(" and {} more", count - LISTED);
    }
    format!("there are {text}")
}

fn quoted(name: &str) -> String {
    match name.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("`{}…`", &name[..end]),
        None => format!("`{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(given: &[&str], known: &[&str]) -> Option<String> {
        let given = given.iter().map(|name| ((*name).to_owned(), 1)).collect();
        let mut symbols = Symbols::default();
        for name in known {
            match name.strip_suffix(']').and_then(|name| name.rsplit_once('[')) {
                Some((tensor, axis)) => symbols.add(None, tensor, axis.parse().unwrap()),
                None => {
                    symbols.named.insert((*name).to_owned());
                }
            }
        }
        unknown_dimension(&given, &[&symbols]).err().map(|error| error.to_string())
    }

    #[test]
    fn what_a_file_declares_may_be_given() {
        assert_eq!(ask(&[], &[]), None);
        assert_eq!(ask(&["batch", "x[1]"], &["x[1]", "seq", "batch"]), None);
    }

    #[test]
    fn a_name_that_is_not_there_is_named_with_those_that_are() {
        let error = ask(&["batch", "bacth"], &["x[0]", "seq", "batch", "batch"]).unwrap();
        assert_eq!(
            error,
            "no file has a dimension `bacth`; did you mean `batch`? there are `batch`, `seq`, `x[0]`"
        );
        let error = ask(&["Batch"], &["batch"]).unwrap();
        assert!(error.contains("did you mean `batch`?"), "{error}");
    }

    #[test]
    fn nothing_near_is_not_guessed() {
        let error = ask(&["width"], &["batch"]).unwrap();
        assert_eq!(error, "no file has a dimension `width`; there are `batch`");
        let error = ask(&["width"], &[]).unwrap();
        assert_eq!(
            error,
            "no file has a dimension `width`; the files have no dimensions that can be given a size"
        );
    }

    #[test]
    fn a_file_with_many_names_does_not_fill_the_screen() {
        let names: Vec<String> = (0..1000).map(|i| format!("t{i}[0]")).collect();
        let known: Vec<&str> = names.iter().map(String::as_str).chain(["batch"]).collect();
        let error = ask(&["q"], &known).unwrap();
        assert!(error.contains("there are `batch`, `t0[0]`") && error.ends_with(" and 981 more"), "{error}");
        let error = ask(&["q"], &[&"x".repeat(1 << 20)]).unwrap();
        assert!(error.len() < 200, "{error}");
    }
}
