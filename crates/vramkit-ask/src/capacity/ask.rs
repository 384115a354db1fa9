//! From a question to a risk: read traffic and model, find the batch, compute, report.

use std::sync::Arc;

use vramkit::units::grouped;
use vramkit_occupancy::{
    Batch, Batching, Deadline, Effort, Horizon, MAX_SEATS, OccupancyError, Order, Question, Replayed,
    Scheduler, Service, Start, answer,
};

use super::answer::CapacityAnswer;
use super::flags::flags;
use super::kept::Kept;
use super::picture::picture;
use super::question::{CapacityQuestion, HorizonChoice, ReplaySettings};
use super::replicas::Replicas;
use super::report::CapacityReport;
use super::served::{Cache, Served, held_once, read_log};
use crate::error::{AskError, QuestionError};
use crate::listener::Listener;

/// What of the time until the deadline a picture leaves for the figures.
const BESIDE_A_PICTURE: f64 = 0.6;

/// Tells how likely a memory is to run out.
///
/// # Errors
/// A question in which something is missing or out of its range, a file that is not what it should be. What can be computed
/// but not stood behind is no error: it is `null` in the report, with a note.
pub fn capacity(
    question: &CapacityQuestion,
    listener: Arc<dyn Listener>,
) -> Result<CapacityAnswer, AskError> {
    question.check()?;
    let deadline = Deadline::within(question.deadline);
    let replicas = Replicas::new(question.replicas);
    let traffic = read_log(question)?;
    let cache = Cache::of(question)?;
    let served = Served::of(question, traffic.as_ref(), cache.max_model_len)?;
    let kept = Kept::of(question, cache.memory, held_once(question.shared_prefix, cache.block))?;
    let (step, step_is_assumed) = question.step();
    let arrivals = question.arrival_rate.map(|rate| served.part * rate * step / f64::from(question.replicas));
    let service = Service {
        block: cache.block,
        start: if question.cold_start { Start::Cold } else { Start::Settled },
        order: if question.as_logged { Order::AsLogged } else { Order::Drawn },
        arrivals,
        effort: Effort { cycles: question.cycles, seed: question.seed },
        deadline,
        progress: &|cycles| listener.advanced(cycles),
        ..Service::new(&served.lengths, horizon(question, step))
    };
    let figures = Service {
        deadline: if question.picture { deadline.part(BESIDE_A_PICTURE) } else { deadline },
        ..service
    };
    let risk = replicas.of_one(question.risk());
    let batching = batching(question, &figures, &kept)?;
    let tokens = kept.tokens(batching.seats())?;
    let others: Vec<f64> = question.other_risks.iter().map(|&risk| replicas.of_one(risk)).collect();
    let mut occupancy = answer(&figures, Question { batching, capacity: tokens, risk }, &others)?;
    kept.complete(&mut occupancy, &figures, batching)?;
    let replay = match (question.replay, tokens) {
        (Some(settings), Some(tokens)) => match replay(cache.block, settings, &service, batching, tokens) {
            Ok(replayed) => Some(replayed),
            Err(AskError::Occupancy(refused @ OccupancyError::Refused { .. })) => {
                occupancy.notes.push(refused.to_string());
                None
            }
            Err(error) => return Err(error),
        },
        _ => None,
    };
    let notes = served.notes.into_iter().chain(cache.notes);
    occupancy.notes.extend(notes);
    let picture = match tokens.filter(|_| question.picture) {
        Some(_) => Some(picture(&service, &occupancy, batching, &kept)?),
        None => None,
    };
    replicas.complete(&mut occupancy, question);
    if let Some(replay) = &replay {
        occupancy.notes.extend(contradiction(replay, &occupancy));
    }
    let is_limited = question.arrival_rate.is_none() || question.batch.is_some();
    let is_in_time = matches!(question.horizon(), HorizonChoice::Time(_));
    let mut report = CapacityReport {
        lengths_estimated: traffic.as_ref().is_some_and(|traffic| traffic.estimated),
        rows_left_out: traffic.as_ref().map_or(0, |traffic| traffic.left_out),
        kv_bytes_per_sequence: Some(kept.per_sequence).filter(|&bytes| bytes > 0),
        block_tokens: cache.block,
        max_model_len: cache.max_model_len,
        shared_prefix_tokens: question.shared_prefix,
        replicas: question.replicas,
        seats_limited: is_limited,
        step_seconds: (is_in_time || question.arrival_rate.is_some()).then_some(step),
        assumptions: assumptions(
            question,
            &occupancy,
            step_is_assumed && question.horizon.is_none(),
            cache.block,
        ),
        engine_flags: None,
        replay,
        occupancy,
    };
    report.engine_flags = question.engine.map(|engine| flags(engine, &report));
    let is_yes = match (question.risk, tokens) {
        (Some(_), Some(_)) => report.occupancy.within_risk,
        // There is no yes or no, but something that is known.
        (_, Some(_)) => report.occupancy.probability_high.map(|_| true),
        (_, None) => report.occupancy.capacity_tokens_needed.map(|_| true),
    };
    Ok(CapacityAnswer { report, picture, is_yes })
}

fn horizon(question: &CapacityQuestion, step: f64) -> Horizon {
    match question.horizon() {
        HorizonChoice::Cycle => Horizon::Cycle,
        HorizonChoice::Steps(steps) => Horizon::Steps(steps),
        HorizonChoice::Time(time) => Horizon::Steps(time.as_secs_f64() / step),
    }
}

/// The batch asked about, or the largest one for the risk; at least one sequence.
fn batching(question: &CapacityQuestion, service: &Service, kept: &Kept) -> Result<Batching, AskError> {
    match (question.batch, question.threshold) {
        (Some(batch), Some(threshold)) => Ok(Batching::Threshold(Batch::new(batch, threshold)?)),
        (Some(seats), None) => Ok(Batching::Continuous { seats }),
        (None, _) if question.arrival_rate.is_some() => Ok(Batching::Continuous { seats: MAX_SEATS }),
        (None, _) if kept.tokens(0)?.is_some() => {
            let share = Service { deadline: service.deadline.part(0.4), ..*service };
            let risk = Replicas::new(question.replicas).of_one(question.risk());
            let [largest, ..] = kept.largest_batch(&share, Batching::Continuous { seats: 1 }, risk)?;
            // What is answered for it is found with other random numbers again, and must not contradict that it is within the risk.
            let mut seats = (largest as u32).max(1);
            for _ in 0..4 {
                let Some(tokens) = kept.tokens(seats)? else { break };
                match share.risk(Batching::Continuous { seats }, tokens) {
                    Ok(here) if here.is_within(risk) == Some(false) && seats > 1 => seats -= 1,
                    _ => break,
                }
            }
            Ok(Batching::Continuous { seats })
        }
        (None, _) => Err(QuestionError::NoBatch.into()),
    }
}

fn replay(
    block: u32,
    settings: ReplaySettings,
    service: &Service,
    batching: Batching,
    tokens: f64,
) -> Result<Replayed, AskError> {
    let scheduler = Scheduler {
        blocks: (tokens / f64::from(block)) as u64,
        block,
        watermark: settings.watermark,
        token_budget: settings.token_budget,
        deadline: service.deadline,
        ..Scheduler::new(0, batching.seats())
    };
    Ok(scheduler.replay(service.lengths.requests().unwrap_or_default(), None)?)
}

/// What a replay and the risk say of each other, where they do not go together.
fn contradiction(replay: &Replayed, occupancy: &vramkit_occupancy::OccupancyReport) -> Option<String> {
    let risk = occupancy.probability?;
    let seen = replay.preemptions;
    let began = "the replay begins with all seats filled at once, has the log's order, and ends with the log";
    match () {
        () if seen > 0 && risk < 0.05 => Some(format!(
            "replay and risk disagree: {} preemptions where running out has a risk of {risk:.1e}; {began}",
            grouped(seen)
        )),
        () if seen == 0 && risk > 0.95 => Some(format!(
            "replay and risk disagree: no preemption in {} steps where running out is all but certain over the horizon; {began}",
            grouped(replay.steps)
        )),
        () => None,
    }
}

/// What is taken to be so where the question does not say otherwise, or by what it says.
fn assumptions(
    question: &CapacityQuestion,
    occupancy: &vramkit_occupancy::OccupancyReport,
    step_is_assumed: bool,
    block: u32,
) -> Vec<String> {
    let mut found = Vec::new();
    found.push(match (occupancy.continuous, question.arrival_rate) {
        (true, Some(rate)) => {
            format!("requests come by themselves, {rate} a second on average, and wait for a seat in order")
        }
        (true, None) => "there always is a request for a free seat".to_owned(),
        (false, _) => "there always are requests for all that have ended".to_owned(),
    });
    found.push(match (question.cold_start, question.arrival_rate) {
        (true, _) => "all sequences begin at once when the horizon begins".to_owned(),
        (false, _) => "the batch has run for long when the horizon begins".to_owned(),
    });
    found.push(match question.as_logged {
        true => "requests come in the log's own order, from any place of it".to_owned(),
        false => "any request may come at any time, whatever came before".to_owned(),
    });
    if let Some(steps) = occupancy.horizon_steps {
        let assumed = if step_is_assumed { "an assumed " } else { "" };
        let (step, _) = question.step();
        if matches!(question.horizon(), HorizonChoice::Time(_)) {
            let hour = if question.horizon.is_none() { "an hour: " } else { "" };
            found.push(format!(
                "{hour}{} steps of {assumed}{} ms",
                grouped(steps.round_ties_even() as u64),
                step * 1e3
            ));
        }
    }
    if question.shared_prefix > 0 {
        found.push(format!(
            "the first {} tokens of each prompt are held once for all",
            question.shared_prefix
        ));
    }
    if question.replicas > 1 {
        found.push(format!(
            "requests are shared out evenly among {} machines; the risk is that of any of them",
            question.replicas
        ));
    }
    found.push(match block {
        1 => "memory is granted by the token".to_owned(),
        block => format!("memory is granted in blocks of {block} tokens"),
    });
    found
}
