//! The threads that share a step's work: one pool for the life of an engine.
//!
//! In: a number of tasks and what one task does. Out: all are done when [`Threads::run`] returns, each exactly once. Tasks
//! are taken one by one from a counter, so a thread whose core is busy with other programs takes fewer. Never: a thread
//! that holds a core while there is nothing to do (it spins for some microseconds, then yields, then sleeps), a wait for
//! a thread that has not begun, a worker that outlives its pool.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a thread looks for work, or for the end of work, before it lets others have its core. The serial work between
/// two products of a step takes less.
const SPIN: Duration = Duration::from_micros(40);
/// How often it yields after that, before it sleeps.
const YIELDS: usize = 40;
/// Looks between two looks at the clock.
const LOOKS: usize = 64;

/// Bit of the gate: workers may enter.
const OPEN: u64 = 1;
/// One worker inside, in the gate.
const INSIDE: u64 = 2;
/// The bits of the gate that count workers inside.
const COUNT: u64 = 0xffff_fffe;
/// One round of work, in the gate.
const ROUND: u64 = 1 << 32;
/// Most threads of a pool, well below what the gate counts.
const MOST: usize = 4096;

/// A persistent pool of threads. The thread that calls [`run`](Self::run) is one of them.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use vramkit_llm::kernels::Threads;
///
/// let threads = Threads::new(2);
/// let sum = AtomicUsize::new(0);
/// threads.run(10, &|task| {
///     sum.fetch_add(task, Ordering::Relaxed);
/// });
/// assert_eq!(sum.into_inner(), 45);
/// ```
pub struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held while work runs.
    turn: Mutex<()>,
}

/// What caller and workers share.
struct Shared {
    /// Round, workers inside, and whether they may enter: one word, so that entering and closing cannot miss each other.
    gate: AtomicU64,
    /// The next task.
    next: AtomicUsize,
    work: UnsafeCell<Work>,
    /// What the first task that panicked said.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    stop: AtomicBool,
    /// Workers that sleep or are about to.
    asleep: AtomicUsize,
    /// Whether the caller sleeps or is about to.
    caller: AtomicBool,
    sleep: Mutex<()>,
    /// There is work, or the pool ends.
    begin: Condvar,
    /// The last worker left.
    end: Condvar,
}

/// The work of a round.
#[derive(Clone, Copy)]
struct Work {
    tasks: usize,
    task: *const (dyn Fn(usize) + Sync),
}

// SAFETY: `work` is written by the caller alone, while the gate is closed and nobody is inside (`Threads::run`), and read
// by workers that are inside; what it points to is `Sync` and outlives their being inside, since the caller waits for it.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Threads {
    /// A pool of `count` threads, the caller among them; at least one, at most 4,096. Should the system refuse to start
    /// some, the pool has fewer: [`count`](Self::count) says how many.
    pub fn new(count: usize) -> Self {
        let shared = Arc::new(Shared {
            gate: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            work: UnsafeCell::new(Work { tasks: 0, task: &|_| () }),
            panic: Mutex::new(None),
            stop: AtomicBool::new(false),
            asleep: AtomicUsize::new(0),
            caller: AtomicBool::new(false),
            sleep: Mutex::new(()),
            begin: Condvar::new(),
            end: Condvar::new(),
        });
        let workers = (1..count.min(MOST))
            .map_while(|at| {
                let shared = Arc::clone(&shared);
                let started =
                    thread::Builder::new().name(format!("vramkit-llm {at}")).spawn(move || shared.serve());
                started
                    .inspect_err(|error| tracing::warn!(%error, thread = at, "a thread could not be started"))
                    .ok()
            })
            .collect();
        Self { shared, workers, turn: Mutex::new(()) }
    }

    /// How many threads take part, the caller among them.
    pub fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Does `task(0)` to `task(tasks - 1)`, each once, in any order, on all threads, and returns when all are done. While
    /// another thread's work is running, and from within a task, the caller does it alone.
    ///
    /// # Panics
    /// When a task panics: with what the first one said, after all that had begun are done; the others are not begun.
    pub fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            // A panic of an earlier task left nothing half done.
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return (0..tasks).for_each(task),
        };
        if tasks <= 1 || self.workers.is_empty() {
            return (0..tasks).for_each(task);
        }
        let panic = self.shared.round(tasks, task);
        drop(turn);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(self.shared.sleeping());
        self.shared.begin.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches what its tasks throw, so it ends well.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// One round, as the caller sees it; what a task that panicked said.
    fn round(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) -> Option<Box<dyn Any + Send>> {
        let task: *const (dyn Fn(usize) + Sync + '_) = task;
        // SAFETY: the two types differ in the lifetime alone, and nobody follows the pointer after this function: it ends
        // when no worker is inside and none can enter.
        let task = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync)>(task)
        };
        // SAFETY: the gate is closed and nobody inside since the round before; the caller holds the turn.
        unsafe { *self.work.get() = Work { tasks, task } };
        self.next.store(0, Ordering::Relaxed);
        // Opens a new round. Sequentially consistent, as is `asleep`: either a worker that falls asleep sees the round, or
        // the caller sees that it sleeps.
        self.gate.fetch_add(ROUND | OPEN, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) > 0 {
            drop(self.sleeping());
            self.begin.notify_all();
        }
        self.take(Work { tasks, task });
        self.gate.fetch_and(!OPEN, Ordering::SeqCst);
        self.wait_for_workers();
        self.panic.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Does tasks until none is left.
    fn take(&self, work: Work) {
        // SAFETY: the caller's closure lives until `round` ends, which waits for all that are inside.
        let task = unsafe { &*work.task };
        let done = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let at = self.next.fetch_add(1, Ordering::Relaxed);
                if at >= work.tasks {
                    break;
                }
                task(at);
            }
        }));
        if let Err(panic) = done {
            // No further task is begun.
            self.next.store(work.tasks, Ordering::Relaxed);
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }

    /// Returns when no worker is inside; the gate is closed.
    fn wait_for_workers(&self) {
        let empty = || self.gate.load(Ordering::SeqCst) & COUNT == 0;
        if patiently(empty) {
            return;
        }
        self.caller.store(true, Ordering::SeqCst);
        let mut sleeping = self.sleeping();
        while !empty() {
            sleeping = self.end.wait(sleeping).unwrap_or_else(PoisonError::into_inner);
        }
        self.caller.store(false, Ordering::SeqCst);
    }

    /// A worker's life.
    fn serve(&self) {
        let mut seen = 0;
        loop {
            let new = || self.stop.load(Ordering::SeqCst) || self.open_since(seen);
            if !patiently(new) {
                self.asleep.fetch_add(1, Ordering::SeqCst);
                let mut sleeping = self.sleeping();
                while !new() {
                    sleeping = self.begin.wait(sleeping).unwrap_or_else(PoisonError::into_inner);
                }
                self.asleep.fetch_sub(1, Ordering::SeqCst);
            }
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let gate = self.gate.load(Ordering::SeqCst);
            let inside = gate + INSIDE;
            if gate & OPEN == 0
                || self.gate.compare_exchange(gate, inside, Ordering::SeqCst, Ordering::SeqCst).is_err()
            {
                continue;
            }
            seen = gate / ROUND;
            // SAFETY: this worker is inside, so the caller does not write.
            let work = unsafe { *self.work.get() };
            self.take(work);
            let before = self.gate.fetch_sub(INSIDE, Ordering::SeqCst);
            if before & (COUNT | OPEN) == INSIDE && self.caller.load(Ordering::SeqCst) {
                drop(self.sleeping());
                self.end.notify_all();
            }
        }
    }

    /// Whether a round is open that is not `seen`.
    fn open_since(&self, seen: u64) -> bool {
        let gate = self.gate.load(Ordering::SeqCst);
        gate & OPEN != 0 && gate / ROUND != seen
    }

    fn sleeping(&self) -> MutexGuard<'_, ()> {
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks until `done`: spinning, then yielding. False when it still isn't: sleep.
fn patiently(done: impl Fn() -> bool) -> bool {
    let until = |looks: usize| {
        (0..looks).any(|_| {
            done() || {
                spin_loop();
                false
            }
        })
    };
    let begin = Instant::now();
    while begin.elapsed() < SPIN {
        if until(LOOKS) {
            return true;
        }
    }
    (0..YIELDS).any(|_| {
        thread::yield_now();
        done()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_is_done_once_in_every_round() {
        for count in [1, 2, 5] {
            let threads = Threads::new(count);
            assert_eq!(threads.count(), count);
            for tasks in (0..200).chain([10_000]) {
                let done: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                threads.run(tasks, &|task| {
                    done[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(done.iter().all(|times| times.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn workers_that_sleep_are_woken() {
        let threads = Threads::new(2);
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(20));
            // Each task waits for the other: one thread alone would never end.
            let begun = AtomicUsize::new(0);
            threads.run(2, &|_| {
                begun.fetch_add(1, Ordering::SeqCst);
                while begun.load(Ordering::SeqCst) < 2 {
                    thread::yield_now();
                }
            });
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_works_on() {
        let threads = Threads::new(3);
        for bad in [0, 7, 99] {
            let said = catch_unwind(AssertUnwindSafe(|| {
                threads.run(100, &|task| assert!(task != bad, "task {task} went wrong"));
            }))
            .unwrap_err();
            assert_eq!(*said.downcast::<String>().unwrap(), format!("task {bad} went wrong"));
            let done = AtomicUsize::new(0);
            threads.run(100, &|_| {
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 100);
        }
    }

    #[test]
    fn work_within_work_and_beside_it_is_done() {
        let threads = Threads::new(2);
        let done = AtomicUsize::new(0);
        let count = |_| {
            done.fetch_add(1, Ordering::Relaxed);
        };
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        threads.run(4, &|_| threads.run(5, &count));
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), 3 * 100 * 4 * 5);
    }

    #[test]
    fn more_threads_than_cores_make_progress() {
        let threads = Threads::new(16);
        let done = AtomicUsize::new(0);
        for _ in 0..500 {
            threads.run(64, &|_| {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        assert_eq!(done.into_inner(), 500 * 64);
    }
}
