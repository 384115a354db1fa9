//! `vramkit top`.

use std::io::{IsTerminal, Write as _};
use std::ops::ControlFlow;
use std::time::Duration;

use vramkit_ask::{Tick, TopQuestion, top, watch};
use vramkit_remote::Remotes;
use vramkit_top::Feed;
use vramkit_watch::record::{self, Recording, TickRecorder};
use vramkit_watch::{Health, SourceTick};

use crate::args::TopOptions;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::log;
use crate::printable::printable;
use crate::token;
use crate::top_text::text;

/// How long the first answer of other machines is waited for: a little longer than one of them may take.
const PATIENCE: Duration = Duration::from_secs(15);

pub fn run(options: &TopOptions, caller: &mut Caller) -> Result<bool, Failure> {
    let has_screen = has_screen() && !options.json;
    if let Some(path) = &options.replay {
        let Recording { ticks, thinned, skipped, first_skipped, .. } = record::read(path)?;
        if thinned > 0 {
            let told = ticks.get(thinned).map_or("all", |tick| tick.time.as_str());
            anstream::eprintln!(
                "readings before {told} are the largest of a minute or more: {thinned} of {}",
                ticks.len()
            );
        }
        if skipped > 0 {
            anstream::eprintln!("left out: {skipped} lines that are no readings");
            first_skipped.iter().for_each(|line| anstream::eprintln!("  {}", printable(&line.to_string())));
        }
        if let Some(last) = ticks.last().filter(|_| options.once) {
            print(last, options.json, true, caller)?;
            return Ok(vramkit_ask::is_well(last));
        }
        if has_screen {
            let _held = log::hold();
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
        let recorder = TickRecorder::open(path, options.record_size.bytes())?;
        watch::<Failure>(&question, options.interval, Some(recorder), |_| Ok(ControlFlow::Continue(())))?;
    } else if has_screen && !options.once {
        let _held = log::hold();
        vramkit_top::run(Feed::Live(Box::new(question.watcher()?), options.interval))?;
    } else if options.json && !options.once {
        let line = |tick: &Tick| print(tick, true, false, caller).map(ControlFlow::Continue);
        watch(&question, options.interval, None, line)?;
    } else {
        // Piped without --json: one reading, as a person would want it.
        let answer = top(&question)?;
        print(&answer.report, options.json, true, caller)?;
        return if answer.is_yes() { all_answer(&answer.report) } else { Ok(false) };
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
    if let Some(warning) = options.token_file.as_deref().and_then(token::exposed) {
        anstream::eprintln!("{warning}");
    }
    let failed = |error| Failure::Input(format!("no thread for every address: {error}"));
    let mut remotes = Remotes::start(&options.addresses, token, options.interval).map_err(failed)?;
    if let Some(path) = &options.record {
        let mut recorder = TickRecorder::open(path, options.record_size.bytes())?;
        let failed = |error| Failure::Write { path: path.clone(), error };
        remotes.settle(PATIENCE);
        loop {
            recorder.write(&remotes.tick()).map_err(failed)?;
            std::thread::sleep(options.interval);
        }
    }
    if has_screen && !options.once {
        let _held = log::hold();
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
    all_answer(&tick)
}

/// Whether all that was asked has answered.
fn all_answer(tick: &Tick) -> Result<bool, Failure> {
    let is_silent = |source: &&SourceTick| matches!(source.health, Health::Failing | Health::Late);
    let silent: Vec<String> = tick
        .sources
        .iter()
        .filter(is_silent)
        .map(|source| format!("{} {}", source.source, source.reason.as_deref().unwrap_or_default()))
        .collect();
    if silent.is_empty() { Ok(true) } else { Err(Failure::Silent(silent.join("; "))) }
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
