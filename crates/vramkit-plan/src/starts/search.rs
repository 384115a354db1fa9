//! How starts are looked for: what a caller says of it.

use crate::order::OrderBudget;
use vramkit_units::ByteSize;

/// How starts are looked for.
#[derive(Clone, Copy)]
pub struct StartsSearch<'a> {
    /// Where random choices start.
    pub seed: u64,
    /// How many threads may work, four at most; the answer does not depend on it where there is time enough.
    pub threads: usize,
    /// How long.
    pub budget: OrderBudget<'a>,
    /// The most that there may be: where no starts have so little, the first ones will do.
    pub capacity: Option<ByteSize>,
}
