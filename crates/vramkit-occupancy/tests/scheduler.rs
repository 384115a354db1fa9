//! The scheduler's replay: what a real one counted, and what must hold whatever it is given.

#![allow(clippy::unwrap_used)]

mod plain;

use proptest::prelude::*;
use vramkit_occupancy::{OccupancyError, RequestLengths, Scheduler};

/// vLLM's pull request 44594: 450 requests of 1,000 and 5,000 tokens give or take a fifth, 128 at a time, 299,584 tokens of KV
/// cache. Preemptions that it printed, by watermark.
const PUBLISHED: [(f64, f64); 5] =
    [(0.0, 1065.0), (0.02, 400.0), (0.05, 187.0), (0.10, 168.0), (0.15, 168.0)];

#[test]
fn preempts_as_often_as_vllm_did() {
    let mut error = 0.0;
    for (watermark, published) in PUBLISHED {
        let mean = (0..8)
            .map(|seed| {
                let mut random = plain::Random(seed);
                let mut near = |middle: f64| (middle * (0.8 + 0.4 * random.unit())) as u32;
                let requests: Vec<RequestLengths> =
                    (0..450).map(|_| RequestLengths { prompt: near(1000.0), output: near(5000.0) }).collect();
                let scheduler = Scheduler { watermark, ..Scheduler::new(299_584, 128) };
                let replayed = scheduler.replay(&requests, None).unwrap();
                assert_eq!(replayed.completed, 450);
                assert!(replayed.peak_running <= 128 && replayed.peak_blocks <= 18_724);
                replayed.preemptions as f64
            })
            .sum::<f64>()
            / 8.0;
        error += (mean / published - 1.0).abs() / 5.0;
    }
    assert!(error < 0.15, "{error}");
}

#[test]
fn enough_memory_never_preempts_and_takes_as_long_as_the_tokens() {
    let requests = vec![RequestLengths { prompt: 100, output: 10 }; 4];
    let scheduler = Scheduler::new(10_000, 4);
    let replayed = scheduler.replay(&requests, None).unwrap();
    // All prefilled in the first step, which gives the first token.
    assert_eq!((replayed.steps, replayed.preemptions, replayed.completed), (10, 0, 4));
    assert_eq!((replayed.peak_blocks, replayed.peak_running), (4 * 7, 4));
    // Prompts in pieces of at most the budget, with what decodes beside them.
    let slow = Scheduler { token_budget: 60, ..scheduler };
    assert_eq!(slow.replay(&requests[..1], None).unwrap().steps, 11);
    // One after the other when they arrive so.
    let later = scheduler.replay(&requests, Some(&[0.0, 20.0, 40.0, 1000.0])).unwrap();
    assert_eq!((later.steps, later.peak_running), (1010, 1));
}

#[test]
fn the_timeline_holds_every_preemption_and_the_peak() {
    let log = plain::log(3, 4000);
    let requests: Vec<RequestLengths> =
        log.iter().map(|&(prompt, output)| RequestLengths { prompt, output }).collect();
    let replayed = Scheduler::new(8_000, 24).replay(&requests, None).unwrap();
    assert!(replayed.preemptions > 10 && replayed.recomputed_tokens > 1000, "{}", replayed.preemptions);
    assert!(replayed.timeline.len() <= 2048 && replayed.timeline.len() > 500);
    assert_eq!(replayed.timeline.iter().map(|moment| moment.preemptions).sum::<u64>(), replayed.preemptions);
    assert_eq!(replayed.timeline.iter().map(|moment| moment.blocks).max().unwrap(), replayed.peak_blocks);
    assert!(replayed.timeline.is_sorted_by_key(|moment| moment.step));
}

#[test]
fn what_can_never_run_is_refused() {
    let request = [RequestLengths { prompt: 100, output: 100 }];
    assert!(Scheduler::new(208, 1).replay(&request, None).is_ok());
    let small = Scheduler::new(192, 1).replay(&request, None);
    assert_eq!(small, Err(OccupancyError::RequestTooLarge { capacity: 192.0, needed: 200.0 }));
    let reserved = Scheduler { watermark: 0.2, ..Scheduler::new(224, 1) }.replay(&request, None);
    assert!(matches!(reserved, Err(OccupancyError::RequestTooLarge { .. })));
    let whole = Scheduler { chunked_prefill: false, token_budget: 150, ..Scheduler::new(10_000, 1) };
    assert!(matches!(whole.replay(&request, None), Err(OccupancyError::Refused { .. })));
    for broken in [
        Scheduler { seats: 0, ..Scheduler::new(1000, 1) },
        Scheduler { block: 0, ..Scheduler::new(1000, 1) },
        Scheduler { watermark: f64::NAN, ..Scheduler::new(1000, 1) },
        Scheduler { token_budget: 0, ..Scheduler::new(1000, 1) },
        Scheduler::new(0, 1),
    ] {
        assert!(broken.replay(&request, None).is_err(), "{broken:?}");
    }
    for arrivals in [&[][..], &[f64::NAN], &[1.0, 2.0]] {
        assert!(Scheduler::new(1000, 1).replay(&request, Some(arrivals)).is_err());
    }
    assert!(Scheduler::new(1000, 1).replay(&[RequestLengths { prompt: 0, output: 1 }], None).is_err());
    assert_eq!(Scheduler::new(1000, 1).replay(&[], None).unwrap().steps, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every request ends, memory is never over what there is, and every step but the idle ones has room for a token of each.
    #[test]
    fn everything_ends_within_the_memory(
        log in prop::collection::vec((1u32..60, 1u32..40), 1..40), room in 1.0f64..4.0, seats in 1u32..12, block in 1u32..9,
        watermark in 0.0f64..0.3, budget in 1u32..200, chunked: bool, gap in 0.0f64..20.0,
    ) {
        let requests: Vec<RequestLengths> = log.iter().map(|&(prompt, output)| RequestLengths { prompt, output }).collect();
        let largest = log.iter().map(|(prompt, output)| prompt + output).max().unwrap();
        let blocks = (f64::from(largest.div_ceil(block) + 1) * room / (1.0 - watermark)).ceil() as u64;
        let token_budget = if chunked { budget } else { budget.max(largest) };
        let scheduler = Scheduler {
            blocks,
            block,
            watermark,
            token_budget,
            chunked_prefill: chunked,
            ..Scheduler::new(0, seats)
        };
        let arrivals: Vec<f64> = (0..requests.len()).map(|i| i as f64 * gap).collect();
        for arrivals in [None, Some(arrivals.as_slice())] {
            let replayed = scheduler.replay(&requests, arrivals).unwrap();
            prop_assert_eq!(replayed.completed, requests.len() as u64);
            prop_assert!(replayed.peak_blocks <= blocks && replayed.peak_running <= seats);
            prop_assert!(replayed.mean_blocks <= replayed.peak_blocks as f64);
            let tokens: u64 = log.iter().map(|(prompt, output)| u64::from(prompt + output - 1)).sum();
            prop_assert!(replayed.steps >= log.iter().map(|r| u64::from(r.1)).max().unwrap());
            prop_assert!(replayed.steps * u64::from(token_budget) >= tokens);
            prop_assert!(replayed.preemptions > 0 || replayed.recomputed_tokens == 0);
        }
    }
}
