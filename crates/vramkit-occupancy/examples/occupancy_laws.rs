//! What is answered for laws that have little in common, against a plain simulation that shares no code with the crate.
//!
//! `cargo run --release -p vramkit-occupancy --example occupancy_laws` checks laws that are made here, and logs of lengths that are named
//! behind `--` (CSV whose last two columns are prompt and output); with `--write` the table goes into `docs/occupancy.md`. It fails where a memory or a batch has not the risk that was
//! asked for, by more than a factor of 1.5 and three standard errors.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/plain/mod.rs"]
mod plain;

use plain::{Random, Served, threshold_peak};
use rayon::prelude::*;
use std::time::Duration;
use vramkit_occupancy::{Batch, Batching, Deadline, Horizon, Lengths, Order, RequestLengths, Service, Start};

const SEATS: u32 = 24;
const STEPS: u64 = 8_000;
const RUNS: u64 = 1_000;
const RISKS: [f64; 2] = [0.2, 0.03];

/// How a law is asked about.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    block: u32,
    start: Start,
    order: Order,
    threshold: Option<u32>,
}

const SETTLED: Way =
    Way { name: "settled", block: 1, start: Start::Settled, order: Order::Drawn, threshold: None };
const WAYS: [Way; 6] = [
    SETTLED,
    Way { name: "in blocks", block: 16, ..SETTLED },
    Way { name: "cold start", start: Start::Cold, ..SETTLED },
    Way { name: "as logged", order: Order::AsLogged, ..SETTLED },
    Way { name: "threshold", threshold: Some(6), ..SETTLED },
    Way { name: "threshold, cold", threshold: Some(6), start: Start::Cold, ..SETTLED },
];

/// A law of requests, by name.
struct Law {
    name: String,
    requests: Vec<(u32, u32)>,
}

impl Law {
    /// The order of requests that were drawn each by itself says nothing; that of a short log is the same in every run. Outputs that are
    /// much alike go on to end together under threshold batching: how a batch began decides.
    fn makes_sense(&self, way: Way) -> bool {
        let in_order = way.order == Order::AsLogged;
        let settles = way.threshold.is_none() || way.start == Start::Cold || !self.name.contains("fixed");
        settles && (!in_order || self.requests.len() > 10_000)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (options, files): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| argument.starts_with("--"));
    let mut laws: Vec<Law> =
        plain::laws().into_iter().map(|(name, requests)| Law { name: name.to_owned(), requests }).collect();
    laws.extend(files.into_iter().map(|path| {
        let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".csv").replace('_', " ");
        Law { name, requests: read(path) }
    }));
    let asked: Vec<(&Law, Way)> = laws
        .iter()
        .flat_map(|law| WAYS.map(|way| (law, way)))
        .filter(|(law, way)| law.makes_sense(*way))
        .collect();
    let rows: Vec<(String, usize)> =
        asked.par_iter().map(|&(law, way)| row(&law.name, &law.requests, way)).collect();
    let broken: usize = rows.iter().map(|(_, broken)| broken).sum();
    let mut text = format!(
        "{} laws, {} ways of serving them: {broken} figures are not what was asked for.\n\n\
         | law | served | risk asked | memory has | largest batch | has | one more has |\n|---|---|---|---|---|---|---|\n",
        laws.len(),
        asked.len()
    );
    rows.iter().for_each(|(row, _)| text += row);
    println!("{text}");
    if options.iter().any(|option| *option == "--write") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/occupancy.md");
        let document = std::fs::read_to_string(path).unwrap();
        let (head, rest) = document.split_once("<!-- laws -->\n").unwrap();
        let (_, tail) = rest.split_once("<!-- end of laws -->").unwrap();
        std::fs::write(path, format!("{head}<!-- laws -->\n{text}<!-- end of laws -->{tail}")).unwrap();
    }
    if broken > 0 {
        std::process::exit(1);
    }
}

/// Prompts and outputs of a log.
fn read(path: &str) -> Vec<(u32, u32)> {
    let text = std::fs::read_to_string(path).unwrap();
    let number =
        |text: Option<&str>| text.and_then(|text| text.trim().parse().ok()).filter(|&tokens| tokens > 0);
    text.lines()
        .filter_map(|line| {
            let mut from_the_end = line.rsplit(',');
            let output = number(from_the_end.next());
            Some((number(from_the_end.next())?, output?))
        })
        .collect()
}

/// How often horizons of a batch are over a memory.
fn seen(law: &[(u32, u32)], way: Way, seats: u32, seed: u64) -> Vec<f64> {
    let longest = law.iter().map(|request| u64::from(request.1)).max().unwrap_or(1);
    let mut random = Random(seed ^ u64::from(seats) << 32);
    let served = Served {
        requests: law,
        seats: seats as usize,
        block: way.block.into(),
        cold: way.start == Start::Cold,
        in_order: way.order == Order::AsLogged,
    };
    let runs = if law.len() > 10_000 { RUNS / 2 } else { RUNS };
    (0..runs)
        .map(|_| {
            let peak = match way.threshold {
                Some(_) => {
                    let batch = way_batch(way, seats);
                    let warm_up = if served.cold { 0 } else { (200 * longest).min(40_000) };
                    threshold_peak(
                        law,
                        (batch.seats() as usize, batch.threshold() as usize),
                        warm_up,
                        STEPS,
                        &mut random,
                    )
                }
                None => served.peak(2 * longest, STEPS, &mut random),
            };
            peak as f64
        })
        .collect()
}

fn way_batch(way: Way, seats: u32) -> Batch {
    Batch::new(SEATS, way.threshold.unwrap_or(1)).unwrap().with_seats(seats)
}

/// A row for each risk, and how many of them are broken.
fn row(name: &str, law: &[(u32, u32)], way: Way) -> (String, usize) {
    let requests: Vec<RequestLengths> =
        law.iter().map(|&(prompt, output)| RequestLengths { prompt, output }).collect();
    let lengths = Lengths::from_requests(requests).unwrap();
    let service = Service {
        block: way.block,
        start: way.start,
        order: way.order,
        ..Service::new(&lengths, Horizon::Steps(STEPS as f64))
    };
    // As long as the program takes by itself.
    let by = || Service { deadline: Deadline::within(Duration::from_secs(10)), ..service };
    let batching = match way.threshold {
        Some(_) => Batching::Threshold(way_batch(way, SEATS)),
        None => Batching::Continuous { seats: SEATS },
    };
    let share = |peaks: &[f64], capacity: f64| {
        peaks.iter().filter(|&&peak| peak > capacity).count() as f64 / peaks.len() as f64
    };
    // Of a memory or batch: no more than 1.5 times the risk, or three standard errors.
    let too_much = |seen: f64, risk: f64, runs: usize| {
        seen > 1.5 * risk && seen - risk > 3.0 * (risk * (1.0 - risk) / runs as f64).sqrt()
    };
    let too_little = |seen: f64, risk: f64, runs: usize| {
        seen < risk / 1.5 && risk - seen > 3.0 * (risk * (1.0 - risk) / runs as f64).sqrt()
    };
    let (mut text, mut broken) = (String::new(), 0);
    let peaks = seen(law, way, SEATS, 1);
    for risk in RISKS {
        let mut flag = |is_broken: bool| {
            broken += usize::from(is_broken);
            if is_broken { " **!**" } else { "" }
        };
        let needed = match by().least_capacity(batching, risk) {
            Ok(needed) => needed.value,
            Err(refused) => {
                text += &format!("| {name} | {} | {risk} | {refused} | | | |\n", way.name);
                continue;
            }
        };
        let has = share(&peaks, needed);
        // Peaks of few whole values cannot meet every risk: the next lower one must be over it.
        let below = peaks.iter().copied().filter(|&peak| peak <= needed).fold(0.0, f64::max);
        let lumpy = share(&peaks, below - 1.0) > risk;
        let first = flag(too_much(has, risk, peaks.len()) || too_little(has, risk, peaks.len()) && !lumpy);
        // A memory that suits another number of seats.
        let capacity = (needed * 1.3).floor();
        let batch = match by().largest_batch(batching, capacity, risk) {
            Ok(batch) => batch.value as u32,
            Err(refused) => {
                text += &format!("| {name} | {} | {risk} | {has:.4}{first} | {refused} | | |\n", way.name);
                continue;
            }
        };
        let here = seen(law, way, batch.max(1), 2);
        let more = seen(law, way, batch + 1, 3);
        let (here, more, runs) = (share(&here, capacity), share(&more, capacity), here.len());
        let (second, third) = (flag(too_much(here, risk, runs)), flag(too_little(more, risk, runs)));
        text += &format!(
            "| {name} | {} | {risk} | {has:.4}{first} | {batch} | {here:.4}{second} | {more:.4}{third} |\n",
            way.name
        );
    }
    (text, broken)
}
