//! Words and defaults that people and files rely on.

use std::time::Duration;

use vramkit_pressure::{
    CleanupReason, LimitKind, Limits, MemoryPressureError, MemoryPressureWarning, Passed, PolicyLadder,
    PressureLevel, PressurePolicy, sampling_period,
};
use vramkit_units::ByteSize;

#[test]
fn levels_policies_limits_and_reasons_have_their_words() {
    let words: Vec<String> = PressureLevel::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["normal", "elevated", "high", "critical"]);
    use PressurePolicy::*;
    assert_eq!(
        [Log, Degrade, Compact, Evict, Reject].map(|policy| policy.to_string()),
        ["log", "degrade", "compact", "evict", "reject"]
    );
    assert_eq!([LimitKind::Soft, LimitKind::Hard].map(|limit| limit.to_string()), ["soft", "hard"]);
    use CleanupReason::*;
    assert_eq!(
        [Asked, Threshold, SoftLimit, HardLimit].map(|reason| reason.to_string()),
        ["asked for", "fuller than the threshold", "soft limit passed", "hard limit passed"]
    );
}

#[test]
fn what_is_passed_is_said_with_its_numbers() {
    let limits = Limits::new(ByteSize::mib(100), ByteSize::mib(200)).unwrap();
    assert_eq!((limits.soft(), limits.hard()), (ByteSize::mib(100), ByteSize::mib(200)));
    let passed = |requested: u64| Passed {
        context: "decode".into(),
        current_bytes: ByteSize::mib(190),
        requested_bytes: ByteSize::mib(requested),
        limit_bytes: ByteSize::mib(100),
        excess_bytes: ByteSize::mib(90 + requested),
    };
    let warning = MemoryPressureWarning(passed(0)).to_string();
    assert_eq!(warning, "soft limit passed: decode: 190 MiB held, limit 100 MiB, 90 MiB too much");
    let error = MemoryPressureError::Passed(passed(10)).to_string();
    assert!(
        error.contains("190 MiB held and 10 MiB about to be asked for, limit 100 MiB, 100 MiB too much"),
        "{error}"
    );
}

#[test]
fn a_ladder_of_a_file_has_its_defaults_and_bounds() {
    let ladder = |text: &str| serde_json::from_str::<PolicyLadder>(text).unwrap();
    assert_eq!(ladder(r#"{"rungs": []}"#).patience, 2);
    let rung = |enter: f64, exit: f64| {
        let rung = format!(r#"{{"level": "high", "enter": {enter}, "exit": {exit}, "policies": ["evict"]}}"#);
        ladder(&format!(r#"{{"rungs": [{rung}]}}"#)).check().is_ok()
    };
    assert!(rung(0.8, 0.0) && rung(1.0, 1.0) && rung(0.8, 0.8));
    assert!(!rung(0.0, 0.0) && !rung(1.01, 0.5) && !rung(0.8, 0.81) && !rung(0.8, -0.1));
}

/// A quarter of the time in which what is left could go.
#[test]
fn the_next_look_comes_when_a_quarter_of_the_headroom_may_be_gone() {
    let bounds = (Duration::from_millis(100), Duration::from_secs(10));
    let period = |bytes: u64| sampling_period(ByteSize::new(bytes), 1e9, bounds);
    assert_eq!(period(8_000_000_000), Duration::from_secs(2));
    assert_eq!(period(1_000_000_000), Duration::from_millis(250));
    assert_eq!((period(100_000_000), period(100_000_000_000)), bounds);
}
