//! How traffic is really served, against a plain simulation that shares no code with the crate: outputs that are alike, all seats at once,
//! the log's order, requests that arrive by themselves; and that answers come in time and agree.

#![allow(clippy::unwrap_used)]

mod plain;

use std::time::{Duration, Instant};

use plain::{Random, Served};
use vramkit_occupancy::{
    Batch, Batching, Deadline, Horizon, Lengths, OccupancyError, Order, Question, RequestLengths, RiskMethod,
    Service, Start, answer,
};

fn lengths(log: &[(u32, u32)]) -> Lengths {
    let requests: Vec<RequestLengths> =
        log.iter().map(|&(prompt, output)| RequestLengths { prompt, output }).collect();
    Lengths::from_requests(requests).unwrap()
}

fn seats(seats: u32) -> Batching {
    Batching::Continuous { seats }
}

/// The share of horizons over a capacity, and its standard error.
fn over(peaks: &[u64], capacity: f64) -> (f64, f64) {
    let count = peaks.len() as f64;
    let share = peaks.iter().filter(|&&peak| peak as f64 > capacity).count() as f64 / count;
    (share, (share * (1.0 - share) / count).sqrt().max(1.0 / count))
}

#[track_caller]
fn near(found: f64, (seen, error): (f64, f64)) {
    let ratio = found / seen;
    assert!(
        (0.67..1.5).contains(&ratio) || (found - seen).abs() < 3.0 * error,
        "{found} where {seen} ± {error}"
    );
}

fn peaks(served: &Served, steps: u64, runs: usize) -> Vec<u64> {
    let mut random = Random(3);
    (0..runs).map(|_| served.peak(2_000, steps, &mut random)).collect()
}

#[test]
fn outputs_that_are_all_alike_come_back_in_step() {
    // With one output length the seats of a moment are those of every later one.
    let log = [(500, 200)];
    let served = Served { requests: &log, seats: 16, block: 1, cold: false, in_order: false };
    let seen = peaks(&served, 2_000, 20_000);
    let law = lengths(&log);
    let service = Service::new(&law, Horizon::Steps(2_000.0));
    let risk = service.risk(seats(16), 10_359.0).unwrap();
    assert_eq!(risk.method, RiskMethod::Sojourns);
    near(risk.probability, over(&seen, 10_359.0));
    let needed = service.least_capacity(seats(16), 0.05).unwrap().value;
    near(0.05, over(&seen, needed));
    // However long it goes on: no more than in one round.
    let longer = Service::new(&law, Horizon::Steps(100_000.0)).risk(seats(16), 10_359.0).unwrap();
    assert!((longer.probability / risk.probability - 1.0).abs() < 0.2, "{longer:?}");
}

#[test]
fn all_seats_at_once_hold_more() {
    let log = plain::log(4, 500);
    let served = Served { requests: &log, seats: 16, block: 1, cold: true, in_order: false };
    let seen = peaks(&served, 3_000, 3_000);
    let law = lengths(&log);
    let cold = Service { start: Start::Cold, ..Service::new(&law, Horizon::Steps(3_000.0)) };
    for risk in [0.3, 0.05] {
        let needed = cold.least_capacity(seats(16), risk).unwrap().value;
        near(risk, over(&seen, needed));
        near(cold.risk(seats(16), needed).unwrap().probability, over(&seen, needed));
    }
    // All alike: all are at their longest in one step.
    let alike = lengths(&[(1000, 1000)]);
    let cold = Service { start: Start::Cold, ..Service::new(&alike, Horizon::Steps(20_000.0)) };
    assert_eq!(cold.least_capacity(seats(64), 0.01).unwrap().value, 128_000.0);
    assert_eq!(cold.risk(seats(64), 127_999.0).unwrap().probability, 1.0);
    assert_eq!(cold.risk(seats(64), 128_000.0).unwrap().probability, 0.0);
}

#[test]
fn a_log_with_tides_needs_more_in_its_own_order() {
    // Long requests come together: a hundred at a time, on average.
    let mut random = Random(11);
    let mut high = false;
    let log: Vec<(u32, u32)> = (0..6_000)
        .map(|_| {
            high ^= random.below(100) == 0;
            let scale = if high { 400.0 } else { 40.0 };
            (1 + (scale * random.unit()) as u32, 1 + (60.0 * random.unit()) as u32)
        })
        .collect();
    let law = lengths(&log);
    let drawn = Service::new(&law, Horizon::Steps(500.0));
    let logged = Service { order: Order::AsLogged, ..drawn };
    let served = Served { requests: &log, seats: 16, block: 1, cold: false, in_order: true };
    let mut random = Random(5);
    let seen: Vec<u64> = (0..3_000).map(|_| served.peak(300, 500, &mut random)).collect();
    let needed = drawn.least_capacity(seats(16), 0.05).unwrap().value;
    let ((in_order, error), found) = (over(&seen, needed), logged.risk(seats(16), needed).unwrap());
    assert!(in_order > 0.15, "{in_order}");
    near(found.probability, (in_order, error));
    let needed = logged.least_capacity(seats(16), 0.1).unwrap().value;
    near(0.1, over(&seen, needed));
}

#[test]
fn requests_that_come_by_themselves_wait_for_a_seat() {
    let log = plain::log(2, 400);
    let law = lengths(&log);
    let mean = law.mean_output();
    // Nine tenths of the seats are taken.
    let per_step = 0.9 * 12.0 / mean;
    let mut random = Random(8);
    let runs: Vec<(u64, Vec<u64>)> =
        (0..600).map(|_| plain::queue(&log, (12, per_step), 8_000, 3_000, &mut random)).collect();
    let seen: Vec<u64> = runs.iter().map(|run| run.0).collect();
    let service = Service { arrivals: Some(per_step), ..Service::new(&law, Horizon::Steps(3_000.0)) };
    let needed = service.least_capacity(seats(12), 0.1).unwrap().value;
    near(0.1, over(&seen, needed));
    let question = Question { batching: seats(12), capacity: Some(needed), risk: 0.2 };
    let report = answer(&service, question, &[]).unwrap();
    let waits: Vec<u64> = runs.into_iter().flat_map(|run| run.1).collect();
    let average = waits.iter().sum::<u64>() as f64 / waits.len() as f64;
    let found = report.waiting.unwrap();
    let off = (found.mean_steps - average).abs();
    assert!(off < 0.15 * average + 4.0 * found.standard_error_steps, "{found:?} {average}");
    assert_eq!(report.within_risk, Some(true));
    // With more seats than ever are taken nobody waits, and the law is known.
    let free: Vec<u64> = (0..1_000)
        .map(|_| {
            let mut peak = 0.0_f64;
            plain::arrivals(&log, per_step, 3_000, &mut random, |demand| {
                peak = peak.max(demand);
                true
            });
            peak as u64
        })
        .collect();
    near(service.risk(seats(1 << 20), needed).unwrap().probability, over(&free, needed));
    assert!(
        answer(&service, Question { batching: seats(1 << 20), ..question }, &[]).unwrap().waiting.is_none()
    );
    // Too few seats for what comes: it is said.
    let crowded = answer(&service, Question { batching: seats(8), ..question }, &[]).unwrap();
    assert!(crowded.load_ratio.unwrap() > 1.0);
    assert!(crowded.notes.iter().any(|note| note.contains("too few")), "{:?}", crowded.notes);
}

#[test]
fn more_than_can_be_served_takes_no_more_memory() {
    let law = lengths(&plain::log(2, 400));
    let deadline = Deadline::within(Duration::from_secs(2));
    let service = Service { arrivals: Some(1e4), deadline, ..Service::new(&law, Horizon::Steps(1e6)) };
    let question = Question { batching: seats(32), capacity: Some(60_000.0), risk: 0.01 };
    let report = answer(&service, question, &[]).unwrap();
    assert!(report.notes.iter().any(|note| note.contains("too few for so many arrivals")), "{report:?}");
}

#[test]
fn prompts_and_outputs_may_have_to_do_with_each_other() {
    // Half are long prompts with short answers: they are there for a hundredth of the time.
    let law = lengths(&[(10_000, 10), (100, 1000)]);
    let largest = Service::new(&law, Horizon::Cycle).largest_batch(seats(1), 200_000.0, 0.01).unwrap().value;
    assert!((225.0..235.0).contains(&largest), "{largest}");
}

#[test]
fn a_cap_that_cuts_nothing_off_changes_nothing() {
    let free = Lengths::geometric(10.0, 0.5).unwrap();
    let capped = free.clone().capped(3_000).unwrap();
    let risk = |law: &Lengths, arrivals| {
        let service = Service { arrivals, ..Service::new(law, Horizon::Steps(2_000.0)) };
        let batching = seats(if arrivals.is_some() { 1 << 20 } else { 3 });
        let needed = service.least_capacity(batching, 0.01).unwrap().value;
        (service.risk(batching, 60.0).unwrap().probability, needed)
    };
    for arrivals in [None, Some(0.05)] {
        let ((one, less), (other, more)) = (risk(&free, arrivals), risk(&capped, arrivals));
        assert!(
            (one / other - 1.0).abs() < 0.3 && (less / more - 1.0).abs() < 0.1,
            "{one} {other}, {less} {more}"
        );
    }
}

#[test]
fn what_always_fits_is_counted_in_blocks() {
    // At its longest a request takes three blocks, and there are twelve.
    let law = lengths(&[(100, 201)]);
    let service = Service { block: 128, ..Service::new(&law, Horizon::Steps(50.0)) };
    let question = Question { batching: seats(4), capacity: Some(1600.0), risk: 0.01 };
    let report = answer(&service, question, &[]).unwrap();
    assert_eq!((report.worst_case_batch, report.probability), (Some(4), Some(0.0)));
}

#[test]
fn what_always_fits_is_certain() {
    let law = lengths(&[(500, 200)]);
    for horizon in [Horizon::Cycle, Horizon::Steps(1e9)] {
        for batching in [seats(64), Batching::Threshold(Batch::new(64, 32).unwrap())] {
            for start in [Start::Settled, Start::Cold] {
                let service = Service { start, ..Service::new(&law, horizon) };
                let risk = service.risk(batching, 44_800.0).unwrap();
                assert_eq!((risk.probability, risk.high, risk.method), (0.0, 0.0, RiskMethod::Certain));
            }
        }
    }
}

#[test]
fn answers_come_by_the_deadline() {
    let geometric = Lengths::geometric(20.0, 0.01).unwrap();
    let heavy = lengths(&plain::log(1, 300));
    let threshold = Batching::Threshold(Batch::new(8, 1).unwrap());
    for (law, batching, capacity, horizon) in [
        (&geometric, threshold, 1e9, Horizon::Cycle),
        (&geometric, threshold, 1e6, Horizon::Cycle),
        (&heavy, seats(100_000), 3e7, Horizon::Steps(1e12)),
        (&heavy, threshold, 3e7, Horizon::Steps(1e12)),
    ] {
        for start in [Start::Settled, Start::Cold] {
            let begun = Instant::now();
            let deadline = Deadline::within(Duration::from_secs(2));
            let service = Service { start, deadline, ..Service::new(law, horizon) };
            let question = Question { batching, capacity: Some(capacity), risk: 0.01 };
            let report = answer(&service, question, &[1e-4, 1e-6]).unwrap();
            // Twice the time on a busy machine.
            assert!(
                begun.elapsed() < Duration::from_secs(4),
                "{capacity} {horizon:?} {start:?}: {:?}",
                begun.elapsed()
            );
            // What is not there has a reason.
            let is_missing = report.max_batch.is_none() || report.capacity_tokens_needed.is_none();
            assert!(!is_missing || report.notes.iter().any(|note| note.contains("refused")), "{report:?}");
        }
    }
}

#[test]
fn figures_of_one_answer_agree() {
    let laws = plain::laws();
    for (name, log) in &laws {
        let law = lengths(log);
        let service = Service::new(&law, Horizon::Steps(2_000.0));
        let needed = service.least_capacity(seats(24), 0.05).unwrap().value;
        for capacity in [needed - 50.0, needed, needed + 50.0] {
            let question = Question { batching: seats(24), capacity: Some(capacity), risk: 0.05 };
            let report = answer(&service, question, &[]).unwrap();
            let within = report.within_risk.unwrap();
            assert_eq!(within, report.probability.unwrap() <= 0.05);
            if let Some(needed) = report.capacity_tokens_needed {
                assert_eq!(within, needed <= capacity, "{name}");
            }
            if let Some(largest) = report.max_batch {
                assert_eq!(within, largest >= 24, "{name}: {report:?}");
            }
        }
    }
}

#[test]
fn a_model_has_a_context_and_prompts_a_prefix() {
    let law = lengths(&[(100, 50), (300, 400), (900, 10)]);
    let (served, refused) = law.clone().within(500).unwrap();
    assert_eq!((served.requests().unwrap().len(), refused, served.largest()), (2, 1, Some(500.0)));
    assert!(matches!(law.clone().within(100), Err(OccupancyError::OutOfRange { .. })));
    let (beside, without) = law.clone().beside_prefix(200).unwrap();
    assert_eq!((beside.mean_prompt(), without), ((100.0 + 100.0 + 700.0) / 3.0, 1));
    assert!(law.beside_prefix(900).is_err());
    let (geometric, _) = Lengths::geometric(100.5, 0.01).unwrap().within(200).unwrap();
    assert_eq!(geometric.largest(), Some(199.5));
    assert!(Lengths::geometric(300.0, 0.01).unwrap().within(200).is_err());
}
