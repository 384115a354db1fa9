//! A lock for what is held for tens of nanoseconds, such as a pool's book: given back by a plain store.
//!
//! To give back a mutex is an exchange, for which the processor first waits until everything written under the lock
//! has reached its cache. A store waits for nothing, and it is as good to whoever takes the lock next. What it cannot
//! do is tell in one step whether somebody waits: the holder looks after the store, and may miss one who lies down
//! at that very instant. So nobody sleeps for longer than [`NAP`] before trying again.
//!
//! ```text
//! lock: exchange free for taken ──► taken by another: try a while ──► sleep until woken, or for a nap ──► try again
//! drop: store free ──► does anybody sleep? wake one
//! ```

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

#[cfg(loom)]
use loom::cell::{MutPtr, UnsafeCell};
#[cfg(not(loom))]
use std::cell::UnsafeCell;

use crate::sync::{AtomicU32, Ordering, fence};

const FREE: u32 = 0;
const TAKEN: u32 = 1;

/// How often a taken lock is tried before its caller sleeps: some microseconds, many times what it is held for.
#[cfg(not(loom))]
const TRIES: usize = 256;

/// The longest sleep before the next try.
#[cfg(not(loom))]
const NAP: std::time::Duration = std::time::Duration::from_millis(1);

/// Something that one thread at a time may use, for a very short time.
pub(crate) struct SpinParkLock<T> {
    state: AtomicU32,
    #[cfg(not(loom))]
    sleepers: Sleepers,
    value: UnsafeCell<T>,
}

// A `&SpinParkLock<T>` leads to the value through a `SpinParkGuard` alone, of which there is one at a time: it is made after
// `state` has been exchanged from free to taken, which one thread succeeds in before the guard's drop stores free again.
// SAFETY: so sharing a lock hands the value from thread to thread, which `T: Send` allows. Acquire at the exchange and
// release at the store order the uses of one holder before those of the next.
unsafe impl<T: Send> Sync for SpinParkLock<T> {}

impl<T> SpinParkLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            state: AtomicU32::new(FREE),
            #[cfg(not(loom))]
            sleepers: Sleepers::default(),
            value: UnsafeCell::new(value),
        }
    }

    /// Takes the lock, whatever happened to an earlier holder.
    #[inline(always)]
    pub(crate) fn lock(&self) -> SpinParkGuard<'_, T> {
        if !self.try_to_take() {
            self.wait();
        }
        // What the holder writes for readers without the lock comes after what earlier holders wrote for them: the
        // exchange orders it for the next holder only.
        fence(Ordering::Release);
        SpinParkGuard {
            lock: self,
            _value: PhantomData,
            #[cfg(loom)]
            value: Some(self.value.get_mut()),
        }
    }

    #[inline(always)]
    fn try_to_take(&self) -> bool {
        self.state.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes the lock when others give it back.
    #[cfg(not(loom))]
    #[cold]
    fn wait(&self) {
        for _ in 0..TRIES {
            if self.state.load(Ordering::Relaxed) == FREE && self.try_to_take() {
                return;
            }
            std::hint::spin_loop();
        }
        self.sleepers.sleep_until(|| self.try_to_take());
    }

    /// Under the model checker, which has no time: others go first until the lock is free.
    #[cfg(loom)]
    fn wait(&self) {
        while !self.try_to_take() {
            loom::thread::yield_now();
        }
    }
}

/// The lock, taken; dropping it gives it back.
pub(crate) struct SpinParkGuard<'a, T> {
    lock: &'a SpinParkLock<T>,
    /// To share a guard is to share the value, which may want more of its type than to share the lock.
    _value: PhantomData<&'a mut T>,
    /// The checker sees with this that nobody else uses the value meanwhile.
    #[cfg(loom)]
    value: Option<MutPtr<T>>,
}

impl<T> Deref for SpinParkGuard<'_, T> {
    type Target = T;

    #[cfg(not(loom))]
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the lock is this guard's, so nobody else has a reference to the value, but those borrowed from this
        // guard, which follow the rules for references to the guard.
        unsafe { &*self.lock.value.get() }
    }

    #[cfg(loom)]
    fn deref(&self) -> &T {
        // SAFETY: as without the checker.
        unsafe { MutPtr::deref(self.value.as_ref().expect("there until the drop")) }
    }
}

impl<T> DerefMut for SpinParkGuard<'_, T> {
    #[cfg(not(loom))]
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed for writing, so no other reference is borrowed from it.
        unsafe { &mut *self.lock.value.get() }
    }

    #[cfg(loom)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as without the checker.
        unsafe { MutPtr::deref(self.value.as_ref().expect("there until the drop")) }
    }
}

impl<T> Drop for SpinParkGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        #[cfg(loom)]
        drop(self.value.take());
        self.lock.state.store(FREE, Ordering::Release);
        #[cfg(not(loom))]
        self.lock.sleepers.wake_one();
    }
}

/// Those who wait for longer than it is worth to keep trying.
#[cfg(not(loom))]
#[derive(Default)]
struct Sleepers {
    /// How many there are.
    count: AtomicU32,
    bed: std::sync::Mutex<()>,
    bell: std::sync::Condvar,
}

#[cfg(not(loom))]
impl Sleepers {
    fn sleep_until(&self, mut done: impl FnMut() -> bool) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut bed = crate::sync::lock_std(&self.bed);
        while !done() {
            let woken = self.bell.wait_timeout(bed, NAP);
            bed = woken.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    #[inline(always)]
    fn wake_one(&self) {
        if self.count.load(Ordering::Relaxed) != 0 {
            self.ring();
        }
    }

    #[cold]
    fn ring(&self) {
        // Whoever is about to sleep does so before the bell rings.
        drop(crate::sync::lock_std(&self.bed));
        self.bell.notify_one();
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn threads_take_turns() {
        let lock = SpinParkLock::new(0u64);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20_000).for_each(|_| *lock.lock() += 1));
            }
        });
        assert_eq!(*lock.lock(), 160_000);
        assert_eq!(lock.sleepers.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_waits_for_long_sleeps_and_is_woken() {
        let lock = SpinParkLock::new(Vec::new());
        std::thread::scope(|scope| {
            let mut held = lock.lock();
            let threads: Vec<_> = (0..3)
                .map(|i| {
                    scope.spawn({
                        let lock = &lock;
                        move || lock.lock().push(i)
                    })
                })
                .collect();
            let deadline = Instant::now() + Duration::from_secs(30);
            while lock.sleepers.count.load(Ordering::Relaxed) < 3 && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(lock.sleepers.count.load(Ordering::Relaxed), 3, "all sleep");
            held.push(9);
            drop(held);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        let mut order = lock.lock();
        assert_eq!(order[0], 9);
        order.sort_unstable();
        assert_eq!(*order, [0, 1, 2, 9]);
    }

    #[test]
    fn a_panic_gives_the_latch_back() {
        let lock = SpinParkLock::new(1);
        let panicked = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let mut value = lock.lock();
                *value = 2;
                panic!("on purpose");
            });
            thread.join().is_err()
        });
        assert!(panicked);
        assert_eq!(*lock.lock(), 2);
    }
}
