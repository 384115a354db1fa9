//! Whether models fit, in words: what `vramkit fit` says to people.
//!
//! A report comes in, lines go out; nothing is printed here.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Color, Style};
use vramkit::ByteSize;
use vramkit::units::grouped;
use vramkit_ask::{FitChecked, FitModelReport, FitReport};

use crate::output::{self, BAD, BOLD, DIM, GOOD};
use crate::printable::printable;

/// Letters of a bar: narrow enough for half a screen.
const BAR: u64 = 48;

/// The answer in some lines, a table and a bar.
pub fn describe_fit(report: &FitReport) -> String {
    let mut text = heading(report);
    if report.models.len() > 1 {
        text += &models(report);
    }
    text += &parts(report);
    text += &bar(report);
    if let Some(decides) = &report.decides {
        let _ = writeln!(text, "\n  {decides}");
    }
    text += &most(report);
    text += &suggestions(report);
    for note in &report.notes {
        let _ = writeln!(text, "  {DIM}note: {note}{DIM:#}");
    }
    text
}

/// What is asked about, and the verdict.
fn heading(report: &FitReport) -> String {
    let mut text = match report.models.as_slice() {
        [model] => format!("{BOLD}{}{BOLD:#} {}", printable(&model.name), under(model)),
        models => format!("{BOLD}{} models{BOLD:#} on one device", models.len()),
    };
    text.push('\n');
    let Some(memory) = &report.memory else { return text };
    let mut room = match &memory.device {
        Some(device) => format!("the {} that {device} has free", memory.free_bytes),
        None => memory.total_bytes.to_string(),
    };
    if let Some(available) = report.available_bytes.filter(|available| *available < memory.free_bytes) {
        let engine = report.runtime.as_deref().unwrap_or("the engine");
        room = format!("the {available} of {} that {engine} takes", memory.total_bytes);
    }
    let bytes = |left: i64| ByteSize::new(left.unsigned_abs());
    let line = match (report.fits, report.headroom_bytes) {
        (Some(true), Some(left)) => format!("{GOOD}fits{GOOD:#} in {room}, {} left", bytes(left)),
        (Some(true), None) => format!("{GOOD}fits{GOOD:#} in {room}"),
        (Some(false), Some(left)) if left < 0 => {
            format!("{BAD}does not fit{BAD:#} in {room}, {} too much", bytes(left))
        }
        (Some(false), _) => format!("{BAD}does not fit{BAD:#} in {room}"),
        (None, _) => {
            format!("{BAD}not known{BAD:#} whether it fits in {room}: a part of the need is not known")
        }
    };
    let _ = writeln!(text, "  {line}");
    if !memory.held_bytes.is_zero() {
        let (total, held) = (memory.total_bytes, memory.held_bytes);
        let _ = writeln!(text, "  {DIM}{total} in all, of which {held} are held already{DIM:#}");
    }
    text
}

/// The engine, with what it is asked to do.
pub fn under(model: &FitModelReport) -> String {
    let mut text = format!("({}) under {}, {}", model.architecture, model.runtime, model.backend);
    if let (Some(context), Some(sequences)) = (model.context, model.sequences) {
        let plural = if sequences == 1 { "" } else { "s" };
        let _ = write!(text, ": {} tokens, {sequences} sequence{plural}", grouped(context));
    }
    if let (Some(layers), Some(on_device)) = (model.layers, model.layers_on_device)
        && on_device <= layers
        && model.backend != "cpu"
    {
        let _ = write!(text, ", {on_device} of {} layers on the device", layers + 1);
    }
    text
}

/// A line for each of several models.
fn models(report: &FitReport) -> String {
    let mut rows = vec![["model", "device", "host", ""].map(str::to_owned).to_vec()];
    for model in &report.models {
        let figures = &model.figures;
        rows.push(vec![
            printable(&model.name),
            known(figures.total_bytes),
            known(figures.host.total_bytes),
            under(model),
        ]);
    }
    // The last column is a text, so it stands to the left.
    let width = rows.iter().map(|row| row[3].chars().count()).max().unwrap_or(0);
    rows.iter_mut().for_each(|row| row[3] = format!("{:<width$}", row[3]));
    format!("{}\n", output::table(&rows))
}

/// The parts of the need, with how well each has been checked.
fn parts(report: &FitReport) -> String {
    let (figures, host) = (&report.figures, &report.figures.host);
    let accuracy = &figures.accuracy;
    let is_none = |size: Option<ByteSize>| size.is_none_or(ByteSize::is_zero);
    let none = String::new();
    let mut rows = vec![["", "device", "host", "checked"].map(str::to_owned).to_vec()];
    let mut row = |name: &str, device: String, host: String, checked: String| {
        rows.push(vec![name.to_owned(), device, host, checked]);
    };
    row("weights", known(figures.weights_bytes), known(host.weights_bytes), checked(accuracy.weights));
    if !is_none(host.repacked_weights_bytes) {
        row("repacked", none.clone(), known(host.repacked_weights_bytes), checked(accuracy.weights));
    }
    row("KV cache", known(figures.kv_bytes), known(host.kv_bytes), checked(accuracy.kv));
    if !is_none(figures.state_bytes) || !is_none(host.state_bytes) {
        row("state", known(figures.state_bytes), known(host.state_bytes), checked(accuracy.kv));
    }
    row(
        "workspace",
        known(figures.workspace_bytes),
        known(host.workspace_bytes),
        checked(accuracy.workspace),
    );
    row("overhead", known(figures.overhead_bytes), none.clone(), checked(accuracy.overhead));
    row("total", known(figures.total_bytes), known(host.total_bytes), none);
    let table = output::table(&rows);
    match figures.kv_bytes_per_token {
        Some(token) if !token.is_zero() => format!("{table}  {DIM}{token} of cache a token{DIM:#}\n"),
        _ => table,
    }
}

/// A size, or that nobody knows it.
pub fn known(size: Option<ByteSize>) -> String {
    match size {
        Some(size) if size.is_zero() => "-".to_owned(),
        Some(size) => size.to_string(),
        None => "not known".to_owned(),
    }
}

fn checked(checked: Option<FitChecked>) -> String {
    match checked {
        Some(FitChecked::Exact(_)) => "exact".to_owned(),
        Some(FitChecked::Within(ratio)) => format!("±{} %", (ratio * 1000.0).round() / 10.0),
        None => "not checked".to_owned(),
    }
}

/// Where the device's bytes go, a letter for each part, against what is available.
fn bar(report: &FitReport) -> String {
    let figures = &report.figures;
    let parts = [
        ('█', "weights", figures.weights_bytes.unwrap_or_default(), AnsiColor::Blue),
        ('▓', "KV cache", figures.kv_bytes.unwrap_or_default(), AnsiColor::Yellow),
        ('▒', "state", figures.state_bytes.unwrap_or_default(), AnsiColor::Cyan),
        ('▚', "workspace", figures.workspace_bytes.unwrap_or_default(), AnsiColor::Green),
        ('░', "overhead", figures.overhead_bytes.unwrap_or_default(), AnsiColor::Magenta),
    ];
    let need: u64 = parts.iter().fold(0, |sum, part| sum.saturating_add(part.2.bytes()));
    let room = report.available_bytes.map_or(need, ByteSize::bytes);
    let whole = need.max(room);
    if need == 0 {
        return String::new();
    }
    let at = |bytes: u64| (u128::from(bytes) * u128::from(BAR) / u128::from(whole)) as u64;
    let (mut line, mut legend, mut end, mut drawn) = (String::new(), Vec::new(), 0_u64, 0_u64);
    for (letter, name, size, colour) in parts {
        if size.is_zero() {
            continue;
        }
        let style = Style::new().fg_color(Some(Color::Ansi(colour)));
        end = end.saturating_add(size.bytes());
        let letters = at(end) - drawn;
        drawn = at(end);
        let _ = write!(line, "{style}{}{style:#}", letter.to_string().repeat(letters as usize));
        legend.push(format!("{style}{letter}{style:#} {name}"));
    }
    let _ = write!(line, "{DIM}{}{DIM:#}", "·".repeat((BAR - drawn) as usize));
    let mut text = format!("\n  {line}");
    if let Some(available) = report.available_bytes {
        let percent = 100.0 * ByteSize::new(need).ratio_of(available);
        let _ = write!(text, " {percent:.0} %");
    }
    let _ = write!(text, "\n  {}\n", legend.join("  "));
    text
}

/// The most that fits.
fn most(report: &FitReport) -> String {
    let why = |stopped: Option<&str>| match stopped {
        Some("model") => ", as the model was made for".to_owned(),
        Some("engine") => ", the engine's most".to_owned(),
        _ => String::new(),
    };
    let stops = &report.stopped_by;
    let mut rows = Vec::new();
    if let Some(tokens) = report.max_context {
        rows.push(format!("longest context   {} tokens{}", grouped(tokens), why(stops.max_context)));
    }
    if let Some(sequences) = report.max_sequences {
        rows.push(format!("most sequences    {sequences}{}", why(stops.max_sequences)));
    }
    if let Some(layers) = report.max_layers_on_device {
        let all = if stops.max_layers_on_device == Some("model") { " (all)" } else { "" };
        rows.push(format!("layers on device  {layers}{all}"));
    }
    if let [model] = report.models.as_slice()
        && let (Some(tokens), Some(concurrency)) = (model.kv_cache_tokens, model.maximum_concurrency)
    {
        rows.push(format!(
            "cache it makes    {} tokens, {concurrency:.2} sequences at full length",
            grouped(tokens)
        ));
    }
    rows.into_iter().fold(String::new(), |text, row| text + "  " + &row + "\n")
}

/// The engine's options that help, to be copied.
fn suggestions(report: &FitReport) -> String {
    if report.suggestions.is_empty() {
        return String::new();
    }
    let mut text = format!("\n  {DIM}options of the engine that help{DIM:#}\n");
    for suggestion in &report.suggestions {
        // As wide as each other.
        let verdict = match suggestion.fits {
            Some(true) => format!("{GOOD}fits    {GOOD:#}  "),
            Some(false) => format!("{BAD}too much{BAD:#}  "),
            None => String::new(),
        };
        let total = known(suggestion.total_bytes);
        let _ = writeln!(text, "  {total:>10}  {verdict}{}", suggestion.options.join(" "));
    }
    text
}
