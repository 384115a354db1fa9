//! Better orders near one that is known: stretches of it, each searched anew while all before and after stays.

use super::decide::Verdict;
use super::effort::Effort;
use super::net::{Bytes, Net};

/// Jobs on each side of the first one during which too much is live.
const SIDES: [usize; 5] = [4, 12, 36, 108, 324];

/// Units that a beam of width one takes for a job, about.
const JOB: u64 = 80;

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
            if !effort.spend(4 * order.len() as u64) {
                return None;
            }
            let loads = self.loads(&order);
            let Some(at) = loads.iter().position(|&(during, _)| during > most) else { return Some(order) };
            let mended = SIDES.iter().find_map(|&side| {
                let range = at.saturating_sub(side)..order.len().min(at + side + 1);
                if !effort.spend(order.len() as u64 / 4) {
                    return None;
                }
                let mut is_done = vec![false; order.len()];
                order[..range.start].iter().for_each(|&job| is_done[job] = true);
                let mut jobs = order[range.clone()].to_vec();
                jobs.sort_unstable();
                let part = self.part(&jobs, loads[range.start].1, |job| is_done[job]);
                let found = effort.within(units, |effort| part.found(most, effort))?;
                Some((range, found.into_iter().map(|job| jobs[job]).collect::<Vec<_>>()))
            });
            let (range, found) = mended?;
            order.splice(range, found);
        }
    }

    /// An order with at most so much live, by short searches from both ends.
    fn found(&self, most: Bytes, effort: &mut Effort<'_>) -> Option<Vec<usize>> {
        let backwards = |mut order: Vec<usize>| {
            order.reverse();
            order
        };
        let each = effort.left() / 4;
        let reversed = self.reversed();
        let width = (each / (JOB * self.jobs.len() as u64 + 1)).clamp(2, 4096) as usize;
        match effort.within(each, |effort| self.decide(most, effort)) {
            Verdict::Order(order) => return Some(order),
            Verdict::None(_) => return None,
            Verdict::Open => {}
        }
        match effort.within(each, |effort| reversed.decide(most, effort)) {
            Verdict::Order(order) => return Some(backwards(order)),
            Verdict::None(_) => return None,
            Verdict::Open => {}
        }
        let found = effort.within(each, |effort| self.beam(most, width, 0, effort));
        found
            .or_else(|| Some(backwards(effort.within(each, |effort| reversed.beam(most, width, 0, effort))?)))
    }
}
