//! b
#![allow(clippy::print_stdout, clippy::unwrap_used)]
use vramkit_occupancy::*;
fn main() {
    for seed in 0..3u64 {
    let mut x = seed * 77 + 12345;
    let mut r = || { x ^= x << 13; x ^= x >> 7; x ^= x << 17; (x >> 11) as f64 / (1u64 << 53) as f64 };
    let requests: Vec<Request> = (0..450).map(|_| Request { prompt: (800.0 + 400.0 * r()) as u32, output: (4000.0 + 2000.0 * r()) as u32 }).collect();
    for (w, seen) in [(0.0, 1065), (0.02, 400), (0.05, 187), (0.1, 168), (0.15, 168)] {
        let t = std::time::Instant::now();
        let s = Scheduler { watermark: w, ..Scheduler::new(299_584, 128) };
        let out = s.replay(&requests, None).unwrap();
        println!("{w} seen {seen} got {} steps {} peak {} of {} {:?}", out.preemptions, out.steps, out.peak_blocks, s.blocks, t.elapsed());
    } }
    let text = std::fs::read_to_string("/work/shared/data/lengths/AzureLLMInferenceTrace_conv.csv").unwrap();
    let r: Vec<Request> = text.lines().skip(1).map(|l| { let f: Vec<&str> = l.split(',').collect(); Request { prompt: f[1].parse().unwrap(), output: f[2].trim().parse().unwrap() } }).collect();
    let big: Vec<Request> = (0..1_000_000).map(|i| r[(i * 7919) % r.len()]).collect();
    let t = std::time::Instant::now();
    let s = Scheduler { token_budget: 1 << 20, ..Scheduler::new(15_000_000, 10_000) };
    let out = s.replay(&big, None).unwrap();
    println!("big {} {} {} {:?}", out.preemptions, out.steps, out.peak_blocks as f64 / s.blocks as f64, t.elapsed());
    let l = Lengths::from_requests(r).unwrap();
    for horizon in [Horizon::Steps(144_000.0), Horizon::Cycle] {
    let s = Service { lengths: &l, block: 1, horizon, effort: Effort::default(), progress: &|_| {} };
    for risk in [0.01, 1e-4, 1e-6, 1e-9] {
        let t = std::time::Instant::now();
        println!("{risk} {:?} in {:?}", s.largest_batch(Batching::Continuous { seats: 1 }, 305175.0, risk), t.elapsed());
        let t = std::time::Instant::now();
        let c = s.least_capacity(Batching::Continuous { seats: 201 }, risk);
        let e = t.elapsed(); let t = std::time::Instant::now();
        println!("{risk} {c:?} in {:?}: {:?} in {:?}", e, s.risk(Batching::Continuous { seats: 201 }, c.clone().unwrap().value), t.elapsed());
    } }
}
