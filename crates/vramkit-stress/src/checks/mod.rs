//! The checks. Each is one function over a [`Subject`], run as it is and with its fault put in.

mod cycles;
mod failures;
mod finding;
mod full;
mod growth;
mod limits;
mod neighbour;
mod tenants;
mod together;

use crate::question::StressError;
use crate::subject::Subject;
pub(crate) use finding::{Finding, Tried};

/// A check.
pub(crate) struct Definition {
    pub name: &'static str,
    pub unit: &'static str,
    /// The fault that it must find.
    pub fault: &'static str,
    pub run: fn(&Subject, Tried) -> Result<Finding, StressError>,
}

/// The checks of every model, in the order in which they run.
pub(crate) const BATTERY: &[Definition] = &[
    Definition {
        name: "context_limit",
        unit: "tokens",
        fault: "the engine takes eight tokens more than the context",
        run: limits::context,
    },
    Definition {
        name: "prompt_overflow",
        unit: "tokens taken",
        fault: "the engine's context is longer than it was asked for",
        run: limits::prompt,
    },
    Definition {
        name: "memory_limit",
        unit: "bytes committed",
        fault: "the pool grants a unit more than its limit",
        run: limits::memory,
    },
    Definition {
        name: "linear_growth",
        unit: "bytes a token",
        fault: "with every block of keys and values another one is left behind",
        run: growth::linear,
    },
    Definition {
        name: "load_cycles",
        unit: "bytes a cycle",
        fault: "a block of keys and values is left behind in each cycle",
        run: cycles::cycles,
    },
    Definition {
        name: "sequences_together",
        unit: "tokens that differ",
        fault: "a sequence gets a token that it does not say alone",
        run: together::together,
    },
    Definition {
        name: "fill_and_recover",
        unit: "% filled",
        fault: "what filled the pool is not given back",
        run: full::full,
    },
    Definition {
        name: "failing_allocations",
        unit: "bytes left behind",
        fault: "a block stays granted whatever fails",
        run: failures::failures,
    },
    Definition {
        name: "evict_and_reload",
        unit: "turns with another text",
        fault: "the pool has room for both models, so that nothing is evicted",
        run: tenants::tenants,
    },
];

/// One more, where there is a program to be the neighbour.
pub(crate) const NEIGHBOUR: Definition = Definition {
    name: neighbour::NAME,
    unit: "bytes beside it",
    fault: "the neighbour takes nothing",
    run: neighbour::neighbour,
};
