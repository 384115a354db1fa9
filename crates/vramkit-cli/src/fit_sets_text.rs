//! Which models of a configuration fit together, in words: what `vramkit fit --sets` says to people.
//!
//! A report comes in, lines go out; nothing is printed here.

use std::fmt::Write as _;

use vramkit::ByteSize;
use vramkit_ask::{FitPromise, FitReport, FitSetsReport};

use crate::fit_text::{known, under};
use crate::output::{self, BAD, BOLD, DIM, GOOD};
use crate::printable::printable;

/// Sets that a person reads.
const SHOWN: usize = 20;

/// The models, the sets that fit, and the promises.
pub fn describe_sets(report: &FitReport, sets: &FitSetsReport) -> String {
    // A model of which a part is known is in both.
    let is_listed = |name: &String| report.models.iter().any(|model| model.name == *name);
    let others = sets.not_covered.iter().filter(|model| !is_listed(&model.name)).count();
    let listed = report.models.len() + others;
    let plural = if listed == 1 { "" } else { "s" };
    let mut text = format!("{BOLD}{listed} model{plural}{BOLD:#}");
    if let Some(memory) = &report.memory {
        let _ = match &memory.device {
            Some(device) => write!(text, " on the {} that {device} has free", memory.free_bytes),
            None => write!(text, " on {}", memory.total_bytes),
        };
    }
    text += "\n";
    let mut rows = vec![["model", "device", "host", ""].map(str::to_owned).to_vec()];
    for model in &report.models {
        let (device, host) = (model.figures.total_bytes, model.figures.host.total_bytes);
        rows.push(vec![printable(&model.name), known(device), known(host), under(model)]);
    }
    if report.models.is_empty() {
        text += "  none of which anything can be said\n";
    } else {
        text += &left_last(rows);
    }
    for model in &sets.not_covered {
        let _ = writeln!(
            text,
            "  {BAD}left out{BAD:#} {}, line {}: {}",
            printable(&model.name),
            model.line,
            model.reason
        );
    }
    for model in &sets.too_large {
        let _ = writeln!(
            text,
            "  {BAD}does not fit alone{BAD:#} {}: {}",
            printable(&model.name),
            model.total_bytes
        );
    }
    if report.memory.is_some() {
        text += &fitting(sets);
        text += &promised(&sets.promised);
    }
    for note in &report.notes {
        let _ = writeln!(text, "  {DIM}note: {note}{DIM:#}");
    }
    text
}

/// A table whose last column is text.
fn left_last(mut rows: Vec<Vec<String>>) -> String {
    let width = rows.iter().filter_map(|row| row.last()).map(|cell| cell.chars().count()).max().unwrap_or(0);
    for cell in rows.iter_mut().filter_map(|row| row.last_mut()) {
        *cell = format!("{cell:<width$}");
    }
    output::table(&rows)
}

fn fitting(sets: &FitSetsReport) -> String {
    let mut rows = vec![["fit together", "device", "left"].map(str::to_owned).to_vec()];
    for set in sets.sets.iter().take(SHOWN) {
        rows.push(vec![set.models.join(" + "), set.total_bytes.to_string(), bytes(set.headroom_bytes)]);
    }
    if sets.sets.is_empty() {
        let said = match (sets.too_large.is_empty(), sets.not_covered.is_empty()) {
            (true, _) => "",
            (false, true) => "\n  no model fits\n",
            (false, false) => "\n  none of the models that are known fits\n",
        };
        return said.to_owned();
    }
    let mut text = format!("\n{}", output::table(&rows));
    let more = sets.sets.len().saturating_sub(SHOWN);
    match (more, sets.sets_truncated) {
        (0, false) => {}
        (more, false) => {
            let _ = writeln!(text, "  {DIM}and {more} more; --json has all{DIM:#}");
        }
        (more, true) => {
            let _ = writeln!(text, "  {DIM}and {more} more, and others that are not listed{DIM:#}");
        }
    }
    text
}

fn promised(promises: &[FitPromise]) -> String {
    if promises.is_empty() {
        return String::new();
    }
    let mut text = format!("\n  {DIM}promised by the file{DIM:#}\n");
    for promise in promises {
        let models = promise.models.join(" + ");
        let headroom = bytes(promise.headroom_bytes.unwrap_or_default());
        let verdict = match promise.fits {
            Some(true) => format!("{models}: {GOOD}fits{GOOD:#}, {headroom} left"),
            Some(false) => format!("{models}: {BAD}does not fit{BAD:#}, {headroom} too much"),
            None => {
                format!("{BAD}not known{BAD:#}, as nothing can be said of {}", promise.unknown.join(", "))
            }
        };
        let line = promise.line.map_or_else(String::new, |line| format!(" (line {line})"));
        let _ = writeln!(text, "  {}{line}: {verdict}", printable(&promise.name));
    }
    text
}

fn bytes(size: i64) -> String {
    ByteSize::new(size.unsigned_abs()).to_string()
}
