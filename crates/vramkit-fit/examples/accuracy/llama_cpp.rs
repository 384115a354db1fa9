//! Errors over dry runs of llama.cpp, by back end and architecture.

use std::collections::BTreeMap;
use std::path::Path;

use super::probes::{Probe, Quantity};

/// Errors of one architecture under one back end.
#[derive(Default)]
struct Errors {
    probes: usize,
    exact: usize,
    refused: usize,
    /// The larger one of device and host, of each probe, 0..
    of: BTreeMap<Quantity, Vec<f64>>,
}

/// Errors by back end and architecture.
type Table = BTreeMap<(String, String), Errors>;

/// The errors of dry runs, and what is off, in sentences.
fn table(probes: &[Probe]) -> std::io::Result<(Table, Vec<String>)> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("model.gguf");
    let (mut table, mut off) = (Table::new(), Vec::new());
    for probe in probes {
        let key = (probe.options.backend.to_string(), probe.model.architecture.clone());
        if let Some(reason) = add(table.entry(key).or_default(), probe, &file) {
            off.push(format!("{}: {reason}", probe.place()));
        }
    }
    Ok((table, off))
}

/// Prints a table of dry runs; what is off, beside it.
pub fn print(title: &str, probes: &[Probe]) -> std::io::Result<()> {
    let (table, off) = table(probes)?;
    println!("{title}\n");
    println!(
        "| back end | architecture | probes | exact | workspace: median | 95 % | worst | weights: worst | cache and state: worst |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|");
    for ((backend, architecture), errors) in &table {
        line(backend, architecture, errors);
    }
    println!();
    off.iter().for_each(|off| eprintln!("off: {off}"));
    Ok(())
}

/// Architectures that are not dense: experts, states, latent vectors.
const OTHERS: [&str; 7] = ["qwen3moe", "qwen35", "qwen35moe", "gpt-oss", "deepseek2", "mamba", "falcon-h1"];

/// What of the promise is not kept: everything is answered, weights and caches are exact, workspaces within 1 % on 95 % of dense
/// models and within 5 % on 90 % of others, under each back end.
pub fn missed_bars(probes: &[Probe]) -> std::io::Result<Vec<String>> {
    let (table, off) = table(probes)?;
    let mut missed = Vec::new();
    let mut workspaces = BTreeMap::<(&str, bool), Vec<f64>>::new();
    for ((backend, architecture), errors) in &table {
        let worst = |quantity| percentile(errors.of.get(&quantity).map_or(&[], Vec::as_slice), 1.0);
        if errors.refused > 0 || worst(Quantity::Weights) > 0.0 || worst(Quantity::Cache) > 0.0 {
            missed.push(format!(
                "{architecture} under {backend}: weights or caches are off, or there is no answer"
            ));
        }
        let is_dense = !OTHERS.contains(&architecture.as_str());
        let of = errors.of.get(&Quantity::Workspace).into_iter().flatten();
        workspaces.entry((backend, is_dense)).or_default().extend(of);
    }
    for ((backend, is_dense), errors) in &workspaces {
        let (part, most, kind) = if *is_dense { (0.95, 0.01, "dense") } else { (0.9, 0.05, "other") };
        let reached = percentile(errors, part);
        println!(
            "workspaces of {} {kind} models under {backend}: {:.2} % off on {:.0} %",
            errors.len(),
            reached * 100.0,
            part * 100.0
        );
        if reached > most {
            missed.push(format!("workspaces of {kind} models under {backend}: {:.2} % off", reached * 100.0));
        }
    }
    if probes.is_empty() {
        missed.push("no dry runs".to_owned());
    }
    off.iter().for_each(|off| eprintln!("off: {off}"));
    Ok(missed)
}

/// Adds a probe's errors; why it is off, if it is.
fn add(errors: &mut Errors, probe: &Probe, file: &Path) -> Option<String> {
    errors.probes += 1;
    let compared = match probe.compare(file) {
        Ok((_, compared)) => compared,
        Err(reason) => {
            errors.refused += 1;
            return Some(reason);
        }
    };
    for quantity in [Quantity::Weights, Quantity::Cache, Quantity::Workspace] {
        let of_it = compared.iter().filter(|each| match each.measured.quantity {
            Quantity::Rearranged => quantity == Quantity::Weights,
            other => other == quantity,
        });
        errors.of.entry(quantity).or_default().push(of_it.map(|each| each.error()).fold(0.0, f64::max));
    }
    let wrong: Vec<_> = compared.iter().filter(|each| each.error() > 0.0).collect();
    errors.exact += usize::from(wrong.is_empty());
    (!wrong.is_empty()).then(|| {
        let each = wrong.iter().map(|each| {
            let place = if each.measured.on_device { "device" } else { "host" };
            format!("{place} {:?} {} and not {}", each.measured.quantity, each.predicted, each.measured.bytes)
        });
        each.collect::<Vec<_>>().join("; ")
    })
}

fn line(backend: &str, architecture: &str, errors: &Errors) {
    let percent =
        |quantity, part| percentile(errors.of.get(&quantity).map_or(&[], Vec::as_slice), part) * 100.0;
    println!(
        "| {backend} | {architecture} | {} | {} | {:.2} % | {:.2} % | {:.2} % | {:.2} % | {:.2} % |",
        errors.probes,
        errors.exact,
        percent(Quantity::Workspace, 0.5),
        percent(Quantity::Workspace, 0.95),
        percent(Quantity::Workspace, 1.0),
        percent(Quantity::Weights, 1.0),
        percent(Quantity::Cache, 1.0),
    );
}

/// The smallest of the numbers that this part of them do not exceed; 0 of none.
pub fn percentile(numbers: &[f64], part: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
}
