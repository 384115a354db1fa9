//! Leaks by owner on simulated programs with ledgers: in how many a suspicion was wrong, how many retain
//! something, how many leaks are found in their tag or owner, and after how long. From seeds that nothing was tuned on (`tune`
//! as an argument: those that it was; `long`: five times as many). `cargo bench -p vramkit-testing --bench owners`.

#![allow(clippy::print_stdout)]

use std::sync::Mutex;
use std::time::{Duration, Instant};

use vramkit::pressure::leak::{OwnerLeaks, TagEvent, TagLeak};
use vramkit_testing::{Program, ProgramLeak, Serving};

/// Programs of each kind.
const EACH: u64 = 50;

/// What was said of one program.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    wrong: bool,
    /// Of what leaks, or of anything where nothing does.
    retains: bool,
    /// Minutes since the leak began.
    found: Option<f64>,
    seconds: f64,
    steps: u32,
}

/// Whether it is the leak: its tag, or where it is in many, one of them or the owner.
fn is_it(leak: &ProgramLeak, found: &TagLeak) -> bool {
    let owner = leak.model == found.model && leak.purpose == found.purpose;
    owner && leak.tag.as_ref().is_none_or(|tag| *tag == found.tag && !found.whole_owner)
}

fn run(serving: Serving, leaking: bool, seed: u64) -> Said {
    let mut program = Program::new(serving, leaking, seed);
    let mut leaks = OwnerLeaks::default();
    for (model, purpose, budget) in &program.budgets {
        leaks.set_budget(model, *purpose, Some(*budget));
    }
    let mut said = Said::default();
    let mut judging = Duration::ZERO;
    while let Some((now, ledger)) = program.step() {
        let start = Instant::now();
        let events = leaks.check(now, &ledger);
        judging += start.elapsed();
        said.steps += 1;
        for event in events {
            let right = |found: &TagLeak| {
                program.leak.as_ref().is_some_and(|leak| is_it(leak, found) && now.as_secs() > leak.since)
            };
            match event {
                TagEvent::Suspected(found) if right(&found) => {
                    let since = program.leak.as_ref().map_or(0, |leak| leak.since);
                    said.found.get_or_insert((now.as_secs() - since) as f64 / 60.0);
                }
                TagEvent::Suspected(_) => said.wrong = true,
                TagEvent::Retains(found) => said.retains |= !leaking || right(&found),
                _ => {}
            }
        }
    }
    said.seconds = judging.as_secs_f64();
    said
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    let flag = |name: &str| std::env::args().any(|argument| argument == name);
    let first = if flag("tune") { 0 } else { 2_000_000 };
    let each = EACH * if flag("long") { 5 } else { 1 };
    let healthy = Serving::HEALTHY.iter().map(|&serving| (serving, false));
    let leaking = Serving::LEAKING.iter().map(|&serving| (serving, true));
    let kinds: Vec<(Serving, bool)> =
        healthy.chain([(Serving::EndlessCache, false)]).chain(leaking).collect();
    let work = Mutex::new(kinds.iter().flat_map(|&kind| (first..first + each).map(move |seed| (kind, seed))));
    let said = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let next = work.lock().expect("nobody panics").next();
                    let Some((kind, seed)) = next else { return };
                    let one = run(kind.0, kind.1, seed);
                    said.lock().expect("nobody panics").push((kind, one));
                }
            });
        }
    });
    let said = said.into_inner().expect("nobody panics");
    println!("{each} programs of each kind, four hours each (long lives: twelve); in how many of them");
    println!(
        "{:<24}{:>16}{:>12}{:>10}{:>14}{:>12}",
        "kind", "wrong suspicion", "retains", "found", "median, min", "us a step"
    );
    let mut sums = [[0usize; 4]; 2];
    let mut all_delays = Vec::new();
    for kind in &kinds {
        let of_kind: Vec<Said> = said.iter().filter(|(of, _)| of == kind).map(|(_, said)| *said).collect();
        let count = |is: fn(&Said) -> bool| of_kind.iter().filter(|said| is(said)).count();
        let (wrong, retains, found) =
            (count(|said| said.wrong), count(|said| said.retains), count(|said| said.found.is_some()));
        let mut delays: Vec<f64> = of_kind.iter().filter_map(|said| said.found).collect();
        let cost = of_kind.iter().map(|said| said.seconds).sum::<f64>() * 1e6
            / f64::from(of_kind.iter().map(|said| said.steps).sum::<u32>());
        let name = format!("{:?}{}", kind.0, if kind.1 { ", leaking" } else { "" });
        if kind.1 {
            println!("{name:<32}{wrong:>8}{retains:>12}{found:>10}{:>14.1}{cost:>12.1}", median(&mut delays));
        } else {
            println!("{name:<32}{wrong:>8}{retains:>12}{:>10}{:>14}{cost:>12.1}", "", "");
        }
        all_delays.extend(delays);
        if kind.0 != Serving::EndlessCache {
            let sum = &mut sums[usize::from(kind.1)];
            [wrong, retains, found, of_kind.len()]
                .iter()
                .zip(sum.iter_mut())
                .for_each(|(one, sum)| *sum += one);
        }
    }
    let [healthy, leaking] = sums;
    println!(
        "\nhealthy: {} of {} wrongly suspected, {} retain; leaking: {} of {} found, {} wrong beside; median delay {:.1} min",
        healthy[0],
        healthy[3],
        healthy[1],
        leaking[2],
        leaking[3],
        leaking[0],
        median(&mut all_delays)
    );
}
