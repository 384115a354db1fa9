//! Risk against batch, to be drawn: each model's risks for batches around the one asked about, and simulations where they can
//! meet them.

use vramkit_occupancy::{
    Batching, Effort, Estimate, Horizon, OccupancyError, OccupancyReport, Population, PublishedFormulas,
    Service, TokenDemand, simulate,
};
use vramkit_report::{RiskCurve, RiskPicture};

use super::kept::Kept;
use super::report::within;
use crate::error::AskError;

/// Batches that are drawn, beside the first.
const BATCHES: u32 = 24;

/// Risks of batches around the one asked about, by each model.
pub(crate) fn picture(
    service: &Service,
    report: &OccupancyReport,
    batching: Batching,
    kept: &Kept,
) -> Result<RiskPicture, AskError> {
    let (mut exact, mut simulated, mut published) = (Vec::new(), Vec::new(), Vec::new());
    for seats in batches(report, batching) {
        if service.deadline.has_passed() {
            break;
        }
        let (batching, at) = (batching.with_seats(seats), f64::from(seats));
        let Some(capacity) = kept.tokens(seats)? else { continue };
        if let Some(over) = by_formulas(service, report, batching, capacity)? {
            published.push((at, over, over, over));
        }
        let found = match service.risk(batching, capacity) {
            Ok(risk) => risk,
            Err(OccupancyError::Refused { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        exact.push((at, found.probability, found.low, found.high));
        if (5e-3..=0.99).contains(&found.probability)
            && let Some(mean) = by_simulation(service, batching, capacity)?
        {
            // Two standard errors on the scale of logarithms, where a risk cannot be below 0.
            let reach = (2.0 * mean.standard_error / mean.mean.max(1e-12)).min(20.0).exp();
            if mean.mean > 0.0 {
                simulated.push((at, mean.mean, mean.mean / reach, (mean.mean * reach).min(1.0)));
            }
        }
    }
    let curve = |name: &str, points, bars| RiskCurve { name: name.to_owned(), points, bars };
    let batch = match batching {
        Batching::Threshold(batch) => format!("threshold {:.3} of the batch", batch.theta()),
        Batching::Continuous { .. } => "continuous batching".to_owned(),
    };
    let curves = [
        curve("vramkit, within two standard errors", exact, false),
        curve("simulated", simulated, true),
        curve("published formulas", published, false),
    ];
    Ok(RiskPicture {
        title: format!("{:.0} tokens of KV cache, {batch}", report.capacity_tokens.unwrap_or(0.0)),
        risk_of: format!("risk of running out {}", within(report)),
        // A curve and its name in the legend are both there or not.
        curves: curves.into_iter().filter(|curve| !curve.points.is_empty()).collect(),
        batch: f64::from(batching.seats()),
        risk: report.risk,
    })
}

/// From well below what is asked about and what fits to just above.
fn batches(occupancy: &OccupancyReport, batching: Batching) -> Vec<u32> {
    let asked = f64::from(batching.seats());
    let largest = f64::from(
        occupancy.batches.iter().filter_map(|batch| batch.max_batch).max().unwrap_or(batching.seats()),
    );
    let fit = f64::from(occupancy.mean_fit_batch.unwrap_or(batching.seats()));
    let (low, high) = (0.8 * largest.min(asked).min(fit), 1.04 * largest.max(asked).max(fit));
    let at = |i: u32| (low + (high - low) * f64::from(i) / f64::from(BATCHES)).round().max(1.0) as u32;
    let mut batches: Vec<u32> = (0..=BATCHES).map(at).collect();
    batches.dedup();
    batches
}

/// By the published formulas, cycle after cycle over the horizon; `None` where they do not hold.
fn by_formulas(
    service: &Service,
    report: &OccupancyReport,
    batching: Batching,
    capacity: f64,
) -> Result<Option<f64>, OccupancyError> {
    let Ok(formulas) = PublishedFormulas::new(batching.batch()?, service.lengths) else { return Ok(None) };
    let tail = formulas.tail(capacity - formulas.x0());
    let cycles = match service.horizon {
        Horizon::Cycle => 1.0,
        Horizon::Steps(steps) => (steps / report.cycle_steps).max(1.0),
    };
    Ok(Some(-(cycles * (-tail.min(1.0 - 1e-12)).ln_1p()).exp_m1()))
}

/// By simulation, where one of some seconds can meet the horizon.
fn by_simulation(
    service: &Service,
    batching: Batching,
    capacity: f64,
) -> Result<Option<Estimate>, OccupancyError> {
    match (batching, service.horizon) {
        (Batching::Threshold(_), Horizon::Steps(_)) => Ok(None),
        (Batching::Threshold(batch), Horizon::Cycle) => {
            let effort = Effort { seed: service.effort.seed ^ 0x51, ..service.effort };
            Ok(Some(simulate(batch, service.lengths, effort)?.exceeding(capacity)))
        }
        (Batching::Continuous { .. }, Horizon::Steps(steps)) if steps > 1e6 => Ok(None),
        (Batching::Continuous { seats }, horizon) => {
            let demand = TokenDemand::new(service.lengths, Population::Seats(seats), service.block)?;
            let (steps, runs) = match horizon {
                Horizon::Cycle => (0.0, 20_000),
                Horizon::Steps(steps) => (steps, (5e7 / steps).clamp(128.0, 4096.0) as u64),
            };
            demand.simulate_horizon(capacity, steps, runs, service.effort.seed).map(Some)
        }
    }
}
