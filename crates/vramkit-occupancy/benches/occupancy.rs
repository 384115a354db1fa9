//! What answers cost, and how that grows with seats, tokens and the depth of the tail; simulation beside a plain one.
//!
//! `cargo bench -p vramkit-occupancy`; `-- scale` adds 10,000 seats and a million requests.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/plain/mod.rs"]
mod plain;

use std::hint::black_box;
use std::time::Instant;

use vramkit_occupancy::{
    Batch, Batching, Effort, Horizon, Lengths, MultilevelSplitting, Population, RequestLengths, Scheduler,
    Service, TokenDemand, simulate,
};

/// Milliseconds: the median of some runs.
fn milliseconds<T>(runs: usize, mut work: impl FnMut() -> T) -> f64 {
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            black_box(work());
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[runs / 2]
}

/// Lengths like those of chats: many short, some long, up to some thousand tokens.
fn chats(largest: u32) -> Vec<RequestLengths> {
    let mut random = plain::Random(1);
    let mut length = |mean: f64, most: f64| -> u32 {
        let normal: f64 = (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
        (mean * normal.exp()).clamp(1.0, most) as u32
    };
    (0..20_000)
        .map(|_| RequestLengths { prompt: length(700.0, f64::from(largest)), output: length(130.0, 1000.0) })
        .collect()
}

fn main() {
    println!("simulation, 20,000 cycles (threshold a fifth of the batch), ms");
    println!("{:>6} {:>6} {:>6} {:>10} {:>10} {:>8}", "N", "p", "L", "vramkit", "plain", "ratio");
    for (n, p, prompt) in [(32, 0.01, 100u32), (128, 0.01, 20), (512, 0.01, 100), (128, 0.002, 100)] {
        let batch = Batch::new(n, n / 5).unwrap();
        let lengths = Lengths::geometric(f64::from(prompt), p).unwrap();
        let ours = milliseconds(5, || simulate(batch, &lengths, Effort::default()).unwrap());
        let plain =
            milliseconds(1, || plain::threshold(n as usize, n as usize / 5, prompt.into(), p, 20_000, 1));
        println!("{n:>6} {p:>6} {prompt:>6} {ours:>10.1} {plain:>10.1} {:>8.1}", plain / ours);
    }

    println!("\nthe exact law of the total at a moment (lengths of 20,000 chats), ms");
    println!("{:>6} {:>10} {:>10} {:>10} {:>10} {:>10}", "N", "mean", "1e-2", "1e-6", "1e-9", "1e-30");
    let requests = chats(8000);
    let lengths = Lengths::from_requests(requests.clone()).unwrap();
    for n in [8, 32, 128, 512, 2048] {
        let demand = TokenDemand::new(&lengths, Population::Seats(n), 1).unwrap();
        let times = [1e-2, 1e-6, 1e-9, 1e-30].map(|risk| {
            let capacity = capacity_for(&demand, risk);
            format!("{:>10.2}", milliseconds(5, || demand.tail(capacity).unwrap()))
        });
        println!("{n:>6} {:>10.0} {}", demand.mean(), times.join(" "));
    }
    println!("\nthe same for 128 seats by the longest prompt, at 1e-6, ms");
    println!("{:>8} {:>12} {:>12}", "longest", "by tokens", "by blocks of 16");
    for largest in [500, 2000, 8000, 32_000] {
        let lengths = Lengths::from_requests(chats(largest)).unwrap();
        let times = [1, 16].map(|block| {
            let demand = TokenDemand::new(&lengths, Population::Seats(128), block).unwrap();
            let capacity = capacity_for(&demand, 1e-6);
            milliseconds(5, || demand.tail(capacity).unwrap())
        });
        println!("{largest:>8} {:>12.2} {:>12.2}", times[0], times[1]);
    }

    println!("\nan hour of 144,000 steps: risk, largest batch and least memory, ms");
    println!("{:>6} {:>8} {:>10} {:>10} {:>10}", "N", "risk", "risk", "batch", "memory");
    let hour = Horizon::Steps(144_000.0);
    let service = Service::new(&lengths, hour);
    for n in [32, 128, 512] {
        for risk in [1e-2, 1e-6, 1e-9] {
            let batching = Batching::Continuous { seats: n };
            let capacity = service.least_capacity(batching, risk).unwrap().value;
            let found = milliseconds(3, || service.risk(batching, capacity).unwrap());
            let batch = milliseconds(3, || service.largest_batch(batching, capacity, risk).unwrap());
            let memory = milliseconds(3, || service.least_capacity(batching, risk).unwrap());
            println!("{n:>6} {risk:>8.0e} {found:>10.1} {batch:>10.1} {memory:>10.1}");
        }
    }

    println!("\nsplitting: memory for a risk a cycle (N 128, k 26, p .01, L 20), ms");
    let splitting = MultilevelSplitting::new(Batch::new(128, 26).unwrap(), 20.0, 0.01, 0).unwrap();
    for risk in [1e-3, 1e-6, 1e-9, 1e-12] {
        println!("{risk:>8.0e} {:>10.1}", milliseconds(1, || splitting.level_for_cycles(risk).unwrap()));
    }

    if std::env::args().any(|argument| argument == "scale") {
        scale(&requests);
    }
}

/// The tokens that are passed with about this probability at a moment.
fn capacity_for(demand: &TokenDemand, risk: f64) -> f64 {
    let (mut low, mut high) = (demand.mean(), demand.mean() + 14.0 * demand.variance().sqrt());
    while high - low > 1e-3 * demand.variance().sqrt() {
        let middle = 0.5 * (low + high);
        if demand.tail(middle).unwrap().ln > f64::ln(risk) { low = middle } else { high = middle }
    }
    high.floor()
}

/// 10,000 seats, a million requests with long answers, that come over hours; some 9,500 are there at a time.
fn scale(requests: &[RequestLengths]) {
    let mut random = plain::Random(2);
    let long = |request: RequestLengths| RequestLengths { output: request.output * 10, ..request };
    let many: Vec<RequestLengths> =
        (0..1_000_000).map(|_| long(requests[random.below(requests.len())])).collect();
    let mean_output = many.iter().map(|request| f64::from(request.output)).sum::<f64>() / many.len() as f64;
    let per_step = 9500.0 / mean_output;
    let mut at = 0.0;
    let arrivals: Vec<f64> = many
        .iter()
        .map(|_| {
            at -= (1.0 - random.unit()).ln() / per_step;
            at
        })
        .collect();
    let lengths = Lengths::from_requests(many.clone()).unwrap();
    let mean = TokenDemand::new(&lengths, Population::Arrivals { per_step }, 16).unwrap();
    println!(
        "\n10,000 seats, 1,000,000 requests, {per_step:.1} a step; mean demand {:.0} tokens",
        mean.mean()
    );
    for spare in [1.01, 1.02, 1.03] {
        let capacity = (mean.mean() * spare) as u64;
        let scheduler = Scheduler { token_budget: 1 << 20, ..Scheduler::new(capacity, 10_000) };
        let start = Instant::now();
        let replayed = scheduler.replay(&many, Some(&arrivals)).unwrap();
        let took = start.elapsed().as_secs_f64();
        let risk = mean.horizon(capacity as f64, replayed.steps as f64, 256, 0).unwrap();
        println!(
            "{spare} x the mean: {} steps ({:.1} h at 25 ms) in {took:.1} s; {} preemptions, most running {}, peak {:.2} % of the \
             blocks; predicted risk of running out {:.3}",
            replayed.steps,
            replayed.steps as f64 * 0.025 / 3600.0,
            replayed.preemptions,
            replayed.peak_running,
            100.0 * replayed.peak_blocks as f64 / scheduler.blocks as f64,
            risk.probability
        );
    }
}
