//! How much a search does before it gives up: counted, so that it is the same every time, and within a budget of time.

use super::budget::OrderBudget;

/// Between two looks at the clock; a unit is some nanoseconds.
const UNITS: u64 = 20_000;

/// Work that may still be done.
pub(super) struct Effort<'a> {
    budget: &'a OrderBudget<'a>,
    left: u64,
    unchecked: u64,
    is_over: bool,
}

impl<'a> Effort<'a> {
    pub(super) fn new(units: u64, budget: &'a OrderBudget<'a>) -> Self {
        Self { budget, left: units, unchecked: UNITS, is_over: false }
    }

    /// Part of what the budget leaves time for.
    pub(super) fn of(&self, units: u64) -> Self {
        Self { is_over: self.is_over, ..Self::new(units, self.budget) }
    }

    /// Does so much; `false` when that is too much, or time is up.
    pub(super) fn spend(&mut self, units: u64) -> bool {
        self.left = self.left.saturating_sub(units);
        self.unchecked = self.unchecked.saturating_add(units);
        if self.unchecked >= UNITS {
            self.unchecked = 0;
            self.is_over |= self.budget.is_over();
        }
        self.left > 0 && !self.is_over
    }

    /// Something that may take so much; what it takes is spent here.
    pub(super) fn within<T>(&mut self, units: u64, work: impl FnOnce(&mut Self) -> T) -> T {
        let most = units.min(self.left);
        let mut own = self.of(most);
        let result = work(&mut own);
        let spent = most - own.left;
        self.spend(spent);
        result
    }

    /// Units that are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Whether time is up.
    pub(super) fn is_out_of_time(&mut self) -> bool {
        self.is_over |= self.budget.is_over();
        self.is_over
    }
}
