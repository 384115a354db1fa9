//! Which pools' user code the calling thread is in: recorders and reclaimers may call the pool that called them, but not
//! so that it would call them again.

use std::cell::RefCell;

#[cfg(not(loom))]
thread_local! {
    static POOLS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

// The model checker's threads are one thread of the system.
#[cfg(loom)]
loom::thread_local! {
    static POOLS: RefCell<Vec<usize>> = RefCell::new(Vec::new());
}

/// The thread is in a pool's user code until this is dropped, on unwinding too.
pub(super) struct Inside(());

impl Inside {
    /// `None` when the thread is in this pool's user code already.
    pub(super) fn enter<T>(pool: &T) -> Option<Self> {
        let pool = std::ptr::from_ref(pool) as usize;
        POOLS.with(|pools| {
            let mut pools = pools.borrow_mut();
            (!pools.contains(&pool)).then(|| {
                pools.push(pool);
                Self(())
            })
        })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        POOLS.with(|pools| pools.borrow_mut().pop());
    }
}
