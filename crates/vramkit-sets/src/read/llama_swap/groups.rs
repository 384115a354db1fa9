//! llama-swap's groups: which models may be loaded at the same time.
//!
//! Loading a model unloads the others of its group where the group swaps, and those of other groups where its group is
//! exclusive, persistent ones excepted. So what can stand together at the end is every persistent group, every group that is not
//! exclusive, and one of the rest; of each of them one model where it swaps, all of them where it does not.

use std::collections::BTreeMap;

use super::names::Names;
use crate::error::SetsError;
use crate::file::PromisedSet;
use crate::read::place::Place;
use crate::together::Together;
use crate::yaml::Node;

struct Group {
    name: String,
    line: Option<usize>,
    /// Whether it stays whatever is loaded, or is loaded beside whatever is there.
    stays: bool,
    together: Together,
}

/// The sets of groups, and models that run alone. A member that is no model stays in its set, of which nothing is known then;
/// llama-swap warns of it and goes on, and here it becomes a note.
pub(super) fn promised(
    place: &Place<'_>,
    groups: Option<&Node>,
    names: &Names<'_>,
    notes: &mut Vec<String>,
) -> Result<(Vec<PromisedSet>, Vec<String>), SetsError> {
    let mut all = Vec::new();
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    for (key, group) in groups.into_iter().flat_map(Node::pairs) {
        let name = key.text().unwrap_or_default().to_owned();
        let mut members = Vec::new();
        for member in group.get("members").map(Node::items).unwrap_or_default() {
            let text = member.text().unwrap_or_default();
            let model = names.real(text).unwrap_or_else(|| {
                notes.push(format!("line {}: group `{name}`: there is no model `{text}`", member.line));
                text
            });
            if let Some(other) = taken.insert(model.to_owned(), name.clone()) {
                return Err(place
                    .invalid(member.line, format!("`{model}` is in group `{other}` and again in `{name}`")));
            }
            members.push(Together::Model(model.to_owned()));
        }
        let is = |key: &str, otherwise: bool| match group.get(key) {
            Some(value) if !value.is_null() => value.truth().ok_or_else(|| {
                place.invalid(value.line, format!("group `{name}`: `{key}` is true or false"))
            }),
            _ => Ok(otherwise),
        };
        let (swap, exclusive, persistent) =
            (is("swap", true)?, is("exclusive", true)?, is("persistent", false)?);
        if members.is_empty() {
            continue;
        }
        let together = if swap { Together::Either(members) } else { Together::All(members) };
        all.push(Group { name, line: Some(key.line), stays: persistent || !exclusive, together });
    }
    let rest: Vec<String> = names
        .models
        .iter()
        .filter(|model| !taken.contains_key(**model))
        .map(|model| (*model).to_owned())
        .collect();
    if all.is_empty() {
        return Ok((Vec::new(), rest));
    }
    if !rest.is_empty() {
        let together = Together::Either(rest.into_iter().map(Together::Model).collect());
        all.push(Group { name: "(models of no group)".to_owned(), line: None, stays: false, together });
    }
    let (stays, others): (Vec<Group>, Vec<Group>) = all.into_iter().partition(|group| group.stays);
    let standing = |one: Option<&Group>| {
        let both = stays.iter().chain(one);
        let name = both.clone().map(|group| group.name.as_str()).collect::<Vec<_>>().join(" + ");
        let together = Together::All(both.map(|group| group.together.clone()).collect());
        let line = one.and_then(|group| group.line).or_else(|| stays.first().and_then(|group| group.line));
        PromisedSet { name, line, together }
    };
    let promised = if others.is_empty() {
        vec![standing(None)]
    } else {
        others.iter().map(|group| standing(Some(group))).collect()
    };
    Ok((promised, Vec::new()))
}
