//! Continuous batching and load driven by arrivals, against closed forms and a plain simulation.

#![allow(clippy::unwrap_used)]

mod plain;

use proptest::prelude::*;
use statrs::function::beta::beta_reg;
use statrs::function::gamma::gamma_lr;
use vramkit_occupancy::{
    Batching, Horizon, HorizonMethod, Lengths, OccupancyError, Population, RequestLengths, RiskMethod,
    Service, TokenDemand,
};

fn lengths(log: &[(u32, u32)]) -> Lengths {
    let requests: Vec<RequestLengths> =
        log.iter().map(|&(prompt, output)| RequestLengths { prompt, output }).collect();
    Lengths::from_requests(requests).unwrap()
}

fn demand(lengths: &Lengths, seats: u32) -> TokenDemand {
    TokenDemand::new(lengths, Population::Seats(seats), 1).unwrap()
}

/// Ages of geometric outputs are geometric, so their sum is negative binomial: P(sum of n > c) = P(Bin(c, p) < n).
fn negative_binomial_tail(n: f64, p: f64, c: f64) -> f64 {
    if c < n { 1.0 } else { beta_reg(c - n + 1.0, n, 1.0 - p) }
}

#[test]
fn geometric_outputs_have_the_negative_binomial_tail_at_any_depth() {
    for (n, p, prompt) in [(1u32, 0.05, 0.0), (8, 0.01, 100.0), (128, 0.01, 20.0), (512, 0.002, 1000.0)] {
        let lengths = Lengths::geometric(prompt, p).unwrap();
        let demand = demand(&lengths, n);
        let (seats, mean) = (f64::from(n), f64::from(n) / p);
        assert!((demand.mean() - seats * prompt - mean).abs() < 1e-6 * mean);
        for above in [0.5, 0.9, 1.1, 1.5, 2.0, 4.0] {
            let ages = (mean * above).floor();
            let truth = negative_binomial_tail(seats, p, ages);
            if !(1e-200..1.0).contains(&truth) {
                continue;
            }
            let found = demand.tail(seats * prompt + ages).unwrap().probability();
            assert!((found / truth - 1.0).abs() < 1e-7, "{n} {p} {above}: {found:e} {truth:e}");
        }
    }
    // One in a billion, and one in 10^12, on the spot.
    let lengths = Lengths::geometric(0.0, 0.01).unwrap();
    for target in [1e-9, 1e-12] {
        let c =
            (12_800..40_000).find(|&c| negative_binomial_tail(128.0, 0.01, f64::from(c)) < target).unwrap();
        let found = demand(&lengths, 128).tail(f64::from(c)).unwrap().probability();
        assert!((found / negative_binomial_tail(128.0, 0.01, f64::from(c)) - 1.0).abs() < 1e-7);
    }
}

#[test]
fn fixed_lengths_are_counted_exactly() {
    // Requests of 3 prompt and 5 output tokens: each seat holds 4 to 8, all alike. Counted by convolving integers.
    let demand = demand(&lengths(&[(3, 5)]), 12);
    let mut ways = vec![1u64];
    for _ in 0..12 {
        let mut more = vec![0; ways.len() + 8];
        for (total, count) in ways.iter().enumerate() {
            (4..=8).for_each(|held| more[total + held] += count);
        }
        ways = more;
    }
    let all: u64 = ways.iter().sum();
    for capacity in 48..=96 {
        let over: u64 = ways.iter().skip(capacity + 1).sum();
        let found = demand.tail(capacity as f64).unwrap().probability();
        let truth = over as f64 / all as f64;
        assert!((found - truth).abs() <= 1e-9 * truth + 1e-300, "{capacity}: {found:e} {truth:e}");
    }
    assert_eq!(demand.tail(96.0).unwrap().ln, f64::NEG_INFINITY);
    assert_eq!(demand.tail(47.0).unwrap().ln, 0.0);
}

#[test]
fn blocks_are_counted_whole() {
    let log = plain::log(3, 400);
    let law = lengths(&log);
    let demand = TokenDemand::new(&law, Population::Seats(10), 16).unwrap();
    // The mean by definition: every token of every request.
    let (mut sum, mut count) = (0.0, 0.0);
    for &(prompt, output) in &log {
        for age in 1..=output {
            sum += f64::from((prompt + age).div_ceil(16) * 16);
            count += 1.0;
        }
    }
    assert!((demand.mean() / (10.0 * sum / count) - 1.0).abs() < 1e-12);
    // A capacity that is no whole number of blocks holds the whole ones.
    let (a, b) = (demand.tail(4000.0).unwrap(), demand.tail(4015.0).unwrap());
    assert_eq!(a, b);
    assert!(demand.tail(4016.0).unwrap().ln < a.ln);
}

#[test]
fn moments_are_met_as_often_as_long_runs_meet_them() {
    let log = plain::log(7, 2000);
    let law = lengths(&log);
    let mut demands = Vec::new();
    plain::continuous(&log, 24, 1, 3_000_000, &mut plain::Random(4), |demand| {
        demands.push(demand);
        true
    });
    demands.sort_by(f64::total_cmp);
    let demand = demand(&law, 24);
    for risk in [1e-1, 1e-2, 1e-3] {
        let capacity = demands[(demands.len() as f64 * (1.0 - risk)) as usize];
        let seen = demands.iter().filter(|&&d| d > capacity).count() as f64 / demands.len() as f64;
        let found = demand.tail(capacity).unwrap().probability();
        assert!((0.8..1.2).contains(&(found / seen)), "{risk}: {found:e} {seen:e}");
    }
}

#[test]
fn horizons_run_out_as_often_as_long_runs_do() {
    let log = plain::log(11, 2000);
    let law = lengths(&log);
    for (block, deviations, seats) in [(1, 3.2, 24), (1, 3.9, 24), (16, 3.6, 24), (1, 4.2, 20)] {
        let demand = TokenDemand::new(&law, Population::Seats(seats), block).unwrap();
        let capacity = (demand.mean() + deviations * demand.variance().sqrt()).floor();
        let steps = 4000u32;
        let risk = demand.horizon(capacity, f64::from(steps), 16_384, 1).unwrap();
        let mut random = plain::Random(5);
        let (runs, mut met) = (1500, 0);
        for _ in 0..runs {
            plain::continuous(&log, seats as usize, block.into(), steps.into(), &mut random, |demand| {
                let over = demand > capacity;
                met += i32::from(over);
                !over
            });
        }
        let seen = f64::from(met) / f64::from(runs);
        let error = (seen * (1.0 - seen) / f64::from(runs)).sqrt();
        assert!(seen > 0.01 && seen < 0.99, "{seen}");
        let near = (risk.probability - seen).abs() < 0.2 * seen + 3.0 * error;
        assert!(near && risk.union_bound >= seen - 3.0 * error, "{capacity}: {risk:?} {seen} +- {error}");
        let simulated = demand.simulate_horizon(capacity, f64::from(steps), 1500, 3).unwrap();
        assert!(
            (simulated.mean - seen).abs() < 4.0 * error.hypot(simulated.standard_error),
            "{simulated:?} {seen}"
        );
    }
}

#[test]
fn a_single_seat_runs_out_once_for_each_long_request() {
    // Requests come at rate p and are over with chance q^c: the clump rate is p·q^c, at one in a billion too.
    let (p, c) = (0.01f64, 2000.0);
    let lengths = Lengths::geometric(0.0, p).unwrap();
    let steps = 100_000.0;
    let risk = demand(&lengths, 1).horizon(c, steps, 1 << 19, 0).unwrap();
    let truth = steps * p * (1.0 - p).powf(c);
    assert_eq!(risk.method, HorizonMethod::Clumps);
    assert!(truth < 2e-6 && (0.8..1.25).contains(&(risk.probability / truth)), "{risk:?} {truth:e}");
    assert_eq!(risk.log_error_ratio, 0.0);
}

#[test]
fn arrivals_are_compound_poisson() {
    // Requests that are one token for one step: a Poisson number of tokens.
    let one = lengths(&[(1, 1)]);
    let demand = TokenDemand::new(&one, Population::Arrivals { per_step: 30.0 }, 1).unwrap();
    assert!((demand.sequences() - 30.0).abs() < 1e-12 && (demand.mean() - 60.0).abs() < 1e-9);
    for count in [20.0, 30.0, 60.0, 100.0] {
        let truth = gamma_lr(count + 1.0, 30.0);
        // Two tokens each: the prompt and the one being written.
        let found = demand.tail(2.0 * count).unwrap().probability();
        assert!((found / truth - 1.0).abs() < 1e-7, "{count}: {found:e} {truth:e}");
    }
    // And simulated, at a moment and over a horizon.
    let log = plain::log(13, 1000);
    let law = lengths(&log);
    let demand = TokenDemand::new(&law, Population::Arrivals { per_step: 0.4 }, 1).unwrap();
    let mut seen = Vec::new();
    plain::arrivals(&log, 0.4, 1_000_000, &mut plain::Random(2), |demand| {
        seen.push(demand);
        true
    });
    let mean = seen.iter().sum::<f64>() / seen.len() as f64;
    assert!((demand.mean() / mean - 1.0).abs() < 0.03, "{} {mean}", demand.mean());
    let spread = (seen.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / seen.len() as f64).sqrt();
    assert!((demand.variance().sqrt() / spread - 1.0).abs() < 0.05, "{} {spread}", demand.variance().sqrt());
    let capacity = (mean + 2.5 * spread).floor();
    let over = seen.iter().filter(|&&d| d > capacity).count() as f64 / seen.len() as f64;
    let found = demand.tail(capacity).unwrap().probability();
    assert!((0.75..1.3).contains(&(found / over)), "{found} {over}");
    let met = seen.chunks(2000).filter(|chunk| chunk.iter().any(|&d| d > capacity)).count() as f64 / 500.0;
    let risk = demand.horizon(capacity, 2000.0, 16_384, 0).unwrap();
    assert!((risk.probability - met).abs() < 0.2 * met + 0.06, "{risk:?} {met}");
}

#[test]
fn the_batch_and_the_memory_for_a_risk_have_it() {
    let law = lengths(&plain::log(5, 3000));
    for horizon in [Horizon::Cycle, Horizon::Steps(20_000.0)] {
        let service = Service::new(&law, horizon);
        for risk in [1e-2, 1e-5, 1e-9] {
            let batching = Batching::Continuous { seats: 40 };
            let memory = service.least_capacity(batching, risk).unwrap();
            let at = service.risk(batching, memory.value).unwrap();
            assert!((0.7..1.4).contains(&(at.probability / risk)), "{risk} {memory:?} {at:?}");
            let largest = service.largest_batch(batching, memory.value, risk).unwrap();
            assert!((largest.value - 40.0).abs() <= 1.0, "{largest:?}");
            assert!(largest.low <= largest.value && largest.value <= largest.high);
        }
    }
}

#[test]
fn a_short_log_says_how_little_it_knows() {
    // The same traffic from 100 and from 10,000 requests.
    let error = |count: usize| {
        let law = lengths(&plain::log(5, count));
        let demand = demand(&law, 40);
        let capacity = demand.mean() + 4.0 * demand.variance().sqrt();
        demand.horizon(capacity, 1000.0, 2048, 0).unwrap().log_error_ratio
    };
    let (short, long) = (error(100), error(10_000));
    assert!(short > 5.0 * long && short < 20.0 * long, "{short} {long}");
    // And truly: of 40 short logs, most intervals hold what the long one says.
    let truth = demand(&lengths(&plain::log(1234, 40_000)), 40);
    let capacity = truth.mean() + 3.0 * truth.variance().sqrt();
    let truth = truth.tail(capacity).unwrap().probability();
    let held = (0..40).filter(|&seed| {
        let law = lengths(&plain::log(100 + seed, 1000));
        let service = Service::new(&law, Horizon::Cycle);
        let risk = service.risk(Batching::Continuous { seats: 40 }, capacity).unwrap();
        assert_eq!(risk.method, RiskMethod::ExactLaw);
        risk.low <= truth && truth <= risk.high
    });
    assert!(held.count() >= 33);
}

#[test]
fn the_hopeless_and_the_certain_are_said_at_once() {
    let law = lengths(&[(100, 50), (10, 5)]);
    let service = Service::new(&law, Horizon::Steps(1000.0));
    let certain = service.risk(Batching::Continuous { seats: 4 }, 600.0).unwrap();
    assert_eq!((certain.probability, certain.high, certain.method), (0.0, 0.0, RiskMethod::Certain));
    let hopeless = service.risk(Batching::Continuous { seats: 400 }, 600.0).unwrap();
    assert_eq!((hopeless.probability, hopeless.low), (1.0, 1.0));
    let too_small = service.risk(Batching::Continuous { seats: 4 }, 149.0);
    assert_eq!(too_small, Err(OccupancyError::RequestTooLarge { capacity: 149.0, needed: 150.0 }));
    // A batch that always fits is found without a risk.
    let largest = service.largest_batch(Batching::Continuous { seats: 1 }, 600.0, 1e-90).unwrap();
    assert!(largest.value >= 4.0);
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(TokenDemand::new(&law, Population::Arrivals { per_step: rate }, 1).is_err());
    }
    assert!(TokenDemand::new(&law, Population::Seats(0), 1).is_err());
    assert!(TokenDemand::new(&law, Population::Seats(1), 0).is_err());
}

/// The tail as it is found, and by convolving the seats one by one: of a capacity that is `part` of the most there can be.
fn found_and_convolved(log: &[(u32, u32)], seats: u32, block: u32, part: f64) -> (f64, f64) {
    let law = lengths(log);
    let demand = TokenDemand::new(&law, Population::Seats(seats), block).unwrap();
    let mut one = vec![0.0; 100];
    let steps: u32 = log.iter().map(|request| request.1).sum();
    for &(prompt, output) in log {
        (1..=output).for_each(|age| one[(prompt + age).div_ceil(block) as usize] += 1.0 / f64::from(steps));
    }
    let mut all = vec![1.0];
    for _ in 0..seats {
        let mut more = vec![0.0; all.len() + one.len()];
        for (i, a) in all.iter().enumerate() {
            one.iter().enumerate().for_each(|(j, b)| more[i + j] += a * b);
        }
        all = more;
    }
    let last = all.iter().rposition(|&p| p > 0.0).unwrap();
    let capacity = (last as f64 * part).floor().max(1.0);
    let truth = all.iter().skip(capacity as usize + 1).sum();
    (demand.tail(capacity * f64::from(block)).unwrap().probability(), truth)
}

/// A law that fits into its window as a whole reaches further to one side than half of it.
#[test]
fn a_tail_longer_than_half_of_its_window_is_whole() {
    let log = [(13, 22), (15, 3), (12, 7), (34, 29), (28, 11)];
    let (found, truth) = found_and_convolved(&log, 5, 1, 0.5608527900257562);
    assert!((found - truth).abs() <= 1e-9 * truth, "{found:e} {truth:e}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Of any small log.
    #[test]
    fn the_tail_is_the_convolution(
        log in prop::collection::vec((1u32..40, 1u32..30), 1..12), seats in 1u32..6, block in 1u32..5, part in 0.0f64..1.0,
    ) {
        let (found, truth) = found_and_convolved(&log, seats, block, part);
        prop_assert!((found - truth).abs() <= 1e-9 * truth + 1e-15, "{found:e} {truth:e}");
    }
}
