//! What the libraries have to say beside the answer: on standard error, a line each, warnings and errors unless
//! `VRAMKIT_LOG` (or `RUST_LOG`) names another level, such as `info`, `off` or `vramkit_serve=debug`.
//!
//! While a screen is shown it is held back, and said when the screen is gone. Times are said where nobody else does: neither
//! on a terminal nor in a journal.

use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// In this order.
const VARIABLES: [&str; 2] = ["VRAMKIT_LOG", "RUST_LOG"];
const DEFAULT: &str = "warn";
/// Most bytes that are held back, the first ones.
const MOST: usize = 64 << 10;

static HELD: Mutex<Option<Held>> = Mutex::new(None);

#[derive(Default)]
struct Held {
    text: Vec<u8>,
    left_out: usize,
}

/// Begins. In a process that has a log of its own, that one goes on.
pub fn start() {
    let named = VARIABLES.into_iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    let named = named.filter(|(_, value)| !value.is_empty());
    let filter = named.as_ref().map(|(_, value)| targets(value));
    let is_wrong = matches!(filter, Some(None));
    let filter = filter.flatten().or_else(|| DEFAULT.parse().ok()).unwrap_or_default();
    let lines = tracing_subscriber::fmt::layer().with_writer(Lines).with_ansi(false).with_target(false);
    let subscriber = tracing_subscriber::registry().with(filter);
    // Whoever started another log keeps it.
    let _ = if io::stderr().is_terminal() || std::env::var_os("JOURNAL_STREAM").is_some() {
        subscriber.with(lines.without_time()).try_init()
    } else {
        subscriber.with(lines).try_init()
    };
    if let (true, Some((name, value))) = (is_wrong, named) {
        tracing::warn!("{name}={value:?} names no level: off, error, warn, info, debug or trace");
    }
}

/// What a variable asks for. A word alone is a level, or one of ours: of any other nothing would ever be said.
fn targets(value: &str) -> Option<Targets> {
    let is_known = |word: &str| {
        word.contains('=')
            || word.is_empty()
            || word.starts_with("vramkit")
            || LevelFilter::from_str(word).is_ok()
    };
    value.parse().ok().filter(|_| value.split(',').all(|word| is_known(word.trim())))
}

/// Holds lines back until what is returned is dropped.
pub fn hold() -> Hold {
    *HELD.lock().unwrap_or_else(PoisonError::into_inner) = Some(Held::default());
    Hold(())
}

/// See [`hold`].
pub struct Hold(());

impl Drop for Hold {
    fn drop(&mut self) {
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Held { text, left_out }) = held {
            let mut out = io::stderr().lock();
            // Where it cannot be said there is nobody to tell.
            let _ = out.write_all(&text);
            if left_out > 0 {
                let _ = writeln!(out, "… and {left_out} more lines");
            }
        }
    }
}

/// Writes each line at once.
struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match HELD.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(held) if held.text.len() + line.len() <= MOST => held.text.extend_from_slice(line),
            Some(held) => held.left_out += 1,
            None => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
