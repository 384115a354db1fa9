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
    // Between the limits the hard one is recovered from, and the soft one stays passed.
    source.use_bytes(ByteSize::mb(700));
    assert_eq!(monitor.check_limits("decode"), Ok(None));
    std::thread::sleep(Duration::from_millis(40));
    monitor.check_limits("decode").unwrap();
    assert_eq!(monitor.passed_limit(), Some(LimitKind::Soft));
    let recovered = |event: &Event| matches!(event, Event::Recovered { limit: LimitKind::Hard, .. });
    wait_until("recovery", || count(&told, recovered) == 1);
}

#[test]
fn what_is_only_asked_about_does_not_count_as_passed() {
    let source = Scripted::new(GB);
    let monitor = limited(&source, |config| config.limit_hold = Duration::ZERO);
    let told = events(&monitor);
    assert!(monitor.preflight(ByteSize::gib(5), "load").is_err());
    assert_eq!(source.reclaims.load(Ordering::SeqCst), 0, "no cleanup makes room for more than the limit");
    assert!(monitor.preflight(ByteSize::mb(600), "load").unwrap().is_some());
    assert_eq!((monitor.passed_limit(), monitor.stats().soft_violations), (None, 0));
    // And what is passed is taken back by it, too.
    source.use_bytes(ByteSize::mb(600));
    monitor.check_limits("decode").unwrap();
    assert_eq!(monitor.passed_limit(), Some(LimitKind::Soft));
    source.use_bytes(ByteSize::mb(1));
    assert_eq!(monitor.preflight(ByteSize::mb(1), "load"), Ok(None));
    assert_eq!(monitor.passed_limit(), None);
    wait_until("two events", || told.lock().unwrap().len() == 2);
}

#[test]
fn past_the_hard_limit_both_are_passed() {
    let source = Scripted::new(GB);
    let monitor = limited(&source, |config| config.limit_hold = Duration::ZERO);
    let (told, trace) = (events(&monitor), Arc::new(TraceCollector::new()));
    monitor.record_into(&trace);
    source.use_bytes(ByteSize::mb(950));
    assert!(monitor.check_limits("decode").is_err());
    assert_eq!(monitor.stats().soft_violations, 1);
    source.use_bytes(ByteSize::mb(700));
    assert_eq!(monitor.check_limits("decode"), Ok(None), "it falls: no crossing");
    source.use_bytes(ByteSize::mb(100));
    monitor.check_limits("decode").unwrap();
    wait_until("events", || told.lock().unwrap().len() == 5);
    let kinds: Vec<String> = trace.events().iter().map(|event| event.event.describe().0).collect();
    assert_eq!(
        kinds,
        ["cleanup does not help", "limit passed", "limit passed", "recovered", "recovered"],
        "soft before hard, hard before soft"
    );
}

#[test]
fn a_cleanup_past_the_hard_limit_waits_for_no_other() {
    let source = Scripted::new(GB);
    let monitor = limited(&source, |config| config.cleanup_threshold = Some(0.85));
    source.use_bytes(ByteSize::mb(880));
    monitor.log_snapshot("", None, &[]);
    wait_until("one that frees nothing", || monitor.stats().unhelpful_cleanups == 1);
    source.use_bytes(ByteSize::mb(950));
    source.reclaimable.store(600_000_000, Ordering::SeqCst);
    assert_eq!(monitor.check_limits("decode"), Ok(None), "it is cured");
    // And after one of its own that frees nothing, a second is a long time.
    source.use_bytes(ByteSize::mb(950));
    assert!(monitor.check_limits("decode").is_err());
    source.reclaimable.store(600_000_000, Ordering::SeqCst);
    wait_until("the next", || monitor.check_limits("decode").is_ok());
    assert_eq!(monitor.stats().cleanups, 4);
}

#[test]
fn a_callback_that_panics_is_not_everybody_elses() {
    let source = Scripted::new(GB);
    let monitor = limited(&source, |_| {});
    let called = Arc::new(AtomicUsize::new(0));
    monitor.register_cleanup_callback(|_| panic!("somebody's"));
    let counted = called.clone();
    monitor.register_cleanup_callback(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    source.use_bytes(ByteSize::mb(950));
    source.reclaimable.store(600_000_000, Ordering::SeqCst);
    assert_eq!(monitor.check_limits("decode"), Ok(None));
    assert_eq!((called.load(Ordering::SeqCst), source.reclaims.load(Ordering::SeqCst)), (1, 1));
    assert_eq!((monitor.stats().cleanups, monitor.stats().unhelpful_cleanups), (1, 0));
    assert!(monitor.cleanup().is_some(), "and it is over");
}

#[test]
fn a_threshold_that_is_no_fraction_is_refused() {
    for from in [85.0, f64::NAN, f64::INFINITY, 0.0, -0.1] {
        let config = MonitorConfig { cleanup_threshold: Some(from), ..MonitorConfig::default() };
        let refused = VramMonitor::with_config(Scripted::new(GB), config).err().unwrap().to_string();
        assert!(refused.contains("cleanup_threshold"), "{refused}");
    }
    let config = MonitorConfig { cleanup_threshold: Some(1.0), ..MonitorConfig::default() };
    assert!(VramMonitor::with_config(Scripted::new(GB), config).is_ok());
}

/// Whoever checks, and from however many threads: what is told alternates.
#[test]
fn events_come_in_the_order_of_what_they_say() {
    let source = Scripted::new(GB);
    let monitor = limited(&source, |config| config.limit_hold = Duration::ZERO);
    let trace = Arc::new(TraceCollector::new());
    monitor.record_into(&trace);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (source, monitor) = (&source, &monitor);
            scope.spawn(move || {
                for round in 0..500 {
                    source.use_bytes(ByteSize::mb(if (round + thread) % 2 == 0 { 100 } else { 600 }));
                    monitor.check_limits("race").unwrap();
                }
            });
        }
    });
    let events = trace.events();
    let passed = |i: usize| matches!(events[i].event, Event::LimitPassed { .. });
    assert!(events.len() > 2 && (0..events.len()).all(|i| passed(i) == (i % 2 == 0)));
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
