//! What is drawn before a program: a card, for how long, and when it is read.

use crate::random::Random;

pub(super) const MIB: f64 = 1_048_576.0;
pub(super) const GIB: f64 = 1024.0 * MIB;

/// Capacities of cards, in GiB.
pub(super) const CARDS: [f64; 11] = [8.0, 10.0, 12.0, 16.0, 24.0, 32.0, 40.0, 48.0, 80.0, 96.0, 141.0];
/// Usual times between readings, in seconds.
const PERIODS: [f64; 13] = [0.2, 0.5, 1.0, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// Readings in a series.
const READINGS: std::ops::RangeInclusive<f64> = 60.0..=15_000.0;

/// What is drawn before a program: a card and when it is read.
pub(super) struct Scene {
    pub(super) capacity: f64,
    pub(super) seconds: f64,
    pub(super) period: f64,
    /// When it is read, on a clock that does not step.
    pub(super) times: Vec<f64>,
    pub(super) has_gaps: bool,
}

impl Scene {
    pub(super) fn draw(least_seconds: f64, has_gaps: bool, random: &mut Random) -> Self {
        let capacity = CARDS[random.below(CARDS.len() as u64) as usize] * GIB;
        let seconds = random.between_log(least_seconds, 86_400.0);
        let allowed: Vec<f64> =
            PERIODS.iter().copied().filter(|period| READINGS.contains(&(seconds / period))).collect();
        let period = allowed[random.below(allowed.len() as u64) as usize];
        let mut scene = Self { capacity, seconds, period, times: Vec::new(), has_gaps };
        scene.sample(random);
        scene
    }

    /// Draws when it is read: evenly, or a little off each time.
    pub(super) fn sample(&mut self, random: &mut Random) {
        let off = if random.unit() < 0.5 { 0.0 } else { random.between(0.0, 0.1) * self.period };
        let mut time = 0.0;
        self.times.clear();
        while time < self.seconds {
            self.times.push(time);
            time += self.period + off * (random.unit() - 0.3);
        }
    }
}
