//! `vramkit top`.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::ops::ControlFlow;

use vramkit::device::Reading;
use vramkit_ask::{Tick, TopQuestion, top, watch};
use vramkit_top::Feed;
use vramkit_watch::record::{self, Recording, TickRecorder};
use vramkit_watch::{Holder, Presence};

use crate::args::TopOptions;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::log;
use crate::output::{self, BAD, BOLD, DIM};
use crate::printable::printable;

pub fn run(options: &TopOptions, caller: &mut Caller) -> Result<bool, Failure> {
    let on_a_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !options.json;
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
        if on_a_terminal {
            let _held = log::hold();
            vramkit_top::run(Feed::Recorded(ticks, options.interval))?;
        } else {
            ticks.iter().try_for_each(|tick| print(tick, options.json, false, caller))?;
        }
        return Ok(true);
    }
    let question = TopQuestion { levels: options.levels.map(|levels| levels.0) };
    if let Some(path) = &options.record {
        let recorder = TickRecorder::open(path, options.record_size.bytes())?;
        watch::<Failure>(&question, options.interval, Some(recorder), |_| Ok(ControlFlow::Continue(())))?;
    } else if on_a_terminal && !options.once {
        let _held = log::hold();
        vramkit_top::run(Feed::Live(Box::new(question.watcher()?), options.interval))?;
    } else if options.json && !options.once {
        let line = |tick: &Tick| print(tick, true, false, caller).map(ControlFlow::Continue);
        watch(&question, options.interval, None, line)?;
    } else {
        // Piped without --json: one reading, as a person would want it.
        let answer = top(&question)?;
        print(&answer.report, options.json, true, caller)?;
        return Ok(answer.is_yes());
    }
    Ok(true)
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

fn text(tick: &Tick) -> String {
    let mut text = String::new();
    for device in &tick.devices {
        let (snapshot, usage) = (&device.snapshot, &device.snapshot.usage);
        let level =
            snapshot.level.map_or_else(|| "level not available".to_owned(), |level| level.to_string());
        let percent =
            usage.used_ratio().map_or_else(String::new, |ratio| format!(", {:.1} % used", 100.0 * ratio));
        let _ = writeln!(
            text,
            "{BOLD}{}{BOLD:#}  {}  {level}{percent}",
            snapshot.device.id, snapshot.device.name
        );
        if let Presence::Lost { since, reason } | Presence::Unread { since, reason } = &device.presence {
            let state = if matches!(device.presence, Presence::Lost { .. }) { "lost" } else { "not read" };
            let _ = writeln!(text, "  {BAD}{state}{BAD:#} since {since}: {reason}");
            continue;
        }
        let _ =
            writeln!(text, "  {} used of {}, {} free", usage.used_bytes, usage.total_bytes, usage.free_bytes);
        if let Some(shared) = &device.shared_bytes {
            let _ = writeln!(text, "  beside it, of the machine's memory (GTT): {shared}");
        }
        for note in &device.notes {
            let _ = writeln!(text, "  {DIM}{note}{DIM:#}");
        }
        if let Some(stall) = device.stall {
            let _ = writeln!(
                text,
                "  waiting for memory: {:.1} % of 10 s, {:.1} % of 60 s, {:.1} % of 300 s",
                100.0 * stall.some.avg10_ratio,
                100.0 * stall.some.avg60_ratio,
                100.0 * stall.some.avg300_ratio
            );
        }
        if let Reading { value: None, unavailable: Some(reason), .. } = &snapshot.processes {
            let _ = writeln!(text, "  {DIM}processes: {reason}{DIM:#}");
        }
        if !device.holders.is_empty() {
            let rows = std::iter::once(vec!["holder".to_owned(), "holds".to_owned(), "of all".to_owned()])
                .chain(device.holders.iter().map(|holder| {
                    let part = usage
                        .total_bytes
                        .value
                        .map(|total| format!("{:.1} %", 100.0 * holder.bytes.ratio_of(total)));
                    vec![who(holder), holder.bytes.to_string(), part.unwrap_or_default()]
                }));
            text += &output::table(&rows.collect::<Vec<_>>());
        }
        for leak in &device.suspected {
            let _ = writeln!(text, "  {BAD}leak suspected{BAD:#}: tag `{}` of {}", leak.tag, leak.model);
        }
    }
    for absent in &tick.unavailable {
        let _ = writeln!(text, "{DIM}{}: {}{DIM:#}", absent.source, absent.reason);
    }
    text
}

/// A holder, and whose it is: a user and a command, and where it runs.
fn who(holder: &Holder) -> String {
    let whose = &holder.identity;
    let parts = [&whose.user, &whose.pod, &whose.container, &whose.job, &whose.command];
    let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    let name = output::cut(&holder.name, 60);
    if parts.is_empty() { name } else { output::cut(&format!("{name} ({})", parts.join(", ")), 100) }
}
