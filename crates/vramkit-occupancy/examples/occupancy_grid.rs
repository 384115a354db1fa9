//! The errors of every prediction over a grid of batches and traffics, against a plain simulation.
//!
//! `cargo run --release -p vramkit-occupancy --example occupancy_grid` prints the tables of `docs/occupancy.md` (some
//! minutes); with `-- --write` it puts them there; with `-- --check` it runs a smaller grid and fails where a promise is
//! broken.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/plain/mod.rs"]
mod plain;

use std::fmt::Write as _;

use rayon::prelude::*;
use vramkit_occupancy::{
    Batch, Batching, Effort, Horizon, Lengths, Population, PublishedFormulas, Question, RequestLengths,
    Service, TokenDemand, answer,
};

const RISKS: [f64; 3] = [0.05, 0.01, 0.001];

/// One setting: the errors of each prediction, over the truth.
struct Row {
    name: String,
    /// X0 by published, corrected, exact.
    x0: [f64; 3],
    kappa: [f64; 3],
    xmax: [f64; 3],
    /// Whether the exact X0 and Xmax are within their limits, or three standard errors.
    x0_holds: bool,
    xmax_holds: bool,
    /// For each risk: what the published rule's, the Gamma law's and vramkit's memory realise, over the risk.
    realised: [[f64; 3]; 3],
    sizing_holds: [bool; 3],
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = arguments.iter().any(|argument| argument == "--check");
    let (seats, terminations, prompts): (&[u32], &[f64], &[u64]) = if check {
        (&[8, 32], &[0.01, 0.05], &[20, 500])
    } else {
        (&[8, 32, 128, 512], &[0.002, 0.01, 0.05], &[20, 100, 500, 2000])
    };
    let mut settings = Vec::new();
    for &n in seats {
        for theta in [0.05, 0.2, 0.5, 1.0] {
            let k = ((f64::from(n) * theta).round() as u32).max(1);
            for &p in terminations {
                settings.extend(prompts.iter().map(|&prompt| (n, k, p, prompt)));
            }
        }
    }
    let rows: Vec<Row> = settings.par_iter().map(|&(n, k, p, prompt)| setting(n, k, p, prompt)).collect();
    let mut text = threshold_table(&rows);
    let (continuous, continuous_holds) = continuous_table(check);
    text += &continuous;
    println!("{text}");
    let broken: Vec<String> = rows
        .iter()
        .filter(|row| !(row.x0_holds && row.xmax_holds && row.sizing_holds.iter().all(|&holds| holds)))
        .map(|row| {
            format!(
                "{}: X0 {:+.2e}, Xmax {:+.2e}, realised {:?}",
                row.name, row.x0[2], row.xmax[2], row.realised
            )
        })
        .collect();
    broken.iter().for_each(|row| println!("outside its limits: {row}"));
    if arguments.iter().any(|argument| argument == "--write") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/occupancy.md");
        let document = std::fs::read_to_string(path).unwrap();
        let (head, rest) = document.split_once("<!-- grid -->\n").unwrap();
        let (_, tail) = rest.split_once("<!-- end of grid -->").unwrap();
        std::fs::write(path, format!("{head}<!-- grid -->\n{text}<!-- end of grid -->{tail}")).unwrap();
    }
    if check && !(broken.is_empty() && continuous_holds) {
        std::process::exit(1);
    }
}

fn setting(n: u32, k: u32, p: f64, prompt: u64) -> Row {
    let batch = Batch::new(n, k).unwrap();
    // Short cycles are alike for long, and cheap: more of them.
    let cycles = (20_000.0 / batch.theta()).min(200_000.0) as usize;
    let seed = u64::from(n) ^ prompt << 20 ^ u64::from(k) << 40;
    let truth = plain::threshold(n as usize, k as usize, prompt, p, cycles, seed);
    let lengths = Lengths::geometric(prompt as f64, p).unwrap();
    let effort = Effort { cycles: 20_000, seed: 1 };
    let service = Service { effort, ..Service::new(&lengths, Horizon::Cycle) };
    let batching = Batching::Threshold(batch);
    let report = answer(&service, Question { batching, capacity: None, risk: 0.01 }, &[]).unwrap();
    let error = |predictions: &vramkit_occupancy::Predictions, truth: f64| {
        [predictions.published, predictions.corrected, predictions.exact]
            .map(|value| value.unwrap() / truth - 1.0)
    };
    let kappa = truth.before - truth.x0;
    let x0 = error(&report.x0, truth.x0);
    let xmax = error(&report.xmax, truth.before);
    let simulated_error = report.xmax.standard_error.unwrap();
    let published = PublishedFormulas::new(batch, &lengths).unwrap();
    let exact = vramkit_occupancy::Exact::new(batch, prompt as f64, 0.0, p);
    let (mut realised, mut sizing_holds) = ([[0.0; 3]; 3], [true; 3]);
    for (i, risk) in RISKS.into_iter().enumerate() {
        let ours = service.least_capacity(batching, risk).unwrap().value;
        realised[i] = [published.capacity(risk), exact.capacity(risk), ours]
            .map(|capacity| plain::over(&truth, capacity) / risk);
        // The count's own error: cycles that follow each other are alike.
        let over: Vec<f64> = truth.peaks.iter().map(|&peak| f64::from(u8::from(peak > ours))).collect();
        let pieces: Vec<f64> = over.chunks(400).map(|chunk| chunk.iter().sum::<f64>() / 400.0).collect();
        let mean = over.iter().sum::<f64>() / over.len() as f64;
        let count = pieces.len() as f64;
        let spread =
            (pieces.iter().map(|piece| (piece - mean).powi(2)).sum::<f64>() / count / (count - 1.0)).sqrt();
        let spread = spread.max((risk / over.len() as f64).sqrt());
        // Peaks of few whole tokens cannot meet every risk: one token less must be over it.
        let coarse = plain::over(&truth, ours - 1.0 - f64::from(n)) >= risk && realised[i][2] <= 1.5;
        let ratio = realised[i][2];
        sizing_holds[i] = (1.0 / 1.5..1.5).contains(&ratio) || (mean - risk).abs() < 3.0 * spread || coarse;
    }
    Row {
        name: format!("N {n}, k {k}, p {p}, L {prompt}"),
        x0,
        kappa: error(&report.kappa, kappa),
        xmax,
        x0_holds: x0[2].abs() < 0.01 || x0[2].abs() * truth.x0 < 3.0 * truth.x0_error,
        xmax_holds: xmax[2].abs() < 0.02
            || xmax[2].abs() * truth.before < 3.0 * truth.before_error.hypot(simulated_error),
        realised,
        sizing_holds,
    }
}

/// The median, the 90th percentile and the worst of the sizes of errors, per cent.
fn quantiles(errors: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut sizes: Vec<f64> = errors.map(|error| 100.0 * error.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    [sizes[sizes.len() / 2], sizes[sizes.len() * 9 / 10], sizes[sizes.len() - 1]]
}

fn threshold_table(rows: &[Row]) -> String {
    let mut text = format!(
        "\nThreshold batching, {} settings, 20,000 to 200,000 cycles each; errors over the plain simulation, in per cent (median, 90th \
         percentile, worst):\n\n| | published | corrected | exact |\n|---|---|---|---|\n",
        rows.len()
    );
    type Errors = fn(&Row) -> &[f64; 3];
    let lines: [(&str, Errors); 3] =
        [("E[X0]", |row| &row.x0), ("kappa", |row| &row.kappa), ("E[Xmax]", |row| &row.xmax)];
    for (name, errors) in lines {
        let cells = (0..3).map(|model| {
            let [median, most, worst] = quantiles(rows.iter().map(|row| errors(row)[model]));
            format!("{median:.2}, {most:.1}, {worst:.1}")
        });
        let _ = writeln!(text, "| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    let holds = |held: fn(&Row) -> bool| rows.iter().filter(|row| held(row)).count();
    let _ = writeln!(
        text,
        "\nE[X0] by `exact` is within 1 % or three standard errors in {} of {}, E[Xmax] within 2 % or three in {}.\n\n\
         Memory for a risk a cycle: the share of cycles over it, over the risk (least, median, most):\n\n\
         | risk | published rule | Gamma law (`corrected`) | vramkit | within 1.5 x or three standard errors |\n|---|---|---|---|---|",
        holds(|row| row.x0_holds),
        rows.len(),
        holds(|row| row.xmax_holds)
    );
    for (i, risk) in RISKS.into_iter().enumerate() {
        let cells = (0..3).map(|model| {
            let mut ratios: Vec<f64> = rows.iter().map(|row| row.realised[i][model]).collect();
            ratios.sort_by(f64::total_cmp);
            format!("{:.2}, {:.2}, {:.1}", ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1])
        });
        let held = rows.iter().filter(|row| row.sizing_holds[i]).count();
        let _ = writeln!(
            text,
            "| {risk} | {} | {held} of {} |",
            cells.collect::<Vec<_>>().join(" | "),
            rows.len()
        );
    }
    text
}

/// Continuous batching against long runs: a moment, and a horizon of 2,000 steps.
fn continuous_table(check: bool) -> (String, bool) {
    let geometric: Vec<(u32, u32)> = {
        let mut random = plain::Random(1);
        (0..20_000)
            .map(|_| (200, ((1.0 - random.unit()).ln() / 0.98f64.ln()).ceil().max(1.0) as u32))
            .collect()
    };
    let logs =
        [("prompts 200, outputs geometric", geometric), ("long prompts, short answers", plain::log(5, 5000))];
    let steps = if check { 4_000_000 } else { 200_000_000 };
    let mut text = "\nContinuous batching: the risk by vramkit over the share of steps, and of horizons of 2,000 steps, that a plain \
                    simulation finds over the capacity:\n\n| traffic | seats | capacity | a moment | seen | ratio | a horizon | seen | \
                    ratio |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let mut jobs = Vec::new();
    for (name, log) in &logs {
        for seats in [8, 32] {
            jobs.push((*name, log, seats));
        }
    }
    let rows: Vec<(String, bool)> =
        jobs.par_iter().map(|(name, log, seats)| continuous_rows(name, log, *seats, steps)).collect();
    rows.iter().for_each(|row| text += &row.0);
    (text, rows.iter().all(|row| row.1))
}

fn continuous_rows(name: &str, log: &[(u32, u32)], seats: u32, steps: u64) -> (String, bool) {
    let requests: Vec<RequestLengths> =
        log.iter().map(|&(prompt, output)| RequestLengths { prompt, output }).collect();
    let lengths = Lengths::from_requests(requests).unwrap();
    let demand = TokenDemand::new(&lengths, Population::Seats(seats), 1).unwrap();
    // Capacities whose risk at a moment is about what is wanted.
    let capacities: Vec<f64> = [1e-2, 1e-3, 1e-4, 1e-5]
        .into_iter()
        .map(|risk| {
            let (mut low, mut high) = (demand.mean(), demand.mean() + 12.0 * demand.variance().sqrt());
            while high - low > 1.0 {
                let middle = (0.5 * (low + high)).floor();
                if demand.tail(middle).unwrap().probability() > risk { low = middle } else { high = middle }
            }
            high
        })
        .collect();
    let span = 2000;
    let (mut over, mut met, mut here, mut at) = (vec![0u64; 4], vec![0u64; 4], vec![false; 4], 0u64);
    plain::continuous(log, seats as usize, 1, steps, &mut plain::Random(3), |demand| {
        for i in 0..4 {
            if demand > capacities[i] {
                over[i] += 1;
                here[i] = true;
            }
        }
        at += 1;
        if at % span == 0 {
            for i in 0..4 {
                met[i] += u64::from(std::mem::take(&mut here[i]));
            }
        }
        true
    });
    let (mut text, mut holds) = (String::new(), true);
    for i in 0..4 {
        let moment = demand.tail(capacities[i]).unwrap().probability();
        let horizon = demand.horizon(capacities[i], span as f64, 16_384, 1).unwrap().probability;
        let (seen, seen_horizon) = (over[i] as f64 / steps as f64, met[i] as f64 / (steps / span) as f64);
        // Exceedances come in clumps; horizons that meet one are nearly independent.
        let error = 1.0 / (met[i].max(1) as f64).sqrt();
        let near = |ratio: f64| (ratio - 1.0).abs() < 0.2 + 3.0 * error;
        holds &= met[i] < 20 || (near(moment / seen) && near(horizon / seen_horizon));
        let _ = writeln!(
            text,
            "| {name} | {seats} | {:.0} | {moment:.2e} | {seen:.2e} | {:.2} | {horizon:.2e} | {seen_horizon:.2e} | {:.2} ± {:.2} |",
            capacities[i],
            moment / seen,
            horizon / seen_horizon,
            error * horizon / seen_horizon
        );
    }
    (text, holds)
}
