//! Better orders near one that is known: stretches of it, each searched anew while all before and after stays.

use super::decide::Verdict;
use super::effort::Effort;
use super::net::{Bytes, Net};

/// Jobs on each side of the first one during which too much is live.
const SIDES: [usize; 5] = [3, 6, 12, 24, 48];

impl Net {
    /// An order with at most so much live, from one that has more; `None` where no stretch gives it. A stretch may be searched
    /// for so many units.
    pub(super) fn mended(
        &self,
        order: &[usize],
        most: Bytes,
        units: u64,
        effort: &mut Effort<'_>,
    ) -> Option<Vec<usize>> {
        let mut order = order.to_vec();
        loop {
            let loads = self.loads(&order);
            let Some(at) = loads.iter().position(|&(during, _)| during > most) else { return Some(order) };
            let mended = SIDES.iter().find_map(|side| {
                let range = at.saturating_sub(*side)..order.len().min(at + side + 1);
                if !effort.spend(order.len() as u64) {
                    return None;
                }
                let mut jobs = order[range.clone()].to_vec();
                jobs.sort_unstable();
                let mut done = vec![false; order.len()];
                order[..range.start].iter().for_each(|&job| done[job] = true);
                let part = self.part(&jobs, loads[range.start].1, |job| done[job]);
                match part.decide(most, &mut effort.of(units)) {
                    Verdict::Order(found) => {
                        Some((range, found.iter().map(|&job| jobs[job]).collect::<Vec<_>>()))
                    }
                    _ => None,
                }
            });
            let (range, found) = mended?;
            order.splice(range, found);
        }
    }
}
