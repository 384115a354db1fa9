//! Whether intervals hold the truth as often as they say, for logs of thirty requests.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod plain;

use rayon::prelude::*;
use vramkit_occupancy::{Batching, Horizon, Lengths, RequestLengths, Service};

const LOGS: u64 = 150;

fn lengths(log: &[(u32, u32)]) -> Lengths {
    let requests: Vec<RequestLengths> =
        log.iter().map(|&(prompt, output)| RequestLengths { prompt, output }).collect();
    Lengths::from_requests(requests).unwrap()
}

#[test]
fn nine_of_ten_hold_the_truth() {
    for (name, law) in plain::laws() {
        // What is rarer than one in the log's length is not in it: nothing can be said of it.
        if name.contains("giant") {
            continue;
        }
        let all = lengths(&law);
        for (seats, risk) in [(24, 0.05), (24, 0.003), (200, 0.003)] {
            let seats = Batching::Continuous { seats };
            let service = Service::new(&all, Horizon::Cycle);
            let capacity = service.least_capacity(seats, risk).unwrap().value;
            let truth = service.risk(seats, capacity).unwrap().probability;
            let held = (0..LOGS)
                .into_par_iter()
                .filter(|&number| {
                    let mut random = plain::Random(99 + 7919 * number);
                    let log: Vec<(u32, u32)> = (0..30).map(|_| law[random.below(law.len())]).collect();
                    let few = lengths(&log);
                    match Service::new(&few, Horizon::Cycle).risk(seats, capacity) {
                        Ok(risk) => risk.low <= truth && truth <= risk.high,
                        // A request of the log does not fit: it says so.
                        Err(_) => true,
                    }
                })
                .count() as f64
                / LOGS as f64;
            println!("{name}, {seats:?}, {risk}: {:.0} % of intervals hold the truth", 100.0 * held);
            // Two standard errors of this many logs below nine in ten.
            assert!(held >= 0.9 - 2.0 * (0.09 / LOGS as f64).sqrt(), "{name}, {seats:?}, {risk}: {held}");
        }
    }
}

#[test]
fn a_handful_of_requests_leaves_everything_open() {
    for log in [&[(500, 200)][..], &[(500, 200), (400, 300)]] {
        let law = lengths(log);
        for horizon in [Horizon::Cycle, Horizon::Steps(2_000.0)] {
            let risk =
                Service::new(&law, horizon).risk(Batching::Continuous { seats: 16 }, 10_359.0).unwrap();
            assert_eq!((risk.low, risk.high), (0.0, 1.0), "{risk:?}");
        }
    }
}
