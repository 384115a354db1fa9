//! Where the ticks that are shown come from.

use std::io;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use vramkit_watch::{Tick, Watcher};

/// See the module's first lines.
pub enum Feed {
    /// A watcher of this machine, asked at most so long after its last tick. Its processes can be ended from the screen.
    Live(Box<Watcher>, Duration),
    /// Whatever is asked for a tick after each interval, such as what other machines say. It may take its time.
    Asked(Box<dyn FnMut() -> Tick + Send>, Duration),
    /// A recording, shown a tick an interval.
    Recorded(Vec<Tick>, Duration),
}

/// Ticks as they come, made on a thread of their own: a driver that hangs must not hang the keys.
pub(crate) struct Ticks(Receiver<Tick>);

impl Ticks {
    pub(crate) fn of_watcher(mut watcher: Watcher, interval: Duration) -> io::Result<Self> {
        let start = Instant::now();
        Self::made(move || {
            let tick = watcher.tick(start.elapsed());
            let period = watcher.period(&tick, interval);
            (tick, period)
        })
    }

    pub(crate) fn asked(mut ask: Box<dyn FnMut() -> Tick + Send>, interval: Duration) -> io::Result<Self> {
        Self::made(move || (ask(), interval))
    }

    fn made(mut make: impl FnMut() -> (Tick, Duration) + Send + 'static) -> io::Result<Self> {
        let (sender, ticks) = sync_channel(1);
        std::thread::Builder::new().name("vramkit-watch".into()).spawn(move || {
            loop {
                let (tick, period) = make();
                if sender.send(tick).is_err() {
                    return;
                }
                std::thread::sleep(period);
            }
        })?;
        Ok(Self(ticks))
    }

    /// A tick, if one has come.
    pub(crate) fn next(&self) -> io::Result<Option<Tick>> {
        match self.0.try_recv() {
            Ok(tick) => Ok(Some(tick)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(io::Error::other("what makes readings has ended")),
        }
    }
}
