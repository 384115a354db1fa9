//! llama-swap's matrix: named sets of models that may run together.
//!
//! A set also allows every part of itself. A model that is in no set runs alone.

use std::collections::{BTreeMap, BTreeSet};

use super::expression::{Sets, parse};
use super::names::Names;
use crate::error::SetsError;
use crate::file::PromisedSet;
use crate::read::place::Place;
use crate::yaml::Node;

/// The sets of a matrix, and models that are in none.
pub(super) fn promised(
    place: &Place<'_>,
    matrix: &Node,
    names: &Names<'_>,
) -> Result<(Vec<PromisedSet>, Vec<String>), SetsError> {
    let mut vars = BTreeMap::new();
    for (key, value) in matrix.get("vars").into_iter().flat_map(Node::pairs) {
        let (var, model) = (key.text().unwrap_or_default(), value.text().unwrap_or_default());
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        if var.is_empty() || var.len() > 32 || !var.chars().all(fits) {
            return Err(place
                .invalid(key.line, format!("`{var}` is no var: letters, digits, `-` and `.`, at most 32")));
        }
        if names.model(model).is_none() {
            return Err(place.invalid(value.line, format!("var `{var}`: there is no model `{model}`")));
        }
        vars.insert(var, model);
    }
    let resolve = |name: &str| vars.get(name).copied().or_else(|| names.model(name)).map(str::to_owned);
    for (key, cost) in matrix.get("evict_costs").into_iter().flat_map(Node::pairs) {
        let name = key.text().unwrap_or_default();
        if resolve(name).is_none() {
            return Err(place.invalid(key.line, format!("evict_costs: there is no var or model `{name}`")));
        }
        if cost.text().and_then(|cost| cost.parse::<i64>().ok()).is_none_or(|cost| cost <= 0) {
            return Err(place.invalid(cost.line, format!("evict_costs: `{name}` is a whole number over 0")));
        }
    }
    let mut written: Vec<(&str, usize)> = Vec::new();
    let mut parsed = BTreeMap::new();
    for (key, value) in matrix.get("sets").into_iter().flat_map(Node::pairs) {
        let name = key.text().unwrap_or_default();
        let of_set = |reason| place.invalid(value.line, format!("set `{name}`: {reason}"));
        let expression = parse(value.text().unwrap_or_default(), &resolve).map_err(of_set)?;
        written.push((name, value.line));
        parsed.insert(name.to_owned(), expression);
    }
    if written.is_empty() {
        return Err(place.invalid(matrix.line, "a matrix has at least one set"));
    }
    let mut sets = Sets::new(parsed);
    let mut promised = Vec::new();
    for (name, line) in written {
        let together =
            sets.get(name).map_err(|reason| place.invalid(line, format!("set `{name}`: {reason}")))?;
        promised.push(PromisedSet { name: name.to_owned(), line: Some(line), together });
    }
    let inside: BTreeSet<&str> = promised.iter().flat_map(|set| set.together.support()).collect();
    let alone = names
        .models
        .iter()
        .filter(|model| !inside.contains(**model))
        .map(|model| (*model).to_owned())
        .collect();
    Ok((promised, alone))
}
