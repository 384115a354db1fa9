//! `vramkit top`.

use std::io::{IsTerminal, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use vramkit::ByteSize;
use vramkit_ask::{Tick, TopQuestion, top, watch};
use vramkit_remote::Remotes;
use vramkit_top::Feed;
use vramkit_watch::Health;
use vramkit_watch::record::{self, TickRecorder};

use crate::args::TopOptions;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::token;
use crate::top_text::text;

/// How long the first answer of other machines is waited for: a little longer than one of them may take.
const PATIENCE: Duration = Duration::from_secs(15);

pub fn run(options: &TopOptions, caller: &mut Caller) -> Result<bool, Failure> {
    let has_screen = has_screen() && !options.json;
    if let Some(path) = &options.replay {
        let ticks = record::read(path)?;
        if has_screen {
            vramkit_top::run(Feed::Recorded(ticks, options.interval))?;
        } else {
            ticks.iter().try_for_each(|tick| print(tick, options.json, false, caller))?;
        }
        return Ok(true);
    }
    if !options.addresses.is_empty() {
        return elsewhere(options, has_screen, caller);
    }
    let question = TopQuestion { levels: options.levels.map(|levels| levels.0) };
    if let Some(path) = &options.record {
        let mut keep = recorder(path, options.record_size)?;
        watch(&question, options.interval, |tick: &Tick| keep(tick).map(ControlFlow::Continue))?;
    } else if has_screen && !options.once {
        vramkit_top::run(Feed::Live(Box::new(question.watcher()?), options.interval))?;
    } else if options.json && !options.once {
        let line = |tick: &Tick| print(tick, true, false, caller).map(ControlFlow::Continue);
        watch(&question, options.interval, line)?;
    } else {
        // Piped without --json: one reading, as a person would want it.
        let answer = top(&question)?;
        print(&answer.report, options.json, true, caller)?;
        return Ok(answer.is_yes());
    }
    Ok(true)
}

/// A terminal that can be drawn on, with somebody at it.
fn has_screen() -> bool {
    let can_draw = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    can_draw && std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

/// Of other machines.
fn elsewhere(options: &TopOptions, has_screen: bool, caller: &mut Caller) -> Result<bool, Failure> {
    let token = options.token_file.as_deref().map(token::read).transpose()?;
    let failed = |error| Failure::Input(format!("no thread for every address: {error}"));
    let mut remotes = Remotes::start(&options.addresses, token, options.interval).map_err(failed)?;
    if let Some(path) = &options.record {
        let mut keep = recorder(path, options.record_size)?;
        remotes.settle(PATIENCE);
        loop {
            keep(&remotes.tick())?;
            std::thread::sleep(options.interval);
        }
    }
    if has_screen && !options.once {
        vramkit_top::run(Feed::Asked(Box::new(move || remotes.tick()), options.interval))?;
        return Ok(true);
    }
    remotes.settle(PATIENCE);
    if options.json && !options.once {
        loop {
            print(&remotes.tick(), true, false, caller)?;
            std::thread::sleep(options.interval);
        }
    }
    let tick = remotes.tick();
    print(&tick, options.json, true, caller)?;
    if !vramkit_ask::is_well(&tick) {
        return Ok(false);
    }
    let addresses: Vec<String> = options.addresses.iter().map(ToString::to_string).collect();
    let silent = tick
        .sources
        .iter()
        .filter(|source| source.health != Health::Up && addresses.contains(&source.source));
    let silent: Vec<String> = silent
        .map(|source| format!("{} {}", source.source, source.reason.as_deref().unwrap_or_default()))
        .collect();
    if silent.is_empty() { Ok(true) } else { Err(Failure::Silent(silent.join("; "))) }
}

/// Keeps ticks in a file.
fn recorder(path: &Path, most: ByteSize) -> Result<impl FnMut(&Tick) -> Result<(), Failure>, Failure> {
    let failed = move |error| Failure::Write { path: path.to_owned(), error };
    let mut recorder = TickRecorder::open(path, most.bytes()).map_err(failed)?;
    Ok(move |tick: &Tick| recorder.write(tick).map_err(failed))
}

fn print(tick: &Tick, json: bool, pretty: bool, caller: &mut Caller) -> Result<(), Failure> {
    if json && pretty {
        return caller.json(tick);
    }
    if json {
        let mut out = std::io::stdout().lock();
        let mut line = serde_json::to_vec(tick).map_err(std::io::Error::from)?;
        line.push(b'\n');
        out.write_all(&line)?;
        return Ok(out.flush()?);
    }
    caller.text(&text(tick))
}
