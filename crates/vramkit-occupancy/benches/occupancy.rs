//! b
#![allow(clippy::print_stdout, clippy::unwrap_used)]
use vramkit_occupancy::*;
fn main() {
    let text = std::fs::read_to_string("/work/shared/data/lengths/AzureLLMInferenceTrace_conv.csv").unwrap();
    let r: Vec<Request> = text.lines().skip(1).map(|l| { let f: Vec<&str> = l.split(',').collect(); Request { prompt: f[1].parse().unwrap(), output: f[2].trim().parse().unwrap() } }).collect();
    let l = Lengths::from_requests(r).unwrap();
    for horizon in [Horizon::Steps(144_000.0), Horizon::Cycle] {
    let s = Service { lengths: &l, block: 1, horizon, effort: Effort::default(), progress: &|_| {} };
    for risk in [0.01, 1e-4, 1e-6, 1e-9] {
        let t = std::time::Instant::now();
        println!("{risk} {:?} in {:?}", s.largest_batch(Batching::Continuous { seats: 1 }, 305175.0, risk), t.elapsed());
        let t = std::time::Instant::now();
        let c = s.least_capacity(Batching::Continuous { seats: 201 }, risk);
        println!("{risk} {c:?} in {:?}: {:?}", t.elapsed(), s.risk(Batching::Continuous { seats: 201 }, c.clone().unwrap().value));
        let t = std::time::Instant::now();
        let b = Batching::Threshold(Batch::new(200, 40).unwrap());
        println!("{risk} threshold {:?} in {:?}", s.largest_batch(b, 305175.0, risk), t.elapsed());
        let t = std::time::Instant::now();
        println!("{risk} threshold {:?} in {:?}", s.least_capacity(b, risk), t.elapsed());
    } }
    let l = Lengths::geometric(100.0, 0.01).unwrap();
    for horizon in [Horizon::Steps(144_000.0), Horizon::Cycle] {
    let s = Service { lengths: &l, block: 1, horizon, effort: Effort::default(), progress: &|_| {} };
    for risk in [0.01, 1e-4, 1e-6, 1e-9] {
        let b = Batching::Threshold(Batch::new(128, 26).unwrap());
        let t = std::time::Instant::now();
        println!("{risk} threshold geo {:?} in {:?}", s.largest_batch(b, 27000.0, risk), t.elapsed());
        let t = std::time::Instant::now();
        let c = s.least_capacity(b, risk);
        println!("{risk} threshold geo {:?} in {:?}: {:?}", c, t.elapsed(), s.risk(b, c.clone().unwrap().value));
    } }
}
