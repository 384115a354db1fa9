//! Threshold batching against a plain simulation and closed forms.

#![allow(clippy::unwrap_used)]

mod plain;

use proptest::prelude::*;
use vramkit_occupancy::{
    Batch, Batching, CappedOutputs, Convention, Effort, Exact, Horizon, Lengths, MultilevelSplitting,
    OccupancyError, PublishedFormulas, RequestLengths, RiskMethod, Runs, Service, simulate, simulate_runs,
};

fn batch(seats: u32, threshold: u32) -> Batch {
    Batch::new(seats, threshold).unwrap()
}

fn service(lengths: &Lengths, horizon: Horizon) -> Service<'_> {
    Service::new(lengths, horizon)
}

#[test]
fn the_published_formulas_are_as_printed() {
    let lengths = Lengths::geometric(20.0, 0.01).unwrap();
    let published = PublishedFormulas::new(batch(128, 26), &lengths).unwrap();
    let theta: f64 = 26.0 / 128.0;
    let x0 = 128.0 * 20.0 + 128.0 * (1.0 - theta).powi(2) / (theta * 0.01) * (1.0 / (1.0 - theta)).ln();
    assert!((published.x0() - x0).abs() < 1e-6);
    assert!((published.kappa() - 500.0).abs() < 1e-9);
    assert!((published.xmax() - x0 - 500.0).abs() < 1e-6);
    assert!((published.drift() + 128.0 * 0.01 * 20.0).abs() < 1e-12);
    // With v = 2N/p the bound's scale is kappa.
    assert!((published.tail(500.0) - (-1f64).exp()).abs() < 1e-12);
    // The finite variance is 2.5 times as small at N = 32, p = .01, L = 100.
    let other = PublishedFormulas::new(batch(32, 6), &Lengths::geometric(100.0, 0.01).unwrap()).unwrap();
    let ratio = other.finite_variance() / other.variance();
    assert!((ratio - 2.5).abs() < 0.05, "{ratio}");
    // At k = N the partial term's limit is 0.
    assert_eq!(PublishedFormulas::new(batch(8, 8), &lengths).unwrap().x0(), 160.0);
    let none = Lengths::geometric(0.0, 0.01).unwrap();
    assert!(matches!(PublishedFormulas::new(batch(8, 8), &none), Err(OccupancyError::Refused { .. })));
}

#[test]
fn exact_moments_and_the_simulation_agree_with_a_plain_one() {
    for (n, k, p, prompt) in [
        (8, 1, 0.05, 20),
        (8, 8, 0.05, 100),
        (32, 6, 0.01, 100),
        (32, 16, 0.05, 500),
        (64, 13, 0.02, 20),
        (5, 3, 1.0, 10),
    ] {
        let plain = plain::threshold(n, k, prompt, p, 20_000, 1);
        let batch = batch(n as u32, k as u32);
        let lengths = Lengths::geometric(prompt as f64, p).unwrap();
        let exact = Exact::new(batch, prompt as f64, 0.0, p);
        let near = |a: f64, b: f64, error: f64| (a - b).abs() <= (0.01 * b).max(4.0 * error);
        assert!(near(exact.x0(), plain.x0, plain.x0_error), "{n} {k} {p}: {} {}", exact.x0(), plain.x0);
        assert!(
            (exact.steps() - plain.steps).abs() < 0.02 * plain.steps,
            "{} {}",
            exact.steps(),
            plain.steps
        );
        let cycles = simulate(batch, &lengths, Effort { cycles: 40_000, seed: 3 }).unwrap();
        let (peak, x0) = (cycles.peak(Convention::BeforeFree), cycles.x0());
        assert!(near(peak.mean, plain.before, plain.before_error.hypot(peak.standard_error)));
        assert!(near(x0.mean, plain.x0, plain.x0_error.hypot(x0.standard_error)));
        assert!((cycles.peak(Convention::AfterFree).mean - plain.after).abs() < 0.02 * plain.after);
        assert!((cycles.steps().mean - plain.steps).abs() < 0.02 * plain.steps);
        // Wherever the variance is not that of nothing.
        let variance = exact.x0_variance();
        assert!(
            variance < 1.0 || (cycles.x0_variance() / variance - 1.0).abs() < 0.12,
            "{variance} {}",
            cycles.x0_variance()
        );
    }
}

#[test]
fn the_corrected_peak_is_the_one_of_the_literature_table() {
    // N, k, p, L: kappa published, corrected, simulated, before free.
    for (n, k, p, prompt, published, corrected, simulated) in [
        (128, 26, 0.01, 20.0, 500.0, 502.0, 469.0),
        (32, 6, 0.01, 100.0, 100.0, 155.0, 153.0),
        (32, 16, 0.05, 2000.0, 0.2, 39.7, 39.7),
    ] {
        let lengths = Lengths::geometric(prompt, p).unwrap();
        let batch = batch(n, k);
        assert!(
            (PublishedFormulas::new(batch, &lengths).unwrap().kappa() - published).abs()
                < 0.01 + 0.001 * published
        );
        let kappa = Exact::new(batch, prompt, 0.0, p).kappa();
        assert!((kappa - corrected).abs() < 0.01 * corrected, "{kappa} {corrected}");
        let cycles = simulate(batch, &lengths, Effort::default()).unwrap();
        assert!((cycles.kappa(Convention::BeforeFree).mean - simulated).abs() < 0.03 * simulated);
    }
}

#[test]
fn slow_traffic_in_larger_steps_is_the_same() {
    // 1e-5 is done in several tokens at once; means scale with one over the termination.
    let slow = Exact::new(batch(64, 13), 0.0, 0.0, 1e-5);
    let fast = Exact::new(batch(64, 13), 0.0, 0.0, 1e-3);
    assert!((slow.x0() / fast.x0() / 100.0 - 1.0).abs() < 2e-3, "{} {}", slow.x0(), fast.x0());
    assert!((slow.x0_variance() / fast.x0_variance() / 10_000.0 - 1.0).abs() < 5e-3);
}

#[test]
fn the_tail_exponent_is_the_continuous_one_where_steps_are_short() {
    // e^(rL)(1 − r²/p²) = 1 with short steps; 1/r tends to the published kappa as pL goes to 0.
    for (p, prompt) in [(1e-4, 1000.0), (1e-3, 50.0), (1e-4, 30_000.0)] {
        let exact = Exact::new(batch(64, 13), prompt, 0.0, p);
        let r = exact.tail_exponent();
        let side = (r * prompt).exp() * (1.0 - (r / p).powi(2));
        assert!((side - 1.0).abs() < 0.02 && r > 0.0 && r < p, "{p} {prompt}: {r} {side}");
    }
    let exact = Exact::new(batch(64, 13), 10.0, 0.0, 1e-4);
    let kappa =
        PublishedFormulas::new(batch(64, 13), &Lengths::geometric(10.0, 1e-4).unwrap()).unwrap().kappa();
    assert!((1.0 / exact.tail_exponent() / kappa - 1.0).abs() < 0.01);
    // Peaks of a cycle get rarer at least so fast.
    let (p, prompt) = (0.01, 100);
    let plain = plain::threshold(32, 6, prompt, p, 50_000, 3);
    let exact = Exact::new(batch(32, 6), prompt as f64, 0.0, p);
    let capacity = exact.capacity(0.01);
    assert!((exact.tail(capacity) - 0.01).abs() < 1e-6);
    let realised = plain::over(&plain, capacity);
    assert!((0.003..0.03).contains(&realised), "{realised}");
    // The published rule runs out far more often than it says.
    let lengths = Lengths::geometric(prompt as f64, p).unwrap();
    assert!(
        plain::over(&plain, PublishedFormulas::new(batch(32, 6), &lengths).unwrap().capacity(0.01)) > 0.1
    );
}

#[test]
fn a_threshold_of_one_is_continuous_batching() {
    // Two ways that share nothing: splitting of simulated cycles, and clumps drawn from the exact law.
    let lengths = Lengths::geometric(30.0, 0.02).unwrap();
    let service = service(&lengths, Horizon::Steps(10_000.0));
    for capacity in [4400.0, 5200.0] {
        let splitting = service.risk(Batching::Threshold(batch(32, 1)), capacity).unwrap();
        let clumps = service.risk(Batching::Continuous { seats: 32 }, capacity).unwrap();
        assert_eq!((splitting.method, clumps.method), (RiskMethod::Splitting, RiskMethod::Clumps));
        let ratio = splitting.probability / clumps.probability;
        assert!(clumps.probability < 0.02 && (0.6..1.6).contains(&ratio), "{splitting:?} {clumps:?}");
    }
}

#[test]
fn splitting_finds_one_in_a_billion_where_a_formula_does() {
    // One seat: a cycle is a request, and its peak its length.
    let (prompt, p) = (100.0, 0.01);
    let splitting = MultilevelSplitting::new(batch(1, 1), prompt, p, 0).unwrap();
    for depth in [2.0, 5.0, 9.0, 12.0] {
        let above = (10f64.powf(-depth).ln() / (1.0 - p).ln()).floor();
        let found = splitting.over(prompt + above).unwrap();
        let truth = above * (1.0 - p).ln();
        assert!((found.ln_probability - truth).abs() < 4.0 * found.error.max(0.05), "{found:?} {truth}");
        assert!(found.error < 0.2, "{found:?}");
    }
    // And back: the level for a risk.
    let level = splitting.level_for_clumps(1e-9).unwrap();
    let truth = prompt + 1e-9f64.ln() / (1.0 - p).ln();
    assert!((level.mean - truth).abs() < 4.0 * level.standard_error.max(5.0), "{level:?} {truth}");
}

#[test]
fn splitting_agrees_with_counting() {
    for (n, k, p, prompt) in [(32, 6, 0.02, 100), (32, 32, 0.02, 50), (16, 1, 0.02, 30)] {
        let plain = plain::threshold(n, k, prompt, p, 150_000, 5);
        let mut peaks = plain.peaks.clone();
        peaks.sort_by(f64::total_cmp);
        let splitting = MultilevelSplitting::new(batch(n as u32, k as u32), prompt as f64, p, 1).unwrap();
        for risk in [0.02, 2e-3] {
            let level = peaks[(peaks.len() as f64 * (1.0 - risk)) as usize];
            let counted = plain::over(&plain, level);
            let found = splitting.over(level).unwrap().ln_probability.exp();
            assert!((0.7..1.4).contains(&(found / counted)), "{n} {k} {risk}: {found} {counted}");
        }
    }
}

#[test]
fn the_memory_for_a_risk_has_the_risk() {
    for (n, k, p, prompt) in [(32, 6, 0.02, 100), (16, 16, 0.05, 20), (64, 32, 0.05, 200)] {
        let plain = plain::threshold(n, k, prompt, p, 200_000, 9);
        let lengths = Lengths::geometric(prompt as f64, p).unwrap();
        for risk in [0.05, 0.01, 0.001] {
            let batching = Batching::Threshold(batch(n as u32, k as u32));
            let memory = service(&lengths, Horizon::Cycle).least_capacity(batching, risk).unwrap();
            assert!(memory.low <= memory.value && memory.value <= memory.high);
            let realised = plain::over(&plain, memory.value);
            assert!((1.0 / 1.5..1.5).contains(&(realised / risk)), "{n} {k} {risk}: {realised} {memory:?}");
        }
    }
}

#[test]
fn the_largest_batch_has_the_risk_and_the_next_has_not() {
    let lengths = Lengths::geometric(100.0, 0.02).unwrap();
    for horizon in [Horizon::Cycle, Horizon::Steps(10_000.0)] {
        for risk in [0.05, 1e-6] {
            let service = service(&lengths, horizon);
            let batching = Batching::Threshold(batch(40, 8));
            let largest = service.largest_batch(batching, 6000.0, risk).unwrap();
            let at = |seats: f64| service.risk(batching.with_seats(seats as u32), 6000.0).unwrap();
            assert!(at(largest.low).low <= risk, "{largest:?} {:?}", at(largest.low));
            assert!(at(largest.high + 2.0).probability > risk, "{largest:?} {:?}", at(largest.high + 2.0));
        }
    }
}

#[test]
fn a_horizon_of_many_cycles_is_what_a_long_run_meets() {
    let (n, k, p, prompt) = (32, 6, 0.02, 100);
    let lengths = Lengths::geometric(prompt as f64, p).unwrap();
    let plain = plain::threshold(n, k, prompt, p, 400_000, 2);
    let capacity = 5600.0;
    // Horizons of 100 cycles laid end to end.
    let met = plain.peaks.chunks(100).filter(|chunk| chunk.iter().any(|&peak| peak > capacity)).count()
        as f64
        / 4000.0;
    let steps = Horizon::Steps(100.0 * plain.steps);
    let risk = service(&lengths, steps).risk(Batching::Threshold(batch(32, 6)), capacity).unwrap();
    assert!((0.8..1.25).contains(&(risk.probability / met)), "{risk:?} {met}");
}

#[test]
fn logs_are_simulated_and_what_they_cannot_show_is_refused() {
    let requests: Vec<RequestLengths> =
        plain::log(1, 5000).iter().map(|&(prompt, output)| RequestLengths { prompt, output }).collect();
    let lengths = Lengths::from_requests(requests).unwrap();
    let service = service(&lengths, Horizon::Cycle);
    let batching = Batching::Threshold(batch(32, 8));
    let memory = service.least_capacity(batching, 0.01).unwrap();
    let risk = service.risk(batching, memory.value).unwrap();
    assert_eq!(risk.method, RiskMethod::Simulated);
    assert!(risk.low <= 0.01 && risk.high >= 0.01, "{risk:?}");
    // All that is known of what was never met is that it is rare; of what cannot be, that it cannot.
    let never = service.risk(batching, 40_000.0).unwrap();
    assert_eq!((never.probability, never.is_within(0.01), never.is_within(1e-9)), (0.0, Some(true), None));
    assert_eq!(service.risk(batching, 100_000.0).unwrap().is_within(1e-9), Some(true));
    let refused = service.least_capacity(batching, 1e-9);
    let Err(OccupancyError::Refused { why, instead, .. }) = &refused else { panic!("{refused:?}") };
    assert!(why.contains("too seldom") && instead.contains("larger risk"), "{why} {instead}");
}

#[test]
fn the_same_for_any_number_of_threads() {
    let lengths = Lengths::geometric(50.0, 0.02).unwrap();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let service = service(&lengths, Horizon::Steps(5000.0));
            let threshold = Batching::Threshold(batch(24, 5));
            let found = [
                service.risk(threshold, 2600.0).unwrap().probability,
                service.risk(threshold, 3600.0).unwrap().probability,
                service.risk(Batching::Continuous { seats: 24 }, 3600.0).unwrap().probability,
                service.least_capacity(threshold, 1e-5).unwrap().value,
            ];
            found.map(f64::to_bits)
        })
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn bad_input_is_named() {
    assert_eq!(Batch::new(8, 0), Err(OccupancyError::Threshold { threshold: 0, seats: 8 }));
    assert_eq!(Batch::new(8, 9), Err(OccupancyError::Threshold { threshold: 9, seats: 8 }));
    assert!(matches!(Batch::new(0, 1), Err(OccupancyError::OutOfRange { name: "the batch", .. })));
    for p in [0.0, -0.1, 1.1, f64::NAN, f64::INFINITY, 1e-12] {
        assert!(matches!(Lengths::geometric(10.0, p), Err(OccupancyError::OutOfRange { .. })), "{p}");
    }
    for prompt in [-1.0, f64::NAN, f64::INFINITY, 1e12] {
        assert!(
            matches!(Lengths::geometric(prompt, 0.1), Err(OccupancyError::OutOfRange { .. })),
            "{prompt}"
        );
    }
    assert!(matches!(Lengths::from_requests(Vec::new()), Err(OccupancyError::NoRequests)));
    for (prompt, output) in [(0, 1), (1, 0), (1_000_000_000, 1), (1, 1_000_000_000)] {
        let requests = vec![RequestLengths { prompt: 1, output: 1 }, RequestLengths { prompt, output }];
        assert!(matches!(
            Lengths::from_requests(requests),
            Err(OccupancyError::RequestLengths { number: 2, .. })
        ));
    }
    let lengths = Lengths::geometric(100.0, 0.1).unwrap();
    assert!(lengths.clone().capped(0).is_err());
    let here = service(&lengths, Horizon::Cycle);
    let batching = Batching::Threshold(batch(4, 2));
    for risk in [0.0, 1.0, -1.0, 2.0, f64::NAN] {
        assert!(here.largest_batch(batching, 1000.0, risk).is_err(), "{risk}");
        assert!(here.least_capacity(batching, risk).is_err(), "{risk}");
    }
    for capacity in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300] {
        assert!(here.risk(batching, capacity).is_err(), "{capacity}");
    }
    assert!(matches!(here.risk(batching, 100.0), Err(OccupancyError::RequestTooLarge { .. })));
    for steps in [0.0, f64::NAN, f64::INFINITY] {
        assert!(service(&lengths, Horizon::Steps(steps)).risk(batching, 1000.0).is_err(), "{steps}");
    }
    assert!(simulate(batch(4, 2), &lengths, Effort { cycles: 3, seed: 0 }).is_err());
}

/// Peaks here are whole numbers, a few outputs apart: of the tries from one level, hardly any get to the next.
#[test]
fn splitting_gets_past_levels_that_few_tries_do() {
    let lengths = Lengths::geometric(97.0, 0.3406).unwrap();
    let here = service(&lengths, Horizon::Cycle);
    let risk = |capacity| here.risk(Batching::Threshold(batch(13, 4)), capacity).unwrap();
    let (near, far) = (risk(1370.0), risk(2000.0));
    assert!((1e-9..1e-8).contains(&near.probability), "{near:?}");
    assert!(far.high < 1e-19, "{far:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the batch: more memory is never riskier, the exact mean lies where a mean must, and nothing is NaN.
    #[test]
    fn probabilities_are_probabilities(
        seats in 1u32..40, part in 0.01f64..1.0, prompt in 0u32..300, termination in 0.005f64..1.0, room in 1.05f64..3.0,
    ) {
        let threshold = ((f64::from(seats) * part) as u32).clamp(1, seats);
        let batch = batch(seats, threshold);
        let lengths = Lengths::geometric(prompt.into(), termination).unwrap();
        let exact = Exact::new(batch, prompt.into(), 0.0, termination);
        let n = f64::from(seats);
        prop_assert!(exact.x0() >= n * f64::from(prompt) - 1e-6);
        prop_assert!(exact.x0() <= n * (f64::from(prompt) + 1.0 / termination) + 1e-6, "{}", exact.x0());
        prop_assert!(exact.kappa() >= n - 1e-9 && exact.x0_variance() >= -1e-3 * exact.x0().powi(2));
        let effort = Effort { cycles: 2000, seed: 1 };
        let service = Service { effort, ..Service::new(&lengths, Horizon::Cycle) };
        let little = ((exact.x0() + exact.kappa()) * room).max(f64::from(prompt) + 1.0);
        for batching in [Batching::Threshold(batch), Batching::Continuous { seats }] {
            let risk = service.risk(batching, little);
            if let Err(OccupancyError::Refused { .. }) = risk { continue }
            let risk = risk.unwrap();
            prop_assert!((0.0..=1.0).contains(&risk.probability), "{risk:?}");
            prop_assert!(risk.low <= risk.probability && risk.probability <= risk.high, "{risk:?}");
            if let Ok(more) = service.risk(batching, little * 1.5) {
                // Deep in the tail two estimates by splitting may differ by more than half, each within its own interval.
                let most = (risk.probability * 1.5).max(risk.high * 2.0);
                prop_assert!(more.probability <= most + 1e-300, "{risk:?} {more:?}");
            }
        }
    }
}

#[test]
fn the_tail_exponent_of_a_log_is_that_of_its_law() {
    let geometric = Lengths::geometric(100.0, 0.01).unwrap();
    let exact = Exact::new(Batch::new(32, 6).unwrap(), 100.0, 0.0, 0.01).tail_exponent();
    assert!((geometric.tail_exponent() / exact - 1.0).abs() < 1e-6);
    // Each output as often as the law has it, to the cap.
    let cap = 400;
    let mut log = Vec::new();
    for output in 1..=cap {
        let share = 0.99f64.powi(output as i32 - 1) * if output == cap { 1.0 } else { 0.01 };
        log.extend(std::iter::repeat_n(
            RequestLengths { prompt: 100, output },
            (share * 2e5).round() as usize,
        ));
    }
    let of_log = Lengths::from_requests(log).unwrap().tail_exponent();
    let capped = geometric.capped(cap).unwrap().tail_exponent();
    assert!((of_log / capped - 1.0).abs() < 1e-3, "{of_log} {capped}");
    assert!(capped > exact, "a cap leaves fewer peaks");
}

#[test]
fn rises_of_cycles_are_their_peaks_above_what_they_began_with() {
    let lengths = Lengths::geometric(100.0, 0.01).unwrap();
    let batch = Batch::new(32, 6).unwrap();
    let cycles = simulate(batch, &lengths, Effort { cycles: 20_000, ..Effort::default() }).unwrap();
    // A step adds a token of each before anything is freed.
    assert_eq!(cycles.rising(31.0).mean, 1.0);
    // E[sup Y] is the sum of its tail.
    let kappa: f64 = (0..20_000).map(|tokens| cycles.rising(f64::from(tokens)).mean).sum();
    assert!((kappa / cycles.kappa(Convention::BeforeFree).mean - 1.0).abs() < 1e-3, "{kappa}");
    // Lundberg's bound, N tokens further for what a step writes.
    let r = lengths.tail_exponent();
    for above in [100.0, 200.0, 400.0] {
        let seen = cycles.rising(above);
        assert!(seen.mean - 3.0 * seen.standard_error <= (-r * (above - 32.0)).exp(), "{above}: {seen:?}");
    }
}

#[test]
fn outputs_that_are_cut_off_hold_what_the_fluid_limit_says() {
    // While up to three in ten are cut off; of more, sequences that begin together end together, and no limit is reached.
    for (seats, threshold) in [(32, 6), (128, 16), (64, 32)] {
        for (prompt, termination, cap) in [(50.0, 0.005, 256), (400.0, 0.005, 256), (100.0, 0.02, 256)] {
            let batch = batch(seats, threshold);
            let lengths = Lengths::geometric(prompt, termination).unwrap().capped(cap).unwrap();
            let cycles = simulate(batch, &lengths, Effort { cycles: 20_000, ..Effort::default() }).unwrap();
            let capped = CappedOutputs::new(batch, prompt, 0.0, termination, cap);
            let (x0, xmax) = (cycles.x0().mean, cycles.peak(Convention::BeforeFree).mean);
            let what = format!("{seats} {threshold} {prompt} {termination} {cap}");
            assert!((capped.x0() / x0 - 1.0).abs() < 0.035, "{what}: {} and {x0}", capped.x0());
            let peak = capped.x0() + capped.kappa();
            assert!((peak / xmax - 1.0).abs() < 0.04, "{what}: {peak} and {xmax}");
            // Without the cap, what the formula says is far off where many are cut off.
            let uncapped = Exact::new(batch, prompt, 0.0, termination).fluid_x0();
            assert!(uncapped > capped.x0(), "{what}: {uncapped}");
        }
    }
    // At theta 1 everybody is new.
    let all = CappedOutputs::new(batch(16, 16), 50.0, 0.0, 0.01, 100);
    assert!((all.x0() - 16.0 * 50.0).abs() < 1e-9);
}

#[test]
fn runs_that_mix_see_what_a_settled_batch_holds_and_scatter_as_they_should() {
    let lengths = Lengths::geometric(100.0, 0.01).unwrap();
    let batch = batch(32, 6);
    let settled = simulate(batch, &lengths, Effort { cycles: 100_000, ..Effort::default() }).unwrap();
    let runs =
        |cycles| simulate_runs(batch, &lengths, Runs { count: 500, warmup: 30, cycles, seed: 1 }).unwrap();
    let (short, long) = (runs(10), runs(160));
    for found in [&short, &long] {
        let off = (found.x0().mean - settled.x0().mean).abs();
        assert!(off < 4.0 * found.x0().standard_error.hypot(settled.x0().standard_error), "{off}");
    }
    // Longer runs scatter less; not yet by the root of their lengths, since ten cycles in a row are alike.
    let [few, many] = [short, long].map(|runs| runs.spread_of_runs().unwrap()[0]);
    assert!((2.0..4.0).contains(&(few / many)), "{few} {many}");
    assert!(simulate_runs(batch, &lengths, Runs { count: 0, warmup: 0, cycles: 1, seed: 0 }).is_err());
}
