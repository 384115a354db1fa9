//! What there is of a device: how much is held of it, and where segments lie.

use std::collections::BTreeMap;

pub(super) struct Device {
    /// All of it; `None` for more than anything needs.
    pub(super) capacity: Option<u64>,
    /// What the process may have, where that was set.
    pub(super) allowed: Option<u64>,
    pub(super) reserved: u64,
    pub(super) peak: u64,
    segments: BTreeMap<u64, u64>,
}

impl Device {
    pub(super) fn new(capacity: Option<u64>, fraction: Option<f64>) -> Self {
        let allowed = capacity
            .zip(fraction.filter(|&fraction| fraction < 1.0))
            .map(|(capacity, fraction)| (capacity as f64 * fraction) as u64);
        Self { capacity, allowed, reserved: 0, peak: 0, segments: BTreeMap::new() }
    }

    /// What is left.
    pub(super) fn free(&self) -> u64 {
        let most = self.allowed.or(self.capacity).unwrap_or(u64::MAX);
        most.saturating_sub(self.reserved)
    }

    /// Whether the process may have so much more.
    pub(super) fn allows(&self, more: u64) -> bool {
        self.allowed.is_none_or(|allowed| self.reserved + more <= allowed)
    }

    /// Takes memory; false where there is too little.
    pub(super) fn take(&mut self, bytes: u64) -> bool {
        if self.capacity.is_some_and(|capacity| self.reserved + bytes > capacity) {
            return false;
        }
        self.reserved += bytes;
        self.peak = self.peak.max(self.reserved);
        true
    }

    pub(super) fn give_back(&mut self, bytes: u64) {
        self.reserved -= bytes;
    }

    /// A segment in the lowest gap that holds it.
    pub(super) fn new_segment(&mut self, size: u64) -> Option<u64> {
        if !self.take(size) {
            return None;
        }
        let ends = self.segments.iter().map(|(&at, &length)| at + length);
        let end = self.segments.last_key_value().map_or(0, |(&at, &length)| at + length);
        // Without a gap, which is nearly always, none is looked for.
        let filled: bool = end == self.reserved - size;
        let base = if filled {
            end
        } else {
            let begins = self.segments.keys().copied().chain([u64::MAX]);
            std::iter::once(0)
                .chain(ends)
                .zip(begins)
                .find(|(from, to)| to - from >= size)
                .map_or(end, |(from, _)| from)
        };
        self.segments.insert(base, size);
        Some(base)
    }

    pub(super) fn free_segment(&mut self, base: u64) {
        let size = self.segments.remove(&base).unwrap_or_default();
        self.give_back(size);
    }
}
