//! Every commit of memory failed in turn: a typed error, and nothing left behind.

use vramkit::pool::{Purpose, Request};
use vramkit_llm::Engine;
use vramkit_testing::faulty;

use super::finding::{Finding, Tried};
use crate::question::StressError;
use crate::subject::{NAME, Subject, run};

const CONTEXT: usize = 64;

/// From each commit on, none succeeds: a load or a sequence is refused, or says what it says otherwise, and nothing stays granted.
pub(super) fn failures(subject: &Subject, tried: Tried) -> Result<Finding, StressError> {
    let config = subject.config(CONTEXT);
    let needs = Engine::needs(&subject.path, &config)?.total();
    subject.has_room("failing_allocations", needs)?;
    let prompt = [subject.prompt(40, 30)];
    let sound = {
        let (orchestrator, _) = faulty(needs, usize::MAX..usize::MAX, |_| ());
        let engine = Engine::load(&orchestrator, NAME, &subject.path, config.clone())?;
        run(&engine, &prompt, 16, &mut |_| Ok(()))?
    };
    let (mut refused, mut failed, mut unharmed, mut wrong, mut left) = (0, 0, 0, 0, 0);
    for at in 0.. {
        let (orchestrator, faults) = faulty(needs, at..usize::MAX, |_| ());
        let pool = orchestrator.pool().clone();
        // Before anything fails, so that it is put in whatever fails.
        let behind = match tried {
            Tried::Faulty => {
                let owner = pool.owner(NAME, Purpose::Kv);
                pool.allocate(Request::new(vramkit::ByteSize::new(256)).owner(owner)).ok()
            }
            Tried::Sound => None,
        };
        match Engine::load(&orchestrator, NAME, &subject.path, config.clone()) {
            Err(_) => refused += 1,
            Ok(engine) => {
                let said = run(&engine, &prompt, 16, &mut |_| Ok(()))?;
                match &said[0].failed {
                    Some(_) => failed += 1,
                    None if said == sound => unharmed += 1,
                    None => wrong += 1,
                }
            }
        }
        left += pool.used().bytes();
        drop(behind);
        if faults.commits() <= at {
            break;
        }
    }
    let passed = left == 0 && wrong == 0 && refused > 0 && unharmed > 0;
    let detail = format!(
        "from each commit on, none succeeds: {refused} loads and {failed} sequences were refused, {unharmed} went through, {wrong} said something else"
    );
    Ok(Finding::new(passed, left as f64, 0.0, detail))
}
