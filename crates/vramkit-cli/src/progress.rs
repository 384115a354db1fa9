//! A bar for what takes over a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vramkit::ByteSize;
use vramkit_ask::Listener;

/// Shown from the second second on; gone when dropped. A spinner until it is known how much there is to do.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    message: &'static str,
    interrupted: Option<Arc<AtomicBool>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Of something called so, which a flag may end.
    pub fn new(message: &'static str, is_shown: bool, interrupted: Option<Arc<AtomicBool>>) -> Arc<Self> {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(message);
        let (mut stop, mut thread) = (None, None);
        if is_shown {
            let (sender, stopped) = channel();
            let shown = bar.clone();
            stop = Some(sender);
            thread = Some(std::thread::spawn(move || {
                if stopped.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                    shown.set_draw_target(ProgressDrawTarget::stderr());
                    shown.enable_steady_tick(Duration::from_millis(100));
                }
            }));
        }
        Arc::new(Self { bar, message, interrupted, stop, thread })
    }
}

impl Listener for Progress {
    fn begun(&self, units: u64) {
        // What was read was counted in bytes.
        self.bar.reset();
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta} left") {
            self.bar.set_style(style);
        }
        self.bar.set_length(units);
    }

    fn advanced(&self, units: u64) {
        self.bar.inc(units);
    }

    fn read(&self, bytes: u64, of: Option<u64>) {
        let Some(of) = of else { return };
        if self.bar.length() != Some(of) {
            self.bar.reset();
            let style = "reading {wide_bar} {binary_bytes}/{binary_total_bytes} {eta} left";
            if let Ok(style) = ProgressStyle::with_template(style) {
                self.bar.set_style(style);
            }
            self.bar.set_length(of);
        }
        self.bar.inc(bytes);
    }

    fn planning(&self, bound: ByteSize, arena: ByteSize) {
        self.bar.set_message(format!("{}: {arena} so far, {bound} at least", self.message));
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}
