//! `vramkit capacity`.

use std::fmt::Write as _;
use std::io::Write as _;

use schemars::JsonSchema;
use serde::Serialize;
use vramkit::ByteSize;
use vramkit::units::grouped;
use vramkit_models::kv::{KvShape, read_kv_shape};
use vramkit_models::traffic::{BadRows, CHARACTERS_A_TOKEN, Traffic, read_traffic};
use vramkit_occupancy::{
    Batch, Batching, CapacityReport, Effort, Horizon, Lengths, OccupancyError, Population, PublishedFormulas,
    Question, Replayed, RequestLengths, Scheduler, Service, TokenDemand, answer,
};
use vramkit_report::{RiskCurve, RiskPicture, risk_svg};

use crate::args::{CapacityOptions, HorizonArg};
use crate::failure::Failure;
use crate::output::{self, BAD, BOLD, DIM, GOOD};
use crate::progress::Progress;

/// Risks that a person is told the batch for, beside the one asked about.
const RISKS: [f64; 3] = [1e-2, 1e-4, 1e-6];
/// The risk when none is asked about.
const RISK: f64 = 1e-2;

/// What is printed: the report, and what only the program knows.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Answer {
    #[serde(flatten)]
    report: CapacityReport,
    /// Whether lengths were estimated from text, at 4 characters a token.
    lengths_estimated: bool,
    /// Rows of the log that were left out because they can be no request.
    rows_left_out: u64,
    /// The log run through a scheduler.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<Replayed>,
}

pub fn run(options: &CapacityOptions) -> Result<bool, Failure> {
    let traffic = options.lengths.as_ref().map(|path| {
        read_traffic(path, if options.skip_bad_rows { BadRows::LeaveOut } else { BadRows::Refuse })
    });
    let traffic = traffic.transpose()?;
    let lengths = lengths(options, traffic.as_ref())?;
    let bytes = kv_bytes(options)?;
    let capacity = capacity(options, bytes)?;
    let horizon = horizon(options)?;
    let progress = Progress::new("computing", None);
    let service = Service {
        lengths: &lengths,
        block: options.block,
        horizon,
        effort: Effort { cycles: options.cycles, seed: options.seed },
        progress: &|_| {},
    };
    let risk = options.risk.unwrap_or(RISK);
    let batching = batching(options, &service, capacity, risk)?;
    let others: &[f64] = if options.json { &[] } else { &RISKS };
    let mut report = answer(&service, Question { batching, capacity, risk }, others)?;
    report.kv_bytes_per_token = bytes;
    report.capacity_bytes_needed = bytes
        .zip(report.capacity_tokens_needed)
        .map(|(bytes, tokens)| (tokens.ceil() as u64).saturating_mul(bytes));
    let replay = options.replay.then(|| replay(options, &service, batching, capacity)).transpose()?;
    if let Some(path) = &options.svg {
        let svg = risk_svg(&picture(&service, &report, batching, capacity)?);
        output::file(path, |out| out.write_all(svg.as_bytes()))?;
    }
    drop(progress);
    let within = report.probability.is_some_and(|probability| probability <= risk);
    // With a capacity and a risk it is a question.
    let yes = options.risk.is_none() || capacity.is_none() || within;
    let answer = Answer {
        report,
        lengths_estimated: traffic.as_ref().is_some_and(|traffic| traffic.estimated),
        rows_left_out: traffic.as_ref().map_or(0, |traffic| traffic.left_out),
        replay,
    };
    if options.json {
        output::json(&answer)?
    } else {
        output::text(&text(options, &answer))?
    }
    Ok(yes)
}

fn lengths(options: &CapacityOptions, traffic: Option<&Traffic>) -> Result<Lengths, Failure> {
    let lengths = match (traffic, options.prompt_mean, options.termination) {
        (Some(traffic), ..) => {
            let requests =
                traffic.requests.iter().map(|r| RequestLengths { prompt: r.prompt, output: r.output });
            Lengths::from_requests(requests.collect::<Vec<_>>())?
        }
        (None, Some(prompt), Some(termination)) => Lengths::geometric(prompt, termination)?,
        _ => return Err(Failure::Input("give --lengths, or --prompt-mean with --termination".to_owned())),
    };
    Ok(match options.max_output {
        Some(cap) => lengths.capped(cap)?,
        None => lengths,
    })
}

/// Bytes of cache that a token takes, if a model is named.
fn kv_bytes(options: &CapacityOptions) -> Result<Option<u64>, Failure> {
    let shape = match (&options.model, options.layers, options.kv_heads, options.head_dim) {
        (Some(model), ..) => Some(read_kv_shape(model)?),
        (None, Some(layers), Some(heads), Some(head)) => {
            Some(KvShape::new(layers, heads, head).map_err(Failure::Input)?)
        }
        _ => None,
    };
    Ok(shape.map(|shape| shape.bytes_per_token(options.cache_type)))
}

fn capacity(options: &CapacityOptions, bytes: Option<u64>) -> Result<Option<f64>, Failure> {
    match (options.capacity, bytes) {
        (None, _) => Ok(options.capacity_tokens),
        (Some(_), None) => Err(Failure::Input(
            "--capacity in bytes needs to know what a token takes: give --model, or --layers, --kv-heads and --head-dim; or \
             --capacity-tokens"
                .to_owned(),
        )),
        (Some(capacity), Some(bytes)) => Ok(Some((capacity.bytes() / bytes) as f64)),
    }
}

fn horizon(options: &CapacityOptions) -> Result<Horizon, Failure> {
    if let Some(step) = options.step_seconds
        && !(step > 0.0 && step.is_finite())
    {
        return Err(Failure::Input(format!("--step-seconds {step}: a step takes more than 0 seconds")));
    }
    match (options.horizon, options.step_seconds) {
        (HorizonArg::Cycle, _) => Ok(Horizon::Cycle),
        (HorizonArg::Steps(steps), _) => Ok(Horizon::Steps(steps)),
        (HorizonArg::Time(time), Some(step)) => Ok(Horizon::Steps(time.as_secs_f64() / step)),
        (HorizonArg::Time(_), None) => Err(Failure::Input(
            "a horizon in time needs --step-seconds: how long a decode step takes (0.025 is 40 tokens a second for each \
             sequence)"
                .to_owned(),
        )),
    }
}

fn batching(
    options: &CapacityOptions,
    service: &Service,
    capacity: Option<f64>,
    risk: f64,
) -> Result<Batching, Failure> {
    match (options.batch, options.threshold, capacity) {
        (Some(batch), Some(threshold), _) => Ok(Batching::Threshold(Batch::new(batch, threshold)?)),
        (Some(seats), None, _) => Ok(Batching::Continuous { seats }),
        (None, _, Some(capacity)) => {
            let largest = service.largest_batch(Batching::Continuous { seats: 1 }, capacity, risk)?;
            if largest.value < 1.0 {
                return Err(Failure::Input(format!(
                    "not one sequence has a risk below {risk} in {capacity} tokens; give --batch to see its risk"
                )));
            }
            Ok(Batching::Continuous { seats: largest.value as u32 })
        }
        (None, _, None) => {
            Err(Failure::Input("give --batch, or a capacity to find the largest batch for".to_owned()))
        }
    }
}

fn replay(
    options: &CapacityOptions,
    service: &Service,
    batching: Batching,
    capacity: Option<f64>,
) -> Result<Replayed, Failure> {
    let Some(capacity) = capacity else {
        return Err(Failure::Input("--replay needs a capacity".to_owned()));
    };
    let scheduler = Scheduler {
        blocks: (capacity / f64::from(options.block)) as u64,
        block: options.block,
        watermark: options.watermark,
        token_budget: options.token_budget,
        ..Scheduler::new(0, batching.seats())
    };
    Ok(scheduler.replay(service.lengths.requests().unwrap_or_default(), None)?)
}

/// Risks of batches around the one asked about, by each model.
fn picture(
    service: &Service,
    report: &CapacityReport,
    batching: Batching,
    capacity: Option<f64>,
) -> Result<RiskPicture, Failure> {
    let Some(capacity) = capacity else {
        return Err(Failure::Input("--svg draws risk against batch: it needs a capacity".to_owned()));
    };
    let asked = f64::from(batching.seats());
    let largest = f64::from(
        report.batches.iter().filter_map(|batch| batch.max_batch).max().unwrap_or(batching.seats()),
    );
    let fit = f64::from(report.mean_fit_batch.unwrap_or(batching.seats()));
    let (low, high) = (0.8 * largest.min(asked).min(fit), 1.04 * largest.max(asked).max(fit));
    let mut batches: Vec<u32> =
        (0..=24).map(|i| (low + (high - low) * f64::from(i) / 24.0).round().max(1.0) as u32).collect();
    batches.dedup();
    let (mut exact, mut simulated, mut published) = (Vec::new(), Vec::new(), Vec::new());
    for &seats in &batches {
        let batching = batching.with_seats(seats);
        let at = f64::from(seats);
        if let Ok(formulas) = PublishedFormulas::new(batching.batch()?, service.lengths) {
            let tail = formulas.tail(capacity - formulas.x0());
            let cycles = match service.horizon {
                Horizon::Cycle => 1.0,
                Horizon::Steps(steps) => (steps / report.cycle_steps).max(1.0),
            };
            let over = -(cycles * (-tail.min(1.0 - 1e-12)).ln_1p()).exp_m1();
            published.push((at, over, over, over));
        }
        let found = match service.risk(batching, capacity) {
            Ok(risk) => risk,
            Err(OccupancyError::Refused { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        exact.push((at, found.probability, found.low, found.high));
        // Where a simulation of some seconds can meet it.
        let short = match (batching, service.horizon) {
            (_, Horizon::Cycle) => true,
            (Batching::Continuous { .. }, Horizon::Steps(steps)) => steps <= 1e6,
            (Batching::Threshold(_), Horizon::Steps(_)) => false,
        };
        if short && (5e-3..=0.99).contains(&found.probability) {
            let mean = match batching {
                Batching::Continuous { seats } => {
                    let demand = TokenDemand::new(service.lengths, Population::Seats(seats), service.block)?;
                    let (steps, runs) = match service.horizon {
                        Horizon::Cycle => (0.0, 20_000),
                        Horizon::Steps(steps) => (steps, (5e7 / steps).clamp(128.0, 4096.0) as u64),
                    };
                    demand.simulate_horizon(capacity, steps, runs, service.effort.seed)?
                }
                Batching::Threshold(batch) => {
                    let effort = Effort { seed: service.effort.seed ^ 0x51, ..service.effort };
                    vramkit_occupancy::simulate(batch, service.lengths, effort)?.exceeding(capacity)
                }
            };
            // Two standard errors on the scale of logarithms, where a risk cannot be below 0.
            let reach = (2.0 * mean.standard_error / mean.mean.max(1e-12)).min(20.0).exp();
            if mean.mean > 0.0 {
                simulated.push((at, mean.mean, mean.mean / reach, (mean.mean * reach).min(1.0)));
            }
        }
    }
    let curve = |name: &str, points, bars| RiskCurve { name: name.to_owned(), points, bars };
    let batch = match batching {
        Batching::Threshold(batch) => format!("threshold {:.3} of the batch", batch.theta()),
        Batching::Continuous { .. } => "continuous batching".to_owned(),
    };
    Ok(RiskPicture {
        title: format!("{capacity:.0} tokens of KV cache, {batch}"),
        risk_of: format!("risk of running out {}", within(report)),
        curves: vec![
            curve("vramkit, within two standard errors", exact, false),
            curve("simulated", simulated, true),
            curve("published formulas", published, false),
        ],
        batch: asked,
        risk: report.risk,
    })
}

fn within(report: &CapacityReport) -> String {
    match (report.horizon_steps, report.continuous) {
        (Some(steps), _) => format!("within {} steps", thousands(steps)),
        (None, true) => "at a step drawn at random".to_owned(),
        (None, false) => "in a cycle".to_owned(),
    }
}

fn text(options: &CapacityOptions, answer: &Answer) -> String {
    let report = &answer.report;
    let mut text = String::new();
    let replaced = match report.continuous {
        true => "each replaced at once".to_owned(),
        false => format!("replaced when {} have ended", report.threshold),
    };
    let _ = writeln!(text, "{BOLD}{} sequences{BOLD:#}, {replaced}", report.batch);
    let traffic = &report.traffic;
    let _ = write!(
        text,
        "  traffic   prompts of {:.0}, outputs of {:.0} tokens on average",
        traffic.mean_prompt, traffic.mean_output
    );
    match (&options.lengths, traffic.requests) {
        (Some(path), Some(requests)) => {
            let _ = write!(text, ": {} requests of {}", thousands(requests as f64), path.display());
        }
        _ => text.push_str(", geometric"),
    }
    text.push('\n');
    if answer.lengths_estimated {
        let _ = writeln!(
            text,
            "            {DIM}estimated from text, {CHARACTERS_A_TOKEN} characters a token{DIM:#}"
        );
    }
    if answer.rows_left_out > 0 {
        let _ = writeln!(text, "            {DIM}{} rows left out{DIM:#}", answer.rows_left_out);
    }
    if let Some(capacity) = report.capacity_tokens {
        let _ = write!(text, "  memory    {} tokens", thousands(capacity));
        if let Some(bytes) = report.kv_bytes_per_token {
            let _ = write!(text, " of {} each", ByteSize::new(bytes));
        }
        text.push('\n');
    }
    if let (Some(p), Some(low), Some(high)) =
        (report.probability, report.probability_low, report.probability_high)
    {
        let style = if p <= report.risk { GOOD } else { BAD };
        let _ = write!(text, "  risk      {style}{}{style:#} {}", chance(p), within(report));
        let _ = writeln!(text, ", {} to {}", chance(low), chance(high));
    }
    if let (Some(method), Some(reason)) = (report.probability_method, &report.probability_reason) {
        let _ = writeln!(text, "            {DIM}{method}: {reason}{DIM:#}");
    }
    if let (Some(needed), Some(low), Some(high)) =
        (report.capacity_tokens_needed, report.capacity_tokens_needed_low, report.capacity_tokens_needed_high)
    {
        let _ =
            write!(text, "  needs     {} tokens for a risk of {}", thousands(needed), chance(report.risk));
        let _ = write!(text, ", {} to {}", thousands(low), thousands(high));
        if let Some(bytes) = report.capacity_bytes_needed {
            let _ = write!(text, " ({})", ByteSize::new(bytes));
        }
        text.push('\n');
    }
    if !report.batches.is_empty() {
        text.push_str(&batches(report));
    }
    text.push_str(&models(report));
    if let Some(replay) = &answer.replay {
        let _ = writeln!(
            text,
            "\n  replayed  {} steps, {} preemptions, {} tokens computed again, at most {} sequences, peak {:.1} % of the blocks",
            thousands(replay.steps as f64),
            thousands(replay.preemptions as f64),
            thousands(replay.recomputed_tokens as f64),
            replay.peak_running,
            report.capacity_tokens.map_or(0.0, |tokens| {
                100.0 * replay.peak_blocks as f64 / (tokens / f64::from(options.block)).floor()
            })
        );
    }
    for note in &report.notes {
        let _ = writeln!(text, "  {DIM}note: {note}{DIM:#}");
    }
    text
}

fn batches(report: &CapacityReport) -> String {
    let mut rows = vec![["largest batch", "sequences", "between"].map(str::to_owned).to_vec()];
    for batch in &report.batches {
        let whole = |n: Option<u32>| n.map_or_else(|| "refused".to_owned(), |n| n.to_string());
        let between = match (batch.max_batch_low, batch.max_batch_high) {
            (Some(low), Some(high)) => format!("{low} to {high}"),
            _ => String::new(),
        };
        rows.push(vec![
            format!("{} {}", chance(batch.risk), within(report)),
            whole(batch.max_batch),
            between,
        ]);
    }
    let none = || "none".to_owned();
    rows.push(vec!["mean fits".into(), report.mean_fit_batch.map_or_else(none, |n| n.to_string())]);
    rows.push(vec!["worst case fits".into(), report.worst_case_batch.map_or_else(none, |n| n.to_string())]);
    format!("\n{}", output::table(&rows))
}

/// The models beside one another.
fn models(report: &CapacityReport) -> String {
    let mut rows =
        vec![["tokens", "published", "corrected", "exact", "simulated", "+-"].map(str::to_owned).to_vec()];
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    for (name, of) in [("E[X0]", &report.x0), ("kappa", &report.kappa), ("E[Xmax]", &report.xmax)] {
        rows.push(
            std::iter::once(name.to_owned())
                .chain([of.published, of.corrected, of.exact, of.simulated, of.standard_error].map(number))
                .collect(),
        );
    }
    if report.capacity_tokens.is_some() {
        let tail = &report.tail;
        let risk = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), chance);
        let name = if report.continuous { "P(over) at a step" } else { "P(over) in a cycle" };
        rows.push(vec![name.to_owned(), risk(tail.published), risk(tail.corrected), risk(tail.exact)]);
    }
    format!("\n{}", output::table(&rows))
}

/// A probability for a person.
fn chance(p: f64) -> String {
    match p {
        p if p <= 0.0 => "0".to_owned(),
        p if p > 0.999 => format!("{:.3} %", 100.0 * p),
        p if p >= 0.01 => format!("{} %", significant(100.0 * p)),
        p if p >= 1e-3 => format!("{:.2} %", 100.0 * p),
        p => {
            let text = format!("{p:.1e}");
            text.replace(".0e", "e")
        }
    }
}

fn significant(value: f64) -> String {
    if value >= 9.95 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn thousands(value: f64) -> String {
    grouped(value.round_ties_even() as u64)
}
