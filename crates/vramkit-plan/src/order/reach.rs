//! Which jobs of a net come after which, over any number of edges.

use super::net::Net;

/// Most words of a table: 64 MiB. Nets beyond it are not looked at.
const WORDS: usize = 8 << 20;

/// For each job the set of jobs after it.
pub(super) struct Reach {
    words: usize,
    sets: Vec<u64>,
}

impl Reach {
    /// `None` where the table would be too large. The jobs are numbered in an order that is possible.
    pub(super) fn new(net: &Net) -> Option<Self> {
        let n = net.jobs.len();
        let words = n.div_ceil(64);
        if words.saturating_mul(n) > WORDS {
            return None;
        }
        let mut reach = Self { words, sets: vec![0; words * n] };
        for (at, job) in net.jobs.iter().enumerate().rev() {
            let (own, later) = reach.sets.split_at_mut((at + 1) * words);
            let own = &mut own[at * words..];
            for &next in &job.after {
                own[next / 64] |= 1 << (next % 64);
                let of = (next - at - 1) * words;
                own.iter_mut().zip(&later[of..of + words]).for_each(|(word, more)| *word |= more);
            }
        }
        Some(reach)
    }

    fn row(&self, job: usize) -> &[u64] {
        &self.sets[job * self.words..(job + 1) * self.words]
    }

    /// Those of some jobs that come after none of them.
    fn firsts(&self, jobs: &[usize]) -> Vec<usize> {
        let mut later = vec![0u64; self.words];
        for &job in jobs {
            later.iter_mut().zip(self.row(job)).for_each(|(word, more)| *word |= more);
        }
        jobs.iter().copied().filter(|job| later[job / 64] >> (job % 64) & 1 == 0).collect()
    }

    /// Those of some jobs that none of them comes after.
    fn lasts(&self, jobs: &[usize]) -> Vec<usize> {
        let mut all = vec![0u64; self.words];
        jobs.iter().for_each(|&job| all[job / 64] |= 1 << (job % 64));
        let is_last = |job: &usize| !self.row(*job).iter().zip(&all).any(|(row, all)| row & all != 0);
        jobs.iter().copied().filter(is_last).collect()
    }

    /// Drops edges that follow from others, and members of groups that are never the last.
    pub(super) fn thin(&self, net: &mut Net) {
        for job in &mut net.jobs {
            if job.after.len() > 1 {
                job.after = self.firsts(&job.after);
            }
            job.before.clear();
            job.groups.clear();
        }
        for job in 0..net.jobs.len() {
            for at in 0..net.jobs[job].after.len() {
                let next = net.jobs[job].after[at];
                net.jobs[next].before.push(job);
            }
        }
        for group in std::mem::take(&mut net.groups) {
            net.close(group.size, self.lasts(&group.members), false);
        }
    }
}
