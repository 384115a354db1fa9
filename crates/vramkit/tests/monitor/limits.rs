//! Limits in a program: what is said of them, and how often.

use super::*;
use vramkit::trace::TraceCollector;

#[test]
fn the_soft_limit_warns_once_a_crossing_and_recovery_is_told() {
    let source = Scripted::new(GB);
    let monitor = limited(&source, |_| {});
    let (told, trace) = (events(&monitor), Arc::new(TraceCollector::new()));
    monitor.record_into(&trace);
    source.use_bytes(ByteSize::mb(501));
    let warnings = (0..1000).filter(|_| monitor.check_limits("decode").unwrap().is_some()).count();
    assert_eq!((warnings, monitor.stats().soft_violations), (1, 1));
    assert_eq!(monitor.passed_limit(), Some(LimitKind::Soft));
    // Before more is asked for, the question is answered each time.
    assert!((0..3).all(|_| monitor.preflight(ByteSize::mb(1), "kv").unwrap().is_some()));
    assert_eq!(monitor.stats().soft_violations, 1);
    // Around the limit: it has not been below it for long enough.
    source.use_bytes(ByteSize::mb(499));
    assert_eq!(monitor.check_limits("decode"), Ok(None));
    source.use_bytes(ByteSize::mb(502));
    assert_eq!(monitor.check_limits("decode"), Ok(None));
    source.use_bytes(ByteSize::mb(400));
    monitor.check_limits("decode").unwrap();
    std::thread::sleep(Duration::from_millis(40));
    monitor.check_limits("decode").unwrap();
    assert_eq!(monitor.passed_limit(), None);
    source.use_bytes(ByteSize::mb(600));
    assert_eq!(monitor.check_limits("decode").unwrap().unwrap().0.excess_bytes, ByteSize::mb(100));
    assert_eq!(monitor.stats().soft_violations, 2);
    let is_soft = |event: &Event| matches!(event, Event::LimitPassed { limit: LimitKind::Soft, .. });
    wait_until("events", || count(&told, is_soft) == 2);
    let recovered = |event: &Event| matches!(event, Event::Recovered { limit: LimitKind::Soft, .. });
    assert_eq!(count(&told, recovered), 1);
    let kinds: Vec<String> = trace.events().iter().map(|event| event.event.describe().0).collect();
    assert_eq!(kinds, ["limit passed", "recovered", "limit passed"]);
}

#[test]
fn the_hard_limit_is_an_error_at_every_check_and_told_once() {
    let source = Scripted::new(GB);
    let monitor = limited(&source, |_| {});
    let told = events(&monitor);
    source.use_bytes(ByteSize::mb(950));
    assert!((0..100).all(|_| monitor.check_limits("decode").is_err()));
    assert_eq!(monitor.passed_limit(), Some(LimitKind::Hard));
    assert!(source.reclaims.load(Ordering::SeqCst) <= 2, "cleanups that free nothing are not repeated");
    let hard = |event: &Event| matches!(event, Event::LimitPassed { limit: LimitKind::Hard, .. });
    let useless = |event: &Event| matches!(event, Event::CleanupDoesNotHelp { .. });
    wait_until("events", || count(&told, hard) == 1 && count(&told, useless) == 1);
    // Between the limits the hard one is recovered from, and the soft one passed.
    source.use_bytes(ByteSize::mb(700));
    assert!(monitor.check_limits("decode").unwrap().is_some());
    std::thread::sleep(Duration::from_millis(40));
    monitor.check_limits("decode").unwrap();
    assert_eq!(monitor.passed_limit(), Some(LimitKind::Soft));
    let recovered = |event: &Event| matches!(event, Event::Recovered { limit: LimitKind::Hard, .. });
    wait_until("recovery", || count(&told, recovered) == 1);
}

#[test]
fn the_soft_limit_cleans_up_only_where_it_is_asked_to() {
    for asked in [false, true] {
        let source = Scripted::new(GB);
        let monitor = limited(&source, |config| config.cleanup_at_soft_limit = asked);
        source.use_bytes(ByteSize::mb(600));
        source.reclaimable.store(200_000_000, Ordering::SeqCst);
        assert!(monitor.check_limits("decode").unwrap().is_some());
        if asked {
            wait_until("a cleanup", || monitor.stats().cleanups == 1);
            assert_eq!(monitor.stats().last_cleanup.unwrap().reason, CleanupReason::SoftLimit);
        } else {
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(monitor.stats().cleanups, 0);
        }
    }
}
