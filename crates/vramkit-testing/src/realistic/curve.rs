//! Bytes at the times of readings, put together from functions of time, ramps and stays.

/// Bytes at each of the times.
pub(super) struct Curve<'a> {
    times: &'a [f64],
    bytes: Vec<f64>,
    /// What is more from each time on.
    steps: Vec<f64>,
}

impl<'a> Curve<'a> {
    /// Nothing yet.
    pub(super) fn new(times: &'a [f64]) -> Self {
        Self { times, bytes: vec![0.0; times.len()], steps: vec![0.0; times.len() + 1] }
    }

    /// Adds a function of seconds.
    pub(super) fn add(&mut self, mut bytes_at: impl FnMut(f64) -> f64) {
        self.times.iter().zip(&mut self.bytes).for_each(|(time, bytes)| *bytes += bytes_at(*time));
    }

    /// Adds bytes evenly over some seconds, from then on.
    pub(super) fn ramp(&mut self, from: f64, seconds: f64, bytes: f64) {
        let (first, last) = (self.index(from), self.index(from + seconds));
        for at in first..last {
            self.bytes[at] += bytes * (self.times[at] - from) / seconds;
        }
        self.steps[last] += bytes;
    }

    /// Adds bytes from a time on.
    pub(super) fn step(&mut self, at: f64, bytes: f64) {
        self.ramp(at, 0.0, bytes);
    }

    /// Adds bytes for a time.
    pub(super) fn stay(&mut self, from: f64, seconds: f64, bytes: f64) {
        self.step(from, bytes);
        self.step(from + seconds, -bytes);
    }

    /// The bytes at each time; never below 0.
    pub(super) fn finish(self) -> Vec<f64> {
        let mut sum = 0.0;
        let mut total = |(bytes, step): (f64, &f64)| {
            sum += step;
            (bytes + sum).max(0.0)
        };
        self.bytes.into_iter().zip(&self.steps).map(&mut total).collect()
    }

    fn index(&self, time: f64) -> usize {
        self.times.partition_point(|&at| at < time)
    }
}
