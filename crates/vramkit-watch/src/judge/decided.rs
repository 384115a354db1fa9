//! Which of a pool's published decisions are new, and worth a line among the events. The document is another process's: a
//! pool gets a few lines a tick, whatever it says.

use vramkit::monitor::PoolUse;

/// Most lines of a pool in a tick.
const MOST: usize = 8;
/// What happens all the time, or is said by another decision.
const USUAL: [&str; 6] = ["plan_generated", "bound", "loaded", "released", "trimmed", "policy_applied"];

/// How far a pool's decisions have been told.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// The next number that is news.
    next: u64,
}

impl Decided {
    /// What is new, in words. What was decided before anybody looked (`first`) is not news.
    pub(super) fn news(&mut self, pool: &PoolUse, first: bool) -> Vec<String> {
        let Some(last) = pool.decisions.iter().map(|decision| decision.sequence).max() else {
            return Vec::new();
        };
        let known = self.next;
        self.next = last.saturating_add(1);
        if first {
            return Vec::new();
        }
        // Numbers that begin again are of another orchestrator.
        let known = if self.next < known { 0 } else { known };
        let is_news = |kind: &str| !USUAL.contains(&kind);
        let new =
            pool.decisions.iter().filter(|decision| decision.sequence >= known && is_news(&decision.kind));
        let mut lines: Vec<String> = new
            .map(|decision| {
                let kind = decision.kind.replace('_', " ");
                let (name, pid) = (&pool.name, pool.pid);
                let dry = if decision.done { "" } else { " (dry run)" };
                format!("{kind}{dry}: {}, in pool {name} of process {pid}", decision.text)
            })
            .collect();
        let over = lines.len().saturating_sub(MOST);
        if over > 0 {
            lines.drain(..over);
            lines.insert(0, format!("{over} more decisions in pool {} of process {}", pool.name, pool.pid));
        }
        lines
    }
}

/// One that was done, for tests.
#[cfg(test)]
pub(crate) fn decision(sequence: u64, kind: &str) -> vramkit::monitor::Decision {
    vramkit::monitor::Decision {
        sequence,
        time: "2026-01-01T00:00:00.000Z".into(),
        kind: kind.into(),
        model: Some("llama".into()),
        numbers: Default::default(),
        text: "llama freed 2 MiB".into(),
        done: true,
    }
}
