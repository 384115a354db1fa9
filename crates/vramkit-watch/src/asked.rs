//! A source on a thread of its own, asked with a deadline: one that hangs delays nobody.
//!
//! ```text
//! watcher: begin ──question──► thread: source.read() ──answer──► watcher: finish, or a later begin
//! ```
//!
//! The thread starts with the first question and ends, when idle, once the watcher is dropped. One that hangs in a driver
//! cannot be ended: it is left behind, and goes with the process. It is never started twice, and is asked again when it has
//! answered. What a source says of things that change seldom may hold for a while: until then it is not late.
//!
//! An answer that came between two ticks is as old as it is: it stands with a note of its age while its source is asked anew, and
//! not beyond. Where ticks are so far apart that there is time for it, the new answer is waited for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

use crate::source::{Health, Readings, Source, Unavailable};

/// A source that is slower than the watcher's patience is waited for so long at most, or for half of the time between ticks where
/// that is longer.
const SLOW: Duration = Duration::from_secs(3);
/// An answer that took longer, or came longer ago, says nothing of now: no source is waited for longer.
const OLD: Duration = Duration::from_secs(10);
/// An answer that came so short a time ago is of now.
const FRESH: Duration = Duration::from_secs(1);
/// After a panic, how long before it is asked again.
const REST: Duration = Duration::from_secs(10);

/// What came of a question.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// In time.
    Answered(Readings),
    /// Not in time. What it was asked before may have been answered meanwhile.
    Late {
        /// An earlier answer that came too late, and is not too old.
        earlier: Option<Readings>,
        /// How long ago it last answered, if ever.
        answered: Option<Duration>,
    },
}

struct Answer {
    readings: Readings,
    took: Duration,
    ended: Instant,
    panicked: bool,
}

/// An answer that came too late.
struct Slow {
    readings: Readings,
    took: Duration,
    ended: Duration,
    /// When the next was asked for: what came stands until that may be there.
    asked: Duration,
}

struct Thread {
    questions: Sender<()>,
    answers: Receiver<Answer>,
}

/// See the module's first lines.
pub(crate) struct Asked {
    name: String,
    idle: Option<Box<dyn Source>>,
    thread: Option<Thread>,
    /// Whether it has been asked what it has not answered.
    is_asked: bool,
    /// Whether that was at this tick.
    is_new: bool,
    took: Duration,
    /// When it last answered.
    answered: Option<Duration>,
    /// When it was last to be asked, and how long that was after the time before.
    last: Duration,
    gap: Duration,
    slow: Option<Slow>,
    /// For how long an answer holds, and the last that does: when it came, and what it was.
    holds: Duration,
    held: Option<(Duration, Readings)>,
    /// What is said without asking, and until when.
    resting: Option<(Duration, Readings)>,
}

impl Asked {
    pub(crate) fn new(source: Box<dyn Source>) -> Self {
        Self {
            name: source.name().to_owned(),
            holds: source.holds(),
            held: None,
            idle: Some(source),
            thread: None,
            is_asked: false,
            is_new: false,
            took: Duration::ZERO,
            answered: None,
            last: Duration::ZERO,
            gap: Duration::ZERO,
            slow: None,
            resting: None,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes what has come since, and asks, unless it is being asked.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.is_new = false;
        self.gap = now.saturating_sub(std::mem::replace(&mut self.last, now));
        if self.is_asked {
            let answer = self.thread.as_ref().map(|thread| thread.answers.try_recv());
            match answer {
                Some(Ok(answer)) => {
                    let (took, ended) = (answer.took, now.saturating_sub(answer.ended.elapsed()));
                    let readings = self.take(answer, now);
                    self.slow = (took <= OLD).then_some(Slow { readings, took, ended, asked: now });
                }
                Some(Err(TryRecvError::Empty)) => return,
                Some(Err(TryRecvError::Disconnected)) | None => self.end(),
            }
        }
        if self.resting.as_ref().is_some_and(|(until, _)| now < *until) {
            return;
        }
        self.resting = None;
        if let Err(reason) = self.ask() {
            self.resting = Some((now + REST, failing(&self.name, reason)));
        }
    }

    fn ask(&mut self) -> Result<(), String> {
        if let Some(source) = self.idle.take() {
            self.thread = Some(start(source)?);
        }
        let thread = self.thread.as_ref().ok_or("its thread has ended")?;
        if thread.questions.send(()).is_err() {
            self.end();
            return Err("its thread has ended".to_owned());
        }
        (self.is_asked, self.is_new) = (true, true);
        Ok(())
    }

    fn end(&mut self) {
        (self.thread, self.is_asked) = (None, false);
    }

    fn take(&mut self, answer: Answer, now: Duration) -> Readings {
        (self.is_asked, self.took) = (false, answer.took);
        self.answered = Some(now.saturating_sub(answer.ended.elapsed()));
        if answer.panicked {
            self.resting = Some((now + REST, answer.readings.clone()));
        }
        if !self.holds.is_zero() {
            self.held = Some((now, answer.readings.clone()));
        }
        answer.readings
    }

    /// Its answer, waited for until `patience` after `start`; a slow one, somewhat longer. One that was late at an earlier
    /// tick is not waited for.
    pub(crate) fn finish(&mut self, now: Duration, start: Instant, patience: Duration) -> Outcome {
        if !self.is_asked {
            let resting = self.resting.as_ref().map(|(_, readings)| readings.clone());
            return Outcome::Answered(resting.unwrap_or_default());
        }
        if self.is_new {
            let left = self.patience(patience).saturating_sub(start.elapsed());
            let answer = self.thread.as_ref().map(|thread| thread.answers.recv_timeout(left));
            match answer {
                Some(Ok(answer)) => {
                    self.slow = None;
                    return Outcome::Answered(self.take(answer, now));
                }
                Some(Err(RecvTimeoutError::Timeout)) => {}
                Some(Err(RecvTimeoutError::Disconnected)) | None => {
                    self.end();
                    return Outcome::Answered(failing(&self.name, "its thread has ended".to_owned()));
                }
            }
        }
        match self.held.as_ref().filter(|(when, _)| now.saturating_sub(*when) < self.holds) {
            Some((_, readings)) => Outcome::Answered(readings.clone()),
            None => Outcome::Late {
                earlier: self.of_before(now),
                answered: self.answered.map(|when| now.saturating_sub(when)),
            },
        }
    }

    /// How long it is waited for: twice as long as it took last, where so much time is there.
    fn patience(&self, least: Duration) -> Duration {
        let most = (self.gap / 2).clamp(SLOW, OLD);
        if self.took <= most { (2 * self.took).min(most).max(least) } else { least }
    }

    /// What a source that is always slow said last, until it may have said more: its cards are not away in between.
    fn of_before(&self, now: Duration) -> Option<Readings> {
        let Slow { readings, took, ended, asked } = self.slow.as_ref()?;
        let age = now.saturating_sub(*ended);
        if age > OLD || now.saturating_sub(*asked) > 2 * *took {
            return None;
        }
        let mut readings = readings.clone();
        if age >= FRESH {
            let age = age.as_secs_f64();
            let note = format!("numbers of {age:.0} s ago: `{}` takes long to answer", self.name);
            readings.devices.iter_mut().for_each(|device| device.notes.push(note.clone()));
        }
        Some(readings)
    }
}

fn failing(name: &str, reason: String) -> Readings {
    let unavailable = vec![Unavailable { source: name.to_owned(), reason }];
    Readings { health: Health::Failing, unavailable, ..Readings::default() }
}

fn start(mut source: Box<dyn Source>) -> Result<Thread, String> {
    let (questions, asked) = mpsc::channel();
    let (answer, answers) = mpsc::channel();
    // The kernel keeps fifteen letters of it.
    let name = format!("vk-{}", source.name());
    let read = move || {
        while asked.recv().is_ok() {
            let start = Instant::now();
            // A source that panicked is asked again later: what it has is its own, and nobody else looks at it.
            let read = catch_unwind(AssertUnwindSafe(|| source.read()));
            let panicked = read.is_err();
            let readings = read.unwrap_or_else(|panic| {
                let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
                failing(source.name(), format!("it panicked: {}", words.unwrap_or_default()))
            });
            let ended = Instant::now();
            if answer.send(Answer { readings, took: ended - start, ended, panicked }).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name(name).spawn(read);
    thread.map_err(|error| format!("no thread for it: {error}"))?;
    Ok(Thread { questions, answers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::source_fn;

    /// A source that answers as often as it is let.
    fn gated() -> (Sender<bool>, Asked) {
        let (open, gate) = mpsc::channel();
        let mut answers = 0;
        let read = move || {
            assert!(gate.recv().unwrap_or(true), "as told");
            answers += 1;
            failing("n", answers.to_string())
        };
        (open, Asked::new(Box::new(source_fn("gated", read))))
    }

    fn ask(asked: &mut Asked, second: u64, patience: Duration) -> Outcome {
        asked.begin(Duration::from_secs(second));
        asked.finish(Duration::from_secs(second), Instant::now(), patience)
    }

    const LONG: Duration = Duration::from_secs(60);
    const NONE: Duration = Duration::ZERO;

    fn words(outcome: &Outcome) -> &str {
        match outcome {
            Outcome::Answered(readings) | Outcome::Late { earlier: Some(readings), .. } => {
                &readings.unavailable[0].reason
            }
            Outcome::Late { .. } => "late",
        }
    }

    #[test]
    fn a_late_source_is_not_waited_for_again_nor_asked_twice() {
        let (open, mut asked) = gated();
        assert_eq!(words(&ask(&mut asked, 0, Duration::from_millis(20))), "late");
        let start = Instant::now();
        assert_eq!(words(&ask(&mut asked, 1, LONG)), "late", "it does not wait");
        assert!(start.elapsed() < LONG);
        // The answer to the first question is not the one to the second.
        open.send(true).unwrap();
        while asked.slow.is_none() {
            asked.begin(Duration::from_secs(2));
        }
        let late = asked.finish(Duration::from_secs(2), Instant::now(), NONE);
        assert!(matches!(late, Outcome::Late { earlier: Some(_), .. }) && words(&late) == "1", "{late:?}");
        // One that takes long each time stands by what it said until the next may be there.
        asked.slow.as_mut().unwrap().took = Duration::from_secs(3);
        assert_eq!(words(&ask(&mut asked, 8, NONE)), "1");
        assert_eq!(words(&ask(&mut asked, 9, NONE)), "late");
        drop(open);
    }

    /// An answer that took so many seconds and came so many before the second tick, at which the next one is late.
    fn came_between(took: u64, ago: u64, gap: u64) -> (Asked, Outcome) {
        let (open, mut asked) = gated();
        ask(&mut asked, 0, NONE);
        let (answer, answers) = mpsc::channel();
        asked.thread.as_mut().unwrap().answers = answers;
        let mut readings = failing("n", "1".to_owned());
        readings.devices.push(crate::watcher::tests::device("cuda:0", 1));
        let (took, ended) = (Duration::from_secs(took), Instant::now() - Duration::from_secs(ago));
        answer.send(Answer { readings, took, ended, panicked: false }).unwrap();
        let now = Duration::from_secs(gap);
        asked.begin(now);
        // So long ago that nobody waits any more.
        let outcome = asked.finish(now, Instant::now() - 2 * OLD, NONE);
        drop(open);
        (asked, outcome)
    }

    #[test]
    fn an_answer_that_came_between_two_ticks_is_as_old_as_it_is() {
        let note = |outcome: &Outcome| match outcome {
            Outcome::Late { earlier: Some(readings), .. } => readings.devices[0].notes.first().cloned(),
            _ => None,
        };
        let (asked, late) = came_between(4, 6, 10);
        assert_eq!(note(&late).unwrap(), "numbers of 6 s ago: `gated` takes long to answer");
        assert!(matches!(late, Outcome::Late { answered: Some(ago), .. } if ago.as_secs() == 6), "{late:?}");
        assert_eq!(
            asked.patience(FRESH),
            2 * asked.took.min(Duration::from_millis(2500)),
            "as long as there is time"
        );
        let (_, late) = came_between(4, 0, 4);
        assert!(words(&late) == "1" && note(&late).is_none(), "of now: {late:?}");
        for (took, ago) in [(4, 11), (11, 0)] {
            let (asked, late) = came_between(took, ago, 15);
            assert_eq!(words(&late), "late", "took {took} s, {ago} s ago");
            let most = Duration::from_millis(7500);
            assert_eq!(asked.patience(FRESH), if took == 4 { most } else { FRESH });
        }
        assert_eq!(came_between(4, 0, 4).0.patience(FRESH), FRESH, "no time to wait for it");
    }

    #[test]
    fn an_answer_that_holds_stands_until_it_is_old() {
        let (open, mut asked) = gated();
        asked.holds = Duration::from_secs(30);
        open.send(true).unwrap();
        assert_eq!(words(&ask(&mut asked, 0, LONG)), "1");
        let held = ask(&mut asked, 1, Duration::from_millis(20));
        assert!(matches!(held, Outcome::Answered(_)) && words(&held) == "1", "{held:?}");
        assert_eq!(words(&ask(&mut asked, 29, NONE)), "1");
        assert_eq!(words(&ask(&mut asked, 31, NONE)), "late");
        drop(open);
    }

    #[test]
    fn a_source_that_panics_fails_rests_and_is_asked_again() {
        let (open, mut asked) = gated();
        [false, true].into_iter().for_each(|is_well| open.send(is_well).unwrap());
        let outcome = ask(&mut asked, 0, LONG);
        assert!(words(&outcome).contains("it panicked: as told"), "{outcome:?}");
        assert!(words(&ask(&mut asked, 5, LONG)).contains("it panicked"), "it rests");
        assert_eq!(words(&ask(&mut asked, 11, LONG)), "1");
    }
}
