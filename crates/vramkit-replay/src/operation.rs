//! One step of a trace, and what may lie between two of them.

/// One step of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Memory is asked for.
    Allocate {
        /// Which allocation of the trace this is, from 0 in order.
        number: u32,
        /// Bytes asked for, at least 1.
        size: u64,
    },
    /// Memory is given back.
    Free {
        /// Which allocation.
        number: u32,
    },
    /// Memory is asked for that the recorded program did not get. What is granted here is given back at once: nobody knows how
    /// long it would have been needed.
    Attempt {
        /// Which allocation.
        number: u32,
        /// Bytes asked for, at least 1.
        size: u64,
    },
}

/// What happens between two operations, and matters to caches alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The program has given this allocation back, but another stream still works on it: it is freed later.
    Pending {
        /// Which allocation.
        number: u32,
    },
    /// The program has everything that idles given back to the device (`torch.cuda.empty_cache`, a pool's `trim`).
    Trim,
    /// A private pool of PyTorch's is no longer needed, and what idles in it goes back.
    EndPool {
        /// Which.
        pool: u32,
    },
}
