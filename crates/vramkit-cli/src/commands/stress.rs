//! `vramkit stress`.

use std::io::{self, Read};

use vramkit::ByteSize;
use vramkit_ask::{AskError, Check, QuestionError, StressQuestion, StressReport};

use crate::args::StressOptions;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::output::{self, BAD, BOLD, DIM, GOOD};

/// The command that takes memory and nothing else.
const NEIGHBOUR: &str = "take-memory";

pub fn run(options: &StressOptions, caller: &mut Caller) -> Result<bool, Failure> {
    for (what, number) in [("context", options.ctx), ("number of threads", options.threads)] {
        if number == Some(0) {
            return Err(QuestionError::Zero(what).into());
        }
    }
    let question = StressQuestion {
        model: options.model.clone(),
        capacity: options.capacity,
        context: options.ctx,
        threads: options.threads,
        prove: options.prove,
        seed: options.seed,
        // Without it there are nine checks.
        neighbour: caller.again(NEIGHBOUR).ok(),
    };
    if let Some(path) = &options.report {
        if options.model.as_deref().is_some_and(|model| output::is_same(model, path)) {
            return Err(Failure::Input(format!("--report {} is the model's own file", path.display())));
        }
        // Whether it can be written shows before the checks, which take their time; what is in it stays until then.
        output::can_be_written(path)?;
    }
    let mut written = Ok(());
    let mut tell = |check: &Check| {
        if !options.json && written.is_ok() {
            written = caller.text(&line(check));
        }
    };
    let report = vramkit_ask::stress(&question, &mut tell).map_err(AskError::from)?;
    if let Some(path) = &options.report {
        output::replace(path, report.markdown().as_bytes())?;
    }
    if options.json {
        caller.json(&report)?
    } else {
        caller.text(&summary(&report))?
    }
    Ok(report.passed)
}

/// A check as it is done.
fn line(check: &Check) -> String {
    let verdict = if check.passed { format!("{GOOD}passed{GOOD:#}") } else { format!("{BAD}FAILED{BAD:#}") };
    let caught = match check.caught {
        Some(true) => "  fault caught".to_owned(),
        Some(false) => format!("  {BAD}fault NOT caught{BAD:#}"),
        None => String::new(),
    };
    let (measured, limit) = (check.measured(), check.limit());
    format!(
        "{verdict}  {BOLD}{}{BOLD:#}: {measured} {}, held to {limit}{caught}\n  {DIM}{}{DIM:#}\n",
        check.name, check.unit, check.detail
    )
}

fn summary(report: &StressReport) -> String {
    let mut rows = vec![
        ["tokens", "keys and values", "in use", "committed", "seen by the system"].map(String::from).to_vec(),
    ];
    rows.extend(report.usage.iter().map(|each| {
        let seen = each.resident_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
        vec![
            each.tokens.to_string(),
            each.kv_bytes.to_string(),
            each.used_bytes.to_string(),
            each.committed_bytes.to_string(),
            seen,
        ]
    }));
    let passed = report.checks.iter().filter(|check| check.passed).count();
    let caught = report.checks.iter().filter(|check| check.caught == Some(true)).count();
    let proved = if report.checks.iter().any(|check| check.caught.is_some()) {
        format!(", {caught} faults caught")
    } else {
        String::new()
    };
    format!(
        "\n{}: {} tokens of context, {} bytes of cache a token\n{}{passed} of {} checks passed{proved}\n",
        report.model,
        report.context_tokens,
        report.kv_bytes_per_token.grouped(),
        output::table(&rows),
        report.checks.len(),
    )
}

/// Takes memory, says so, and keeps it until its input ends.
pub fn take(size: ByteSize, caller: &mut Caller) -> Result<bool, Failure> {
    let bytes = usize::try_from(size.bytes())
        .map_err(|_| Failure::Input(format!("{size} passes this machine's addresses")))?;
    let mut memory = Vec::new();
    memory.try_reserve_exact(bytes).map_err(|error| Failure::Input(format!("{size}: {error}")))?;
    memory.resize(bytes, 1_u8);
    caller.text("taken\n")?;
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    // Not before.
    drop(std::hint::black_box(memory));
    Ok(true)
}
