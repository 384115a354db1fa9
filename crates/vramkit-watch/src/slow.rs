//! Questions that may hang (files of a process that is stuck in a driver), asked on other threads, with one budget of time for all of a
//! reading.
//!
//! ```text
//! question ──► thread ──soon──► answered
//!                └──not soon──► late: left behind; what it answers before the next reading is kept for that
//! as many are left behind as may be ──► not asked
//! ```
//!
//! A thread that hangs cannot be ended: its question is not asked again before it has answered, and costs no more time. So a
//! machine full of stuck processes costs some threads, and those that are well are asked beside them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

/// How long all questions of a reading may take.
const BUDGET: Duration = Duration::from_millis(300);
/// One is waited for so small a part of what is left of it, which leaves some for those after it.
const PART: u32 = 8;
/// Of the budget goes what takes longer than this: files that are well cost their time and no patience.
const QUICK: Duration = Duration::from_millis(1);
/// Questions that are left behind at once.
const MOST: usize = 32;

/// What came of a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Slow<T> {
    Answered(T),
    Late,
    NotAsked,
}

impl<T> Slow<T> {
    /// Why there is no answer from `whom`.
    pub(crate) fn reason(&self, whom: &str) -> Option<String> {
        match self {
            Self::Answered(_) => None,
            Self::Late => Some(format!("{whom} has not answered")),
            Self::NotAsked => Some(format!("{whom} was not asked, since {MOST} others have not answered")),
        }
    }
}

type Question<T> = Box<dyn FnOnce() -> T + Send>;

#[derive(Debug)]
struct Thread<T> {
    questions: Sender<Question<T>>,
    answers: Receiver<T>,
}

/// See the module's first lines.
#[derive(Debug)]
pub(crate) struct Patience<K, T> {
    left: Duration,
    idle: Option<Thread<T>>,
    behind: HashMap<K, Thread<T>>,
    late: HashMap<K, T>,
}

impl<K, T> Default for Patience<K, T> {
    fn default() -> Self {
        Self { left: BUDGET, idle: None, behind: HashMap::new(), late: HashMap::new() }
    }
}

impl<K: Eq + Hash, T: Send + 'static> Patience<K, T> {
    /// A new reading begins.
    pub(crate) fn begin(&mut self) {
        self.left = BUDGET;
        self.late.clear();
        for (key, thread) in std::mem::take(&mut self.behind) {
            match thread.answers.try_recv() {
                Ok(answer) => {
                    self.late.insert(key, answer);
                    self.idle.get_or_insert(thread);
                }
                Err(TryRecvError::Empty) => drop(self.behind.insert(key, thread)),
                Err(TryRecvError::Disconnected) => {}
            }
        }
    }

    /// What was asked at the reading before, and answered after it.
    pub(crate) fn late(&mut self, key: &K) -> Option<T> {
        self.late.remove(key)
    }

    pub(crate) fn ask(&mut self, key: K, question: impl FnOnce() -> T + Send + 'static) -> Slow<T> {
        if self.behind.contains_key(&key) {
            return Slow::Late;
        }
        if self.behind.len() >= MOST {
            return Slow::NotAsked;
        }
        let Some(thread) = self.idle.take().or_else(|| start().ok()) else { return Slow::NotAsked };
        let asked = Instant::now();
        // A thread that has ended, because what it was asked panicked, answers at once that it has.
        let _ = thread.questions.send(Box::new(question));
        let answer = thread.answers.recv_timeout(self.left / PART);
        let took = asked.elapsed();
        if took > QUICK {
            self.left = self.left.saturating_sub(took);
        }
        match answer {
            Ok(answer) => {
                self.idle = Some(thread);
                Slow::Answered(answer)
            }
            Err(_) => {
                self.behind.insert(key, thread);
                Slow::Late
            }
        }
    }
}

fn start<T: Send + 'static>() -> std::io::Result<Thread<T>> {
    let (questions, asked) = mpsc::channel::<Question<T>>();
    let (answer, answers) = mpsc::channel();
    let run = move || {
        while let Ok(question) = asked.recv() {
            if answer.send(question()).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("vk-files".to_owned()).spawn(run)?;
    Ok(Thread { questions, answers })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks what answers once it is told to, or its teller is gone.
    fn hang(patience: &mut Patience<u32, u32>, key: u32) -> (Sender<()>, Slow<u32>) {
        let (open, gate) = mpsc::channel();
        let ask = move || {
            let _ = gate.recv();
            key
        };
        (open, patience.ask(key, ask))
    }

    #[test]
    fn those_that_hang_cost_a_budget_once_and_others_are_answered_beside_them() {
        let mut patience = Patience::default();
        assert_eq!(patience.ask(0, || 0), Slow::Answered(0));
        let start = Instant::now();
        let all: Vec<_> = (1..=MOST as u32).map(|key| hang(&mut patience, key)).collect();
        assert!(all.iter().all(|(_, came)| *came == Slow::Late));
        assert!(start.elapsed() < 4 * BUDGET, "{:?}", start.elapsed());
        assert_eq!(patience.ask(1000, || 1), Slow::NotAsked);
        let reason = patience.ask(1000, || 1).reason("it").unwrap();
        assert_eq!(reason, "it was not asked, since 32 others have not answered");
        // One answers after all, for the next reading.
        assert_eq!(patience.late(&5), None);
        drop(all.into_iter().nth(4));
        let late = (0..10_000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            patience.begin();
            patience.late(&5)
        });
        assert_eq!(late, Some(5));
    }

    #[test]
    fn half_of_those_that_may_hang_leave_time_for_one_that_is_well() {
        let mut patience = Patience::default();
        let all: Vec<_> = (1..=8).map(|key| hang(&mut patience, key)).collect();
        assert_eq!(patience.ask(9, || 9), Slow::Answered(9));
        patience.begin();
        let left = patience.left;
        assert_eq!(hang(&mut patience, 1).1, Slow::Late);
        assert_eq!(patience.left, left, "it is not waited for again");
        drop(all);
    }
}
