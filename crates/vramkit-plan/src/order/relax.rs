//! Bounds and orders from nets without groups, which often end as one chain.
//!
//! Where a value that several jobs may free is freed by a given one of them, no matter whether others still want it, no less
//! is live in truth than there: the peak of such a net is a bound. The order is possible all the same.

use super::effort::Effort;
use super::net::{Bytes, Net};

/// What a net without groups says.
pub(super) struct Relaxed {
    /// No order has a lower peak.
    pub(super) bound: Bytes,
    /// An order of the net itself.
    pub(super) order: Vec<usize>,
}

impl Net {
    /// The same jobs, each known by its number in this net.
    pub(super) fn numbered(&self) -> Self {
        let mut net = self.clone();
        net.jobs.iter_mut().enumerate().for_each(|(at, job)| job.steps = vec![at]);
        net
    }

    /// With each group's value freed by the member that is last in an order; never, where there is none.
    pub(super) fn relaxed(&self, last: Option<&[usize]>, effort: &mut Effort<'_>) -> Relaxed {
        let mut net = self.numbered();
        net.groups.clear();
        net.jobs.iter_mut().for_each(|job| job.groups.clear());
        if let Some(order) = last {
            let mut place = vec![0; order.len()];
            order.iter().enumerate().for_each(|(at, &job)| place[job] = at);
            for group in &self.groups {
                let member = group.members.iter().copied().max_by_key(|&job| place[job]);
                member.into_iter().for_each(|job| net.jobs[job].delta -= group.size);
            }
        }
        let net = net.reduced(effort);
        let order = net.sorted();
        let mut bound = net.base;
        let loads = net.loads(&order);
        for range in net.ranges().into_iter().filter(|range| range.len() == 1 && last.is_some()) {
            // A job that all others come before or after has as much live during it in every order.
            bound = bound.max(loads[range.start].0);
        }
        Relaxed { bound, order: net.steps(&order) }
    }
}
