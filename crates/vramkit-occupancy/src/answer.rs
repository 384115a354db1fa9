//! One question with all its predictions beside each other, which agree: what `vramkit capacity` answers.
//!
//! In: a service and a question. Out: a report. Each figure gets a part of the time until the deadline, and the risk of what was asked about
//! has the last word over the batch and the memory.

use std::time::Duration;

use crate::batch::Batch;
use crate::capped::corrected;
use crate::cycles::{Convention, Cycles, Effort, Estimate, work};
use crate::error::OccupancyError;
use crate::exact::Exact;
use crate::inversion::Inverse;
use crate::peaks::Peaks;
use crate::published::PublishedFormulas;
use crate::report::{
    BatchForRisk, OccupancyReport, Predictions, Question, SCHEMA, TailPredictions, TrafficReport,
};
use crate::risk::{Risk, RiskMethod, check_risk};
use crate::service::{Batching, Horizon, Service};
use crate::simulation::Start;
use crate::source::Order;

/// Work of a simulation that is only to be seen: about a second's.
const WORK_TO_SEE: f64 = 5e8;
/// Steps after which the risk of a cold start hardly grows, where outputs are too alike to say.
const LONG: f64 = 1e4;
/// Steps that a queue is looked at for.
const QUEUE_STEPS: f64 = 3e7;
/// Within this factor of each other, two estimates of a risk are of the same.
const BESIDE: f64 = 1.5;

/// Answers a question, with largest batches for `risks` beside the one asked about. Of the time until the service's deadline each
/// figure gets a part.
///
/// # Errors
/// Bad input. What is refused is `None` in the answer, and a note says why.
pub fn answer(
    service: &Service,
    question: Question,
    risks: &[f64],
) -> Result<OccupancyReport, OccupancyError> {
    let Question { batching, capacity, risk } = question;
    check_risk(risk)?;
    let by = |part: f64| Service { deadline: service.deadline.part(part), ..*service };
    let lengths = service.lengths;
    let batch = batching.batch()?;
    let continuous = matches!(batching, Batching::Continuous { .. });
    let mut notes = Vec::new();
    let mut found = None;
    if let Some(capacity) = capacity {
        found = allowed(by(0.3).risk(batching, capacity), &mut notes)?;
    }
    let by_means = service.exact(batch);
    let seen = match service.arrivals {
        // What is said of full batches says nothing of these.
        Some(_) => Seen::default(),
        None => seen(&by(0.2), batch, continuous, &by_means, &mut notes)?,
    };
    let Seen { published, exact, cycles, x0, kappa, xmax } = seen;
    let mut tail = TailPredictions::default();
    if let Some(capacity) = capacity {
        tail.published = published.map(|published| published.tail(capacity - published.x0()));
        tail.corrected = exact.map(|exact| exact.tail(capacity));
        let of_a_cycle = Service { horizon: Horizon::Cycle, start: Start::Settled, ..by(0.1) };
        let of_a_cycle = match (service.horizon, continuous, &cycles) {
            (Horizon::Cycle, ..) => found,
            (_, true, _) => of_a_cycle.risk(batching, capacity).ok(),
            (_, false, Some(cycles)) => of_a_cycle.threshold_risk(batch, cycles, capacity).ok(),
            (_, false, None) => None,
        };
        tail.exact = of_a_cycle.map(|risk| risk.probability);
    }
    let within_risk = found.and_then(|found| found.is_within(risk));
    if let Some(most) = found.and_then(|found| found.at_most).filter(|&most| most > 0.0) {
        notes.push(format!("the risk is at most {most:.1e}: it was met too seldom to say more"));
    }
    let mut batches = Vec::new();
    let mut needed = allowed(by(0.5).least_capacity(batching, risk), &mut notes)?;
    if let Some(capacity) = capacity {
        let others = risks.iter().copied().filter(|&other| other != risk);
        for risk in std::iter::once(risk).chain(others) {
            let largest = allowed(by(0.6).largest_batch(batching, capacity, risk), &mut notes)?;
            let whole = |value: fn(Inverse) -> f64| largest.map(|largest| value(largest) as u32);
            batches.push(BatchForRisk {
                risk,
                max_batch: whole(|l| l.value),
                max_batch_low: whole(|l| l.low),
                max_batch_high: whole(|l| l.high),
            });
        }
    }
    if let (Some(capacity), Some(found), Some(within)) = (capacity, found, within_risk) {
        let near = (risk / BESIDE..=risk * BESIDE).contains(&found.probability);
        let block = if continuous { f64::from(service.block) } else { 1.0 };
        let capacity = service.granted(batching, capacity);
        let agreed = Agreement { capacity, block, seats: batch.seats(), within, near };
        needed = agreed.memory(needed, &mut notes);
        if let Some(first) = batches.first_mut() {
            agreed.batch(first, &mut notes);
        }
    }
    let cold = match (capacity, within_risk, service.start, service.arrivals) {
        (Some(capacity), Some(_), Start::Settled, None) => cold_start(service, batching, capacity)?,
        _ => None,
    };
    if let (Some(cold), Some(true)) = (cold, within_risk)
        && cold > risk
    {
        notes.push(format!(
            "if all {} sequences begin at once, as after a restart or with a fixed number of clients, the risk is {cold:.2}",
            batch.seats()
        ));
    }
    if !continuous && service.start == Start::Settled && service.keeps_together() {
        notes.push(
            "outputs are so alike that sequences which begin together end together for very long: how the batch began decides, and \
             here it began at random"
                .to_owned(),
        );
    }
    let mut waiting = None;
    if service.has_queue(batch.seats()) {
        // As many horizons as it takes to average a queue, which is slow to change.
        let horizons = (QUEUE_STEPS / service.steps()).clamp(64.0, 1e5) as u64;
        let peaks = allowed(by(0.5).peaks(batching, horizons), &mut notes)?;
        waiting = peaks.as_ref().and_then(Peaks::waiting);
        if service.load(batch.seats()).is_some_and(|load| load >= 1.0) {
            notes.push(format!(
                "{} seats are too few for so many arrivals: the longer it runs, the more requests wait",
                batch.seats()
            ));
        }
    }
    let seats = f64::from(batch.seats());
    let mean_seat = match (batching, &cycles) {
        (Batching::Continuous { .. }, _) => {
            let one = Service { arrivals: None, ..*service };
            one.demand(1)?.mean()
        }
        (_, Some(cycles)) => cycles.peak(Convention::BeforeFree).mean / seats,
        _ => (by_means.x0() + by_means.kappa()) / seats,
    };
    let fit = |each: f64| capacity.map(|capacity| (capacity / each).floor().min(f64::from(u32::MAX)) as u32);
    let mut told: Vec<String> = Vec::new();
    for note in notes {
        if !told.contains(&note) {
            told.push(note);
        }
    }
    let told_as = found.filter(|found| found.at_most.is_none() || found.method != RiskMethod::Simulated);
    Ok(OccupancyReport {
        schema: SCHEMA.to_owned(),
        batch: batch.seats(),
        threshold: batch.threshold(),
        continuous,
        traffic: TrafficReport {
            requests: lengths.requests().map(|requests| requests.len() as u64),
            mean_prompt: lengths.mean_prompt(),
            mean_output: lengths.mean_output(),
            termination: lengths.termination(),
            largest: lengths.largest(),
        },
        cold_start: service.start == Start::Cold,
        as_logged: service.order == Order::AsLogged,
        arrivals_per_step: service.arrivals,
        load_ratio: service.load(batch.seats()),
        waiting,
        capacity_tokens: capacity,
        kv_bytes_per_token: None,
        horizon_steps: match service.horizon {
            Horizon::Cycle => None,
            Horizon::Steps(steps) => Some(steps),
        },
        x0,
        kappa,
        xmax,
        tail,
        cycle_steps: match (&exact, &cycles) {
            (None, Some(cycles)) => cycles.steps().mean,
            _ => by_means.steps(),
        },
        probability: told_as.map(|risk| risk.probability),
        probability_low: found.map(|risk| risk.low),
        probability_high: found.map(|risk| risk.high),
        within_risk,
        cold_start_probability: cold,
        probability_method: found.map(|risk: Risk| risk.method),
        probability_reason: found.map(|risk| match (risk.method, risk.at_most) {
            (RiskMethod::Simulated, Some(_)) => "a simulation met it too seldom to count".to_owned(),
            (method, _) => method.why().to_owned(),
        }),
        risk,
        max_batch: batches.first().and_then(|batch| batch.max_batch),
        batches,
        mean_fit_batch: fit(mean_seat),
        worst_case_batch: lengths.largest_granted(service.block).and_then(fit),
        capacity_tokens_needed: needed.map(|needed| needed.value),
        capacity_tokens_needed_low: needed.map(|needed| needed.low),
        capacity_tokens_needed_high: needed.map(|needed| needed.high),
        capacity_bytes_needed: None,
        convention: Convention::BeforeFree,
        notes: told,
    })
}

/// What each model says of a full batch's cycles.
#[derive(Default)]
struct Seen {
    published: Option<PublishedFormulas>,
    exact: Option<Exact>,
    cycles: Option<Cycles>,
    x0: Predictions,
    kappa: Predictions,
    xmax: Predictions,
}

fn seen(
    service: &Service,
    batch: Batch,
    continuous: bool,
    by_means: &Exact,
    notes: &mut Vec<String>,
) -> Result<Seen, OccupancyError> {
    let lengths = service.lengths;
    // Of continuous batching a simulation is only there to be seen beside the formulas.
    let cycles = if continuous && work(batch, service.effort) > WORK_TO_SEE {
        notes.push(
            "X0 and Xmax are not simulated: the batch is large, and continuous batching needs no simulation"
                .to_owned(),
        );
        None
    } else {
        allowed(service.cycles(batch, 1.0), notes)?
    };
    let exact = lengths.as_geometric().map(|_| *by_means);
    let published = match PublishedFormulas::new(batch, lengths) {
        Ok(published) => Some(published),
        Err(refused) => {
            notes.push(refused.to_string());
            None
        }
    };
    let corrected = corrected(by_means, lengths.cutting_cap());
    let (x0, kappa, xmax) = moments(published.as_ref(), exact.as_ref(), corrected, cycles.as_ref(), notes);
    if let (Some(said), Some(simulated)) = (kappa.published, kappa.simulated)
        && !(0.5..=2.0).contains(&(said / simulated))
    {
        notes.push(format!("the published kappa is {:.2} x what is simulated", said / simulated));
    }
    Ok(Seen { published, exact, cycles, x0, kappa, xmax })
}

/// The risk if all begins at once, in the time that can be spared for it; `None` where that does not do.
fn cold_start(service: &Service, batching: Batching, capacity: f64) -> Result<Option<f64>, OccupancyError> {
    let deadline = service.deadline.part(0.3).at_most(Duration::from_secs(1));
    let horizon = match (service.horizon, batching) {
        (Horizon::Cycle, Batching::Continuous { .. }) => {
            Horizon::Steps(service.lengths.memory().map_or(LONG, |memory| memory as f64))
        }
        (horizon, _) => horizon,
    };
    let effort = Effort { cycles: service.effort.cycles.min(4_000), ..service.effort };
    let cold = Service { start: Start::Cold, order: Order::Drawn, horizon, deadline, effort, ..*service };
    match cold.risk(batching, capacity) {
        Ok(risk) if risk.at_most.is_none() => Ok(Some(risk.probability)),
        Ok(_) | Err(OccupancyError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The figures of one answer, which are found each by itself, held against the risk that was found for what was asked about.
struct Agreement {
    /// In whole blocks.
    capacity: f64,
    block: f64,
    seats: u32,
    /// Whether that keeps the risk asked about.
    within: bool,
    /// Whether it is about that risk: then the figures lie beside what was asked about.
    near: bool,
}

impl Agreement {
    fn disagrees(&self, what: &str, notes: &mut Vec<String>) {
        notes.push(format!(
            "{what} was found to contradict the risk of {} sequences in {:.0} tokens, and is not told: draw more samples",
            self.seats, self.capacity
        ));
    }

    /// The memory needed: no more than what is enough, more than what is too little.
    fn memory(&self, needed: Option<Inverse>, notes: &mut Vec<String>) -> Option<Inverse> {
        let needed = needed?;
        if self.within == (needed.value <= self.capacity) {
            return Some(needed);
        }
        if !self.near {
            self.disagrees("the memory needed", notes);
            return None;
        }
        let value = if self.within { self.capacity } else { self.capacity + self.block };
        Some(Inverse { value, low: needed.low.min(value), high: needed.high.max(value) })
    }

    /// The largest batch: no smaller than what keeps the risk, smaller than what does not.
    fn batch(&self, found: &mut BatchForRisk, notes: &mut Vec<String>) {
        let Some(largest) = found.max_batch else { return };
        if self.within == (self.seats <= largest) {
            return;
        }
        if !self.near {
            self.disagrees("the largest batch", notes);
            (found.max_batch, found.max_batch_low, found.max_batch_high) = (None, None, None);
            return;
        }
        let value = if self.within { self.seats } else { self.seats - 1 };
        found.max_batch = Some(value);
        found.max_batch_low = found.max_batch_low.map(|low| low.min(value));
        found.max_batch_high = found.max_batch_high.map(|high| high.max(value));
    }
}

/// X0, κ and Xmax by each model.
fn moments(
    published: Option<&PublishedFormulas>,
    exact: Option<&Exact>,
    corrected: [f64; 2],
    cycles: Option<&Cycles>,
    notes: &mut Vec<String>,
) -> (Predictions, Predictions, Predictions) {
    let predictions = |published: Option<f64>,
                       corrected: f64,
                       exact: Option<f64>,
                       simulated: Option<Estimate>| Predictions {
        published,
        corrected: Some(corrected),
        exact,
        simulated: simulated.map(|simulated| simulated.mean),
        standard_error: simulated.map(|simulated| simulated.standard_error),
    };
    let kappa = cycles.map(|cycles| cycles.kappa(Convention::BeforeFree));
    // The peak's sum is an approximation: it stands where the simulation agrees with it.
    let mut exact_kappa = None;
    if let (Some(exact), Some(simulated)) = (exact, kappa) {
        let formula = exact.kappa();
        let off = (formula - simulated.mean).abs();
        if off <= (0.02 * simulated.mean).max(3.0 * simulated.standard_error) {
            exact_kappa = Some(formula);
        } else {
            exact_kappa = Some(simulated.mean);
            notes.push(format!(
                "kappa and E[Xmax] under `exact` are simulated: the closed form's kappa of {formula:.1} does not hold for \
                 this batch"
            ));
        }
    }
    let x0 = exact.map(Exact::x0);
    let [corrected_x0, corrected_kappa] = corrected;
    (
        predictions(published.map(PublishedFormulas::x0), corrected_x0, x0, cycles.map(Cycles::x0)),
        predictions(published.map(PublishedFormulas::kappa), corrected_kappa, exact_kappa, kappa),
        predictions(
            published.map(PublishedFormulas::xmax),
            corrected_x0 + corrected_kappa,
            x0.zip(exact_kappa).map(|(x0, kappa)| x0 + kappa),
            cycles.map(|cycles| cycles.peak(Convention::BeforeFree)),
        ),
    )
}

/// What was refused becomes a note.
fn allowed<T>(
    result: Result<T, OccupancyError>,
    notes: &mut Vec<String>,
) -> Result<Option<T>, OccupancyError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(refused @ OccupancyError::Refused { .. }) => {
            notes.push(refused.to_string());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
