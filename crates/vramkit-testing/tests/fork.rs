//! A forked child has copies of what its parent made, and none of its threads. Dropping them there is harmless, in the child
//! and to the parent.
#![cfg(unix)]
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vramkit::ByteSize;
use vramkit::device::SimulatedDevice;
use vramkit::monitor::publish::{PublishedReader, Publisher};
use vramkit::orchestrator::{MemoryOrchestrator, PressurePolicy};
use vramkit::plan::Schedule;
use vramkit::pool::DeviceMemoryPool;
use vramkit_testing::filler;

/// Runs `body` in a forked child, which then ends without anything else. Returns its exit status; `None` when it hung.
fn in_a_child(body: impl FnOnce()) -> Option<i32> {
    // SAFETY: the child runs `body` and `_exit`; this file's one test is the only thread that has locks of ours, and the
    // C library makes its own allocator usable in the child.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no child");
    if child == 0 {
        let outcome = catch_unwind(AssertUnwindSafe(body));
        // SAFETY: ends the process at once, without running anything of the parent's.
        unsafe { libc::_exit(i32::from(outcome.is_err())) };
    }
    let start = Instant::now();
    loop {
        let mut status = 0;
        // SAFETY: waits for the child made above; `status` is a valid place.
        if unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == child {
            return Some(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 });
        }
        if start.elapsed() > Duration::from_secs(20) {
            // SAFETY: ends the child made above, which has not been waited for.
            unsafe { libc::kill(child, libc::SIGKILL) };
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_a_child_drops_stays_its_parents() {
    let folder = std::env::temp_dir().join(format!("vramkit-fork-{}", std::process::id()));
    let capacity = ByteSize::mib(16);
    let pool = DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap();
    let pool = Arc::new(pool);
    let mut publisher = Some(Publisher::within(&folder, &[("main", &pool)]).unwrap());
    let answers =
        || PublishedReader::default().read(&folder).iter().map(|found| found.claimed_pid).collect::<Vec<_>>();
    assert_eq!(answers(), [std::process::id()]);
    assert_eq!(in_a_child(|| drop(publisher.take())), Some(0), "dropping in a child is harmless");
    assert_eq!(answers(), [std::process::id()], "the parent still answers");
    // What a child publishes by itself is its own.
    let own = in_a_child(|| drop(Publisher::within(&folder, &[("main", &pool)]).unwrap()));
    assert_eq!((own, answers()), (Some(0), vec![std::process::id()]));

    // Callbacks on evictions run in a child, too, although the parent's thread is not there.
    let orchestrator = MemoryOrchestrator::new(pool.clone());
    // Plain numbers, no channels: a lock that a thread holds at the fork stays locked in the child.
    let (told, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (tell, ended, parent) = (told.clone(), over.clone(), std::process::id());
    orchestrator.on_every_evict(move |_| {
        tell.fetch_add(1, Ordering::SeqCst);
        while std::process::id() == parent && !ended.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let plan = orchestrator.plan(&[filler("m", ByteSize::mib(1))], Schedule::Fixed).unwrap();
    let evict = || {
        let (before, start) = (told.load(Ordering::SeqCst), Instant::now());
        orchestrator.bind("m", &plan).unwrap();
        orchestrator.apply(PressurePolicy::Evict, ByteSize::mib(1));
        while told.load(Ordering::SeqCst) == before {
            assert!(start.elapsed() < Duration::from_secs(10), "nobody was told");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    evict(); // The thread is in the callback, and stays there.
    assert_eq!(in_a_child(evict), Some(0), "a child has a thread of its own for them");
    over.store(true, Ordering::SeqCst);
    drop(publisher);
    assert!(answers().is_empty());
    std::fs::remove_dir_all(&folder).unwrap();
}
