//! From a question to a risk: read traffic and model, find the batch, compute, report.

use std::sync::Arc;

use vramkit_models::traffic::{BadRows, Traffic, read_traffic};
use vramkit_occupancy::{
    Batch, Batching, Effort, Horizon, Lengths, Question, Replayed, RequestLengths, Scheduler, Service, answer,
};
use vramkit_report::{RiskPicture, risk_svg};

use super::kept::Kept;
use super::picture::picture;
use super::question::{CapacityQuestion, HorizonChoice, ReplaySettings, TrafficSource};
use super::report::CapacityReport;
use crate::error::{AskError, QuestionError};
use crate::listener::Listener;

/// The answer to a [`CapacityQuestion`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CapacityAnswer {
    /// `vramkit.capacity/1`.
    pub report: CapacityReport,
    /// Risk against batch, where that was asked for.
    pub picture: Option<RiskPicture>,
    is_yes: bool,
}

impl CapacityAnswer {
    /// Whether the risk asked about is kept. A yes where no risk or no memory was given; a no where nothing can be said.
    pub fn is_yes(&self) -> bool {
        self.is_yes
    }

    /// The picture as a standalone SVG, where it was asked for.
    pub fn svg(&self) -> Option<String> {
        self.picture.as_ref().map(risk_svg)
    }
}

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
    let traffic = read(question)?;
    let lengths = lengths(question, traffic.as_ref())?;
    let kept = Kept::of(question)?;
    let service = Service {
        lengths: &lengths,
        block: question.block,
        horizon: horizon(question)?,
        effort: Effort { cycles: question.cycles, seed: question.seed },
        progress: &|cycles| listener.advanced(cycles),
    };
    let risk = question.risk();
    let batching = batching(question, &service, &kept)?;
    let tokens = kept.tokens(batching.seats())?;
    let mut occupancy =
        answer(&service, Question { batching, capacity: tokens, risk }, &question.other_risks)?;
    kept.complete(&mut occupancy, &service, batching)?;
    let replay = match (question.replay, tokens) {
        (Some(settings), Some(tokens)) => Some(replay(question.block, settings, &service, batching, tokens)?),
        _ => None,
    };
    let within = occupancy.probability.is_some_and(|probability| probability <= risk);
    let report = CapacityReport {
        occupancy,
        lengths_estimated: traffic.as_ref().is_some_and(|traffic| traffic.estimated),
        rows_left_out: traffic.as_ref().map_or(0, |traffic| traffic.left_out),
        kv_bytes_per_sequence: Some(kept.per_sequence).filter(|&bytes| bytes > 0),
        replay,
    };
    let picture = match tokens.filter(|_| question.picture) {
        Some(_) => Some(picture(&service, &report, batching, &kept)?),
        None => None,
    };
    let is_yes = question.risk.is_none() || tokens.is_none() || within;
    Ok(CapacityAnswer { report, picture, is_yes })
}

fn read(question: &CapacityQuestion) -> Result<Option<Traffic>, AskError> {
    let Some(TrafficSource::Log { path, skip_bad_rows }) = &question.traffic else { return Ok(None) };
    let bad_rows = if *skip_bad_rows { BadRows::LeaveOut } else { BadRows::Refuse };
    Ok(Some(read_traffic(path, bad_rows)?))
}

fn lengths(question: &CapacityQuestion, traffic: Option<&Traffic>) -> Result<Lengths, AskError> {
    let lengths = match (traffic, &question.traffic) {
        (Some(traffic), _) => {
            let requests =
                traffic.requests.iter().map(|r| RequestLengths { prompt: r.prompt, output: r.output });
            Lengths::from_requests(requests.collect::<Vec<_>>())?
        }
        (None, Some(TrafficSource::Geometric { prompt_tokens, termination })) => {
            Lengths::geometric(*prompt_tokens, *termination)?
        }
        (None, _) => return Err(QuestionError::NoTraffic.into()),
    };
    Ok(match question.max_output {
        Some(cap) => lengths.capped(cap)?,
        None => lengths,
    })
}

fn horizon(question: &CapacityQuestion) -> Result<Horizon, QuestionError> {
    match (question.horizon, question.step_seconds) {
        (HorizonChoice::Cycle, _) => Ok(Horizon::Cycle),
        (HorizonChoice::Steps(steps), _) => Ok(Horizon::Steps(steps)),
        (HorizonChoice::Time(time), Some(step)) => Ok(Horizon::Steps(time.as_secs_f64() / step)),
        (HorizonChoice::Time(_), None) => Err(QuestionError::NoStepTime),
    }
}

/// The batch asked about, or the largest one for the risk.
fn batching(question: &CapacityQuestion, service: &Service, kept: &Kept) -> Result<Batching, AskError> {
    match (question.batch, question.threshold, kept.tokens(0)?) {
        (Some(batch), Some(threshold), _) => Ok(Batching::Threshold(Batch::new(batch, threshold)?)),
        (Some(seats), None, _) => Ok(Batching::Continuous { seats }),
        (None, _, Some(capacity_tokens)) => {
            let risk = question.risk();
            let [largest, ..] = kept.largest_batch(service, Batching::Continuous { seats: 1 }, risk)?;
            if largest < 1.0 {
                return Err(QuestionError::NothingFits { risk, capacity_tokens }.into());
            }
            Ok(Batching::Continuous { seats: largest as u32 })
        }
        (None, _, None) => Err(QuestionError::NoBatch.into()),
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
        ..Scheduler::new(0, batching.seats())
    };
    Ok(scheduler.replay(service.lengths.requests().unwrap_or_default(), None)?)
}
