//! Signals that end or stop the program: the screen is put back first, then the signal does what it does by default.
//!
//! A signal only raises a flag, which the screen's loop looks at many times a second. Whoever waits for the program sees that
//! the signal ended it (a shell: 128 and its number). A terminal that is gone, or takes nothing, may hang the loop: then a
//! thread of its own ends the program a moment later, and a second signal at once.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::{flag, low_level};

/// How often a thread looks whether a signal has come, and how long it leaves to the loop to put the terminal back.
const LOOK: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module's first lines.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Signals do what they do by default: there is no screen, or one of them has come.
    default: Arc<AtomicBool>,
    /// The one that came, or 0.
    ended: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    continued: Arc<AtomicBool>,
}

impl Signals {
    /// From now on, until [`release`](Self::release).
    ///
    /// # Errors
    /// What the system says of handlers.
    pub(crate) fn watch() -> io::Result<&'static Self> {
        // Handlers stay for as long as the process does; there is one set of them.
        static ALL: OnceLock<Signals> = OnceLock::new();
        if ALL.get().is_none() {
            let _ = ALL.set(Self::register()?);
            if let Some(all) = ALL.get() {
                std::thread::Builder::new().name("vramkit-signals".into()).spawn(|| all.end_when_hung())?;
            }
        }
        let all = ALL.get().ok_or_else(|| io::Error::other("no signals"))?;
        all.ended.store(0, SeqCst);
        all.stopped.store(false, SeqCst);
        all.continued.store(false, SeqCst);
        all.default.store(false, SeqCst);
        Ok(all)
    }

    fn register() -> io::Result<Self> {
        let all = Self::default();
        all.default.store(true, SeqCst);
        for signal in [SIGTERM, SIGHUP, SIGINT, SIGQUIT] {
            // In this order: what ends the program looks at the flag before this signal raises it.
            flag::register_conditional_default(signal, all.default.clone())?;
            flag::register_usize(signal, all.ended.clone(), signal as usize)?;
            flag::register(signal, all.default.clone())?;
        }
        flag::register_conditional_default(SIGTSTP, all.default.clone())?;
        flag::register(SIGTSTP, all.stopped.clone())?;
        flag::register(SIGCONT, all.continued.clone())?;
        Ok(all)
    }

    /// Ends the program by a signal that the loop has not ended it by.
    fn end_when_hung(&self) {
        loop {
            std::thread::sleep(LOOK);
            if let Some(signal) = self.ended() {
                std::thread::sleep(PATIENCE);
                let _ = self.end(signal);
            }
        }
    }

    /// From now on signals do what they do by default.
    pub(crate) fn release(&self) {
        self.default.store(true, SeqCst);
    }

    /// The signal that ends the program, once one has come.
    pub(crate) fn ended(&self) -> Option<i32> {
        i32::try_from(self.ended.load(SeqCst)).ok().filter(|signal| *signal != 0)
    }

    /// Whether the program is to stop for a while.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped.swap(false, SeqCst)
    }

    /// Whether it goes on after a stop: whoever had the terminal in between may have changed it.
    pub(crate) fn continued(&self) -> bool {
        self.continued.swap(false, SeqCst)
    }

    /// Does what the signal does by default, which ends the program.
    pub(crate) fn end(&self, signal: i32) -> io::Result<()> {
        low_level::emulate_default_handler(signal)
    }

    /// Stops until somebody lets the program go on. Where nobody could, because no shell has it as a job, it does not stop: the
    /// kernel sees to that, for a signal that has its default action.
    pub(crate) fn stop(&self) -> io::Result<()> {
        // SAFETY: all fields of the two are set by the calls or may be zero: a `sigaction` of zeros is the default action with no
        // flags and an empty mask.
        let (default, mut before): (libc::sigaction, libc::sigaction) = unsafe { std::mem::zeroed() };
        // SAFETY: both point to what lives for the call. The default action runs no code of this process.
        if unsafe { libc::sigaction(SIGTSTP, &default, &mut before) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // The program stops here, and goes on here.
        let raised = low_level::raise(SIGTSTP);
        // SAFETY: `before` is what the first call filled in.
        if unsafe { libc::sigaction(SIGTSTP, &before, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        self.continued.store(false, SeqCst);
        raised
    }

    /// Stops everything that the terminal has in front, as its own key does: the shell sees the whole job stop.
    pub(crate) fn stop_job(&self) {
        let _ = rustix::process::kill_current_process_group(rustix::process::Signal::TSTP);
    }
}
