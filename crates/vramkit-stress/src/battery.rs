//! The battery: every check, sound and with its fault put in.

use vramkit_llm::LoadError;

use crate::checks::{BATTERY, Definition, Finding, NEIGHBOUR, Tried};
use crate::question::{StressError, StressQuestion};
use crate::report::{Check, StressReport};
use crate::subject::Subject;

/// Puts a model's memory under pressure; `on_check` is told each check as it is done.
///
/// # Errors
/// The model cannot be read or loaded, or there is too little memory for a check. That a check fails is no error.
pub fn stress(
    question: &StressQuestion,
    on_check: &mut dyn FnMut(&Check),
) -> Result<StressReport, StressError> {
    let subject = Subject::new(question)?;
    let mut usage = Vec::new();
    let mut checks = Vec::new();
    for definition in BATTERY.iter().chain(subject.neighbour.is_some().then_some(&NEIGHBOUR)) {
        let finding = tried(definition, &subject, Tried::Sound)?;
        let mut check = Check {
            name: definition.name,
            passed: finding.passed,
            measured: finding.measured,
            limit: finding.limit,
            unit: definition.unit,
            detail: finding.detail,
            fault: None,
            caught: None,
        };
        usage.extend(finding.usage);
        if question.prove {
            check.fault = Some(definition.fault);
            // What is found without the fault, or before it could be put in, is not the fault.
            let faulty = tried(definition, &subject, Tried::Faulty)?;
            check.caught = Some(check.passed && !faulty.passed && !faulty.is_refused);
        }
        on_check(&check);
        checks.push(check);
    }
    Ok(StressReport {
        schema: "vramkit.stress/1",
        model: subject.name.clone(),
        context_tokens: subject.context,
        kv_bytes_per_token: subject.bytes_per_token,
        seed: question.seed,
        passed: checks.iter().all(|check| check.passed && check.caught != Some(false)),
        checks,
        usage,
    })
}

/// Runs a check once. That the engine or the pool refuses what it must grant is a finding; what is wrong with the file or the
/// surroundings is none.
fn tried(definition: &Definition, subject: &Subject, tried: Tried) -> Result<Finding, StressError> {
    let found = (definition.run)(subject, tried);
    subject.is_unchanged()?;
    let is_refusal = match &found {
        Err(StressError::Load(error)) => {
            matches!(**error, LoadError::InsufficientVram { .. } | LoadError::Bind(_) | LoadError::Pool(_))
        }
        Err(StressError::Engine(_) | StressError::Pool(_) | StressError::Refused { .. }) => true,
        _ => false,
    };
    match found {
        Err(error) if is_refusal => Ok(Finding::refused(error.to_string())),
        found => found,
    }
}
