//! Several machines that each serve a share of the requests: the risk of any of them, and that of one.

use vramkit_occupancy::OccupancyReport;

use super::question::CapacityQuestion;

#[derive(Clone, Copy, Debug)]
pub(super) struct Replicas(f64);

impl Replicas {
    pub(super) fn new(count: u32) -> Self {
        Self(f64::from(count))
    }

    /// The risk that each may have where any of them has so much.
    pub(super) fn of_one(self, of_any: f64) -> f64 {
        if self.0 == 1.0 { of_any } else { -((-of_any).ln_1p() / self.0).exp_m1() }
    }

    fn of_any(self, of_one: f64) -> f64 {
        if self.0 == 1.0 || of_one >= 1.0 { of_one } else { -((-of_one).ln_1p() * self.0).exp_m1() }
    }

    /// Makes the risks of one machine in a report those of any.
    pub(super) fn complete(self, occupancy: &mut OccupancyReport, question: &CapacityQuestion) {
        if self.0 == 1.0 {
            return;
        }
        occupancy.risk = question.risk();
        for risk in [
            &mut occupancy.probability,
            &mut occupancy.probability_low,
            &mut occupancy.probability_high,
            &mut occupancy.cold_start_probability,
        ] {
            *risk = risk.map(|risk| self.of_any(risk));
        }
        for batch in &mut occupancy.batches {
            batch.risk = self.of_any(batch.risk);
        }
    }
}
