//! A monitor that looks by itself, with sources and callbacks that misbehave.

use super::*;

/// A source that panics now and then.
struct Moody(AtomicUsize);

impl MemorySource for Moody {
    fn device(&self) -> DeviceName {
        DeviceName { id: "moody".into(), name: "moody".into(), uuid: None }
    }

    fn read(&self) -> Usage {
        assert!(!self.0.fetch_add(1, Ordering::SeqCst).is_multiple_of(3), "not now");
        Usage::unavailable(Origin::Driver, "moody")
    }
}

#[test]
fn it_looks_by_itself_until_it_is_dropped_and_more_often_as_it_fills() {
    let source = Scripted::new(ByteSize::gib(10));
    let monitor = limited(&source, |_| {});
    let told = events(&monitor);
    source.use_bytes(ByteSize::mb(600));
    let sampling = monitor.start(Duration::from_millis(200)).unwrap();
    wait_until("a limit found by itself", || {
        count(&told, |event| matches!(event, Event::LimitPassed { .. })) == 1
    });
    wait_until("owners are looked at", || source.ledgers.load(Ordering::SeqCst) > 0);
    assert_eq!(source.ledgers.load(Ordering::SeqCst), 1, "owners are looked at, and not at every look");
    // It filled fast and little is left: the period shrinks to a tenth.
    source.use_bytes(ByteSize::gib(9));
    let before = monitor.history(1000).len();
    wait_until("a look", || monitor.history(1000).len() > before);
    let start = Instant::now();
    wait_until("ten looks more", || monitor.history(1000).len() > before + 10);
    assert!(start.elapsed() < Duration::from_millis(1500), "2 s where they are an interval apart");
    drop(sampling);
    let reads = source.reads.load(Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(source.reads.load(Ordering::SeqCst), reads, "it has ended");
}

#[test]
fn a_slow_cleanup_holds_up_neither_readings_nor_the_end() {
    let source = Scripted::new(GB);
    let monitor = limited(&source, |_| {});
    let told = events(&monitor);
    let (held, entered) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)));
    let (wanted, inside) = (held.clone(), entered.clone());
    monitor.register_cleanup_callback(move |_| {
        inside.fetch_add(1, Ordering::SeqCst);
        drop(wanted.lock());
    });
    let guard = held.lock().unwrap();
    source.use_bytes(ByteSize::mb(950));
    let sampling = monitor.start(Duration::from_millis(10)).unwrap();
    wait_until("the callback", || entered.load(Ordering::SeqCst) == 1);
    let before = monitor.history(1000).len();
    wait_until("readings meanwhile", || monitor.history(1000).len() > before + 5);
    let hard = |event: &Event| matches!(event, Event::LimitPassed { limit: LimitKind::Hard, .. });
    wait_until("it is told though the cleanup is not over", || count(&told, hard) == 1);
    drop(sampling);
    drop(guard);
    wait_until("the cleanup", || monitor.stats().cleanups == 1);
    assert!(monitor.stats().hard_violations > 0 && monitor.passed_limit() == Some(LimitKind::Hard));
}

#[test]
fn a_look_of_its_own_past_the_hard_limit_cleans_up_first() {
    let source = Scripted::new(GB);
    let monitor = limited(&source, |_| {});
    let told = events(&monitor);
    source.use_bytes(ByteSize::mb(950));
    source.reclaimable.store(600_000_000, Ordering::SeqCst);
    let sampling = monitor.start(Duration::from_millis(10)).unwrap();
    wait_until("a cleanup", || monitor.stats().cleanups == 1);
    let before = monitor.history(1000).len();
    wait_until("looks after it", || monitor.history(1000).len() > before + 2);
    drop(sampling);
    assert_eq!((monitor.stats().hard_violations, monitor.passed_limit()), (0, None));
    assert_eq!(count(&told, |event| matches!(event, Event::LimitPassed { .. })), 0, "it was cured in time");
}

#[test]
fn a_source_that_panics_does_not_end_the_watch() {
    let source = Arc::new(Moody(AtomicUsize::new(0)));
    let monitor = VramMonitor::new(source.clone());
    // As often as may be, which is not without a pause.
    let sampling = monitor.start(Duration::ZERO).unwrap();
    wait_until("looks after panics", || source.0.load(Ordering::SeqCst) > 7);
    drop(sampling);
    assert!(monitor.stats().failures >= 2 && !monitor.history(100).is_empty());
}

#[test]
fn many_threads_use_a_monitor_at_once() {
    let source = Scripted::new(GB);
    let monitor = limited(&source, |config| config.cleanup_threshold = Some(0.5));
    let told = events(&monitor);
    monitor.register_cleanup_callback(|_| std::thread::yield_now());
    let _sampling = monitor.start(Duration::from_millis(10)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (monitor, source) = (&monitor, &source);
            scope.spawn(move || {
                for step in 0..300 {
                    source.use_bytes(ByteSize::mb((thread * 300 + step * 7) % 1000));
                    let _ = monitor.check_limits("work");
                    let _ = monitor.preflight(ByteSize::mb(10), "more");
                    monitor.log_snapshot("step", Some(step), &[]);
                    monitor.increment_generation_count();
                    drop((
                        monitor.stats(),
                        monitor.history(3),
                        monitor.cleanup(),
                        monitor.detect_memory_leak(),
                    ));
                    if step % 100 == 99 {
                        monitor.reset();
                    }
                }
            });
        }
    });
    source.use_bytes(ByteSize::mb(600));
    std::thread::sleep(Duration::from_millis(50));
    wait_until("it is still watching", || monitor.passed_limit() == Some(LimitKind::Soft));
    assert!(!told.lock().unwrap().is_empty());
}

#[test]
fn an_event_may_end_what_told_it() {
    let source = Scripted::new(GB);
    let monitor = limited(&source, |_| {});
    let held = Arc::new(Mutex::new(None));
    let (mine, inner) = (held.clone(), monitor.clone());
    monitor.on_event(move |_| {
        // Calls into the monitor, and the end of sampling, from a callback.
        let _ = inner.check_limits("callback");
        drop(mine.lock().unwrap().take());
    });
    *held.lock().unwrap() = Some(monitor.start(Duration::from_millis(5)).unwrap());
    source.use_bytes(ByteSize::mb(600));
    wait_until("its end", || held.lock().unwrap().is_none());
}
