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

/// The first given dimension that is not known, as an error.
///
/// # Errors
/// [`UnknownDimension`](ReadError::UnknownDimension).
pub(crate) fn unknown_dimension<'a>(
    given: &BTreeMap<String, u64>,
    known: impl Iterator<Item = &'a str>,
) -> Result<(), ReadError> {
    let known: BTreeSet<&str> = known.collect();
    let Some(name) = given.keys().find(|name| !known.contains(name.as_str())) else { return Ok(()) };
    Err(ReadError::UnknownDimension {
        name: name.clone(),
        // What is far longer cannot be meant, and may be as long as a file.
        nearest: nearest(name, known.iter().copied().filter(|known| known.len() <= 2 * name.len() + 2)),
        known: listed(&known),
    })
}

/// Names in their order; those with brackets, which are places, after those that stand for a size of their own.
fn listed(known: &BTreeSet<&str>) -> String {
    if known.is_empty() {
        return "the files have no dimensions that can be given a size".to_owned();
    }
    let (places, symbols): (Vec<&str>, Vec<&str>) = known.iter().partition(|name| name.ends_with(']'));
    let all = symbols.iter().chain(&places);
    let mut text = all.take(LISTED).map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    if known.len() > LISTED {
        text += &format!(" and {} more", known.len() - LISTED);
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
        unknown_dimension(&given, known.iter().copied()).err().map(|error| error.to_string())
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
