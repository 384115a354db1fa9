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

/// Prints a table of probes; the reasons of those that are off, beside it. Says whether each is exact.
pub fn print(title: &str, probes: &[Probe]) -> std::io::Result<bool> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("model.gguf");
    let mut all = BTreeMap::<(String, String), Errors>::new();
    let mut off = Vec::new();
    for probe in probes {
        let key = (probe.options.backend.to_string(), probe.model.architecture.clone());
        let errors = all.entry(key).or_default();
        if let Some(reason) = add(errors, probe, &file) {
            off.push(format!("{}: {reason}", probe.place()));
        }
    }
    println!("{title}\n");
    println!(
        "| back end | architecture | probes | exact | workspace: median | 95 % | worst | weights: worst | cache and state: worst |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|");
    for ((backend, architecture), errors) in &all {
        line(backend, architecture, errors);
    }
    println!();
    for off in &off {
        eprintln!("off: {off}");
    }
    Ok(off.is_empty())
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
