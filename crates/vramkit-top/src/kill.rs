//! Ending a process that holds memory: found when it is asked about, ended when somebody says yes.
//!
//! A number is given to another process once its own has ended. A handle of the process (a pidfd) is opened when the question
//! is asked, what the question says is read of the process behind it, and the signal goes to that process or to none.

use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use vramkit::monitor::text::{NAME, clean};

use crate::text::cut;

/// A process that is to end, as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Victim {
    pub(crate) pid: u32,
    /// What its program is called, where that was known.
    pub(crate) program: Option<String>,
    /// Its command line, as it was read: reading it anew may hang where the process does, and with it the screen.
    pub(crate) command: Option<String>,
    pub(crate) user: Option<String>,
    /// When it was seen to hold memory.
    pub(crate) read: SystemTime,
}

/// How it is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Asked to: it may tidy up.
    Terminate,
    /// At once.
    Kill,
}

impl End {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Kill => "SIGKILL",
        }
    }
}

/// Why a process is not ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndError {
    #[error(
        "process {pid} cannot be ended from here: it has ended, or runs where this program does not see it"
    )]
    Gone { pid: u32 },
    #[error("{pid} is another process now: the one that was read has ended")]
    Another { pid: u32 },
    #[error(
        "processes cannot be ended from inside a container: the driver numbers them as the machine outside does"
    )]
    Inside,
    #[error(
        "process {INIT} is init, by which the machine runs: it is not ended from here (shut the machine down instead)"
    )]
    Init,
    #[error("cannot send {signal} to {pid}: {error}")]
    Refused { signal: &'static str, pid: u32, error: io::Error },
    #[error("cannot look at process {pid}: {error}")]
    Unreadable { pid: u32, error: io::Error },
}

/// A process that was found.
#[derive(Debug)]
pub(crate) struct Target {
    handle: OwnedFd,
    pid: u32,
    /// In words, what matters most first: `1234 of ann: python3 train.py`.
    pub(crate) words: String,
}

/// Bytes of a process's own words that are read, and columns of them that are shown.
const WORDS: u64 = 4096;
const SHOWN: usize = 60;
const USER: usize = 24;
/// The process that starts and adopts all others: without it there is no machine.
const INIT: u32 = 1;
/// The kernel's clock of starts is as coarse as this, and more.
const COARSE: Duration = Duration::from_millis(100);

impl Target {
    /// Finds the process that was read, if it still is the one.
    pub(crate) fn find(victim: &Victim) -> Result<Self, EndError> {
        if victim.pid == INIT {
            return Err(EndError::Init);
        }
        if !is_outermost() {
            return Err(EndError::Inside);
        }
        Self::find_here(victim)
    }

    fn find_here(victim: &Victim) -> Result<Self, EndError> {
        let pid = victim.pid;
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(EndError::Gone { pid })?;
        let handle = pidfd_open(number, PidfdFlags::empty()).map_err(|error| match error {
            rustix::io::Errno::SRCH => EndError::Gone { pid },
            error => EndError::Unreadable { pid, error: error.into() },
        })?;
        // Read after the handle was opened: whatever has this number now, the handle is of it, or the number was given away in
        // between, and then the handle's own process has ended and gets no signal.
        let name = read(pid, "comm").ok_or(EndError::Gone { pid })?;
        let name = clean(name.trim(), NAME).into_owned();
        let is_same = victim.program.as_ref().is_none_or(|program| *program == name);
        if !is_same || started(pid).is_some_and(|started| started > victim.read + COARSE) {
            return Err(EndError::Another { pid });
        }
        let command = victim.command.clone().filter(|command| !command.trim().is_empty()).unwrap_or(name);
        let owner =
            || fs::metadata(format!("/proc/{pid}")).ok().map(|folder| format!("user {}", folder.uid()));
        let user = victim.user.clone().or_else(owner).unwrap_or_else(|| "an unknown user".into());
        let words = format!("{pid} of {}: {}", cut(&user, USER), cut(command.trim(), SHOWN));
        Ok(Self { handle, pid, words })
    }

    /// Sends the signal.
    pub(crate) fn end(&self, end: End) -> Result<(), EndError> {
        let signal = match end {
            End::Terminate => Signal::TERM,
            End::Kill => Signal::KILL,
        };
        pidfd_send_signal(&self.handle, signal).map_err(|error| match error {
            rustix::io::Errno::SRCH => EndError::Gone { pid: self.pid },
            error => EndError::Refused { signal: end.name(), pid: self.pid, error: error.into() },
        })
    }
}

/// Whether this program numbers processes as the machine does. The first PID namespace has a fixed number in the kernel.
fn is_outermost() -> bool {
    const FIRST: &str = "pid:[4026531836]";
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == FIRST)
}

fn read(pid: u32, name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(format!("/proc/{pid}/{name}")).ok()?.take(WORDS).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// When it started: the 22nd field of its `stat`, in the kernel's ticks since the machine did, counted after the name, which may
/// contain anything.
fn started(pid: u32) -> Option<SystemTime> {
    let stat = read(pid, "stat")?;
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let after = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    let uptime: f64 = fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()?;
    let ago = Duration::try_from_secs_f64((uptime - after).max(0.0)).ok()?;
    SystemTime::now().checked_sub(ago)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> Child {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        // It has these words once it has become that program.
        while read(child.id(), "cmdline").is_none_or(|words| words != "sleep\0".to_owned() + "60\0") {
            std::thread::sleep(Duration::from_millis(5));
        }
        child
    }

    fn victim(pid: u32) -> Victim {
        let read = SystemTime::now() + Duration::from_secs(1);
        let command = Some("sleep 60, as it was read".into());
        Victim { pid, program: Some("sleep".into()), command, user: Some("ann".into()), read }
    }

    #[test]
    fn a_process_that_was_read_is_asked_about_and_ended() {
        for (end, signal) in [(End::Terminate, 15), (End::Kill, 9)] {
            let mut child = sleeper();
            let target = Target::find_here(&victim(child.id())).unwrap();
            assert_eq!(target.words, format!("{} of ann: sleep 60, as it was read", child.id()));
            target.end(end).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(signal));
            assert!(matches!(target.end(end), Err(EndError::Gone { .. })));
        }
    }

    #[test]
    fn init_is_not_ended() {
        let refused = Target::find(&Victim { program: None, ..victim(1) });
        assert!(matches!(refused, Err(EndError::Init)), "{refused:?}");
    }

    #[test]
    fn another_process_of_the_same_number_is_left_alone() {
        let mut child = sleeper();
        let renamed = Victim { program: Some("python3".into()), ..victim(child.id()) };
        assert!(matches!(Target::find_here(&renamed), Err(EndError::Another { .. })));
        // It started after the reading.
        let later = Victim { read: SystemTime::now() - Duration::from_secs(3600), ..victim(child.id()) };
        assert!(matches!(Target::find_here(&later), Err(EndError::Another { .. })));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(Target::find_here(&victim(child.id())), Err(EndError::Gone { .. })));
        for pid in [0, u32::MAX] {
            assert!(matches!(Target::find_here(&victim(pid)), Err(EndError::Gone { .. })));
        }
    }
}
