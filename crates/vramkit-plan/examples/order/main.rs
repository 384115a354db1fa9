//! How far orders of families of graphs are from the best, and what they take.
//!
//! `cargo run --release -p vramkit-plan --example order [SECONDS [FAMILY]]`. Peaks are in hundredths of the bound; `cpu` is processor
//! seconds of the whole search; `same` says whether another numbering of the steps gives the same peak, for small graphs.

mod families;

use std::time::Duration;

use families::{Start, chains, grid, random, randwire, renumbered, reversed, series_parallel, tree};
use vramkit_plan::{Dataflow, OrderBudget};

/// Processor seconds of this process.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|spent| spent.parse::<f64>().ok()).map_or(f64::NAN, |spent| spent / 1e9)
}

fn row(name: &str, flow: &Dataflow, seconds: f64) -> String {
    let given: Vec<usize> = (0..flow.steps()).collect();
    let before = processor_seconds();
    let found = flow.best_order(&given, &OrderBudget::new(Duration::from_secs_f64(seconds), &()));
    let spent = processor_seconds() - before;
    let same = match flow.steps() {
        0..200 => {
            let again = renumbered(flow, 1);
            let peak =
                again.best_order(&given, &OrderBudget::new(Duration::from_secs_f64(seconds), &())).peak;
            (peak == found.peak).to_string()
        }
        _ => String::new(),
    };
    let gap = (found.peak.bytes() as f64 / found.bound.bytes().max(1) as f64 - 1.0) * 100.0;
    format!(
        "{name:<28} {:>7} {:>12} {:>12} {:>12} {gap:>8.2} {:>7} {spent:>8.2} {same:>6}\n",
        flow.steps(),
        flow.peak_of(&given).bytes(),
        found.peak.bytes(),
        found.bound.bytes(),
        found.proven,
    )
}

fn main() -> std::io::Result<()> {
    use std::io::Write;
    let mut words = std::env::args().skip(1);
    let seconds: f64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(10.0);
    let only = words.next().unwrap_or_default();
    let mut all: Vec<(String, Dataflow)> = Vec::new();
    for count in [2, 10, 40, 60] {
        for start in [Start::Own, Start::Shared, Start::Kept] {
            all.push((format!("chains {count} {start:?}"), chains(count, 50, start, 1)));
        }
    }
    for steps in [50, 500, 3000] {
        let tree = tree(steps, 1);
        all.push((format!("tree out {steps}"), reversed(&tree)));
        all.push((format!("tree in {steps}"), tree));
        all.push((format!("nested {steps}"), series_parallel(steps, false, 1)));
        all.push((format!("nested shared {steps}"), series_parallel(steps, true, 1)));
    }
    for seed in 0..4 {
        for nodes in [32, 64] {
            all.push((format!("randwire {nodes} even {seed}"), randwire(nodes, 4, 0.75, true, seed)));
            all.push((format!("randwire {nodes} uneven {seed}"), randwire(nodes, 4, 0.75, false, seed)));
        }
        all.push((format!("random 24 {seed}"), random(24, 12, seed)));
        all.push((format!("random 100 {seed}"), random(100, 30, seed)));
        all.push((format!("random 1000 {seed}"), random(1000, 50, seed)));
    }
    all.push(("random 10000".to_owned(), random(10_000, 100, 1)));
    all.push(("grid 10x10".to_owned(), grid(10, 1)));
    all.push(("grid 100x100".to_owned(), grid(100, 1)));
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:<28} {:>7} {:>12} {:>12} {:>12} {:>8} {:>7} {:>8} {:>6}",
        "family", "steps", "given", "found", "bound", "gap %", "proven", "cpu", "same"
    )?;
    for (name, flow) in all.iter().filter(|(name, _)| name.contains(&only)) {
        out.write_all(row(name, flow, seconds).as_bytes())?;
        out.flush()?;
    }
    Ok(())
}
