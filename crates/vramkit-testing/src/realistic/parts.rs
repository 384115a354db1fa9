//! What workloads and leaks are put together from: starts, teeth, tenants, loads, noise.

use std::f64::consts::TAU;

use super::curve::Curve;
use super::scene::{GIB, MIB};
use crate::random::Random;

/// A program that has been there before, or one that starts: its context, and soon all of it.
pub(super) fn start(curve: &mut Curve, base: f64, random: &mut Random) {
    if random.unit() < 0.5 {
        return curve.add(|_| base);
    }
    let context = (random.between(0.2, 0.6) * GIB).min(base / 2.0);
    curve.add(|_| context);
    curve.ramp(random.between(0.0, 60.0), random.between_log(1.0, 180.0), base - context);
}

/// At equal distances, nearly.
pub(super) fn every_so_often(
    every: f64,
    end: f64,
    random: &mut Random,
    mut act: impl FnMut(f64, &mut Random),
) {
    let mut at = every * random.unit();
    while at < end {
        act(at, random);
        at += every * random.between(0.97, 1.03);
    }
}

/// What is reserved is the greatest demand so far.
pub(super) fn records(
    curve: &mut Curve,
    most: f64,
    end: f64,
    every: f64,
    random: &mut Random,
    mut demand: impl FnMut(&mut Random) -> f64,
) {
    let (mut greatest, mut at) = (0.0, 0.0);
    while at < end {
        let now = (demand(random).clamp(0.0, most.max(0.0)) / (2.0 * MIB)).ceil() * 2.0 * MIB;
        if now > greatest {
            curve.step(at, now - greatest);
            greatest = now;
        }
        at += random.exponential(every);
    }
}

/// Tenants of several sizes, on a card that is full to a part at most.
pub(super) fn tenants(curve: &mut Curve, card: f64, end: f64, most: f64, random: &mut Random) {
    let (lasting, size) = (random.between_log(120.0, end), random.between(0.02, 0.2));
    let every = lasting * size / random.between(0.3, 0.7);
    let mut there: Vec<(f64, f64)> = Vec::new();
    // Those that are there when one begins to look.
    let mut at = -3.0 * lasting;
    while at < end {
        there.retain(|(gone, _)| *gone > at);
        let (bytes, stays) = (card * size * random.between_log(0.3, 3.0), random.exponential(lasting));
        if there.iter().map(|tenant| tenant.1).sum::<f64>() + bytes < most * card && at + stays > 0.0 {
            there.push((at + stays, bytes));
            curve.stay(at.max(0.0), at + stays - at.max(0.0), bytes);
        }
        at += random.exponential(every);
    }
}

/// Cells that add, at once or over a minute, cells that free, kernels that are restarted.
pub(super) fn notebook(curve: &mut Curve, card: f64, end: f64, random: &mut Random) {
    let every = random.between_log(20.0, 900.0);
    let (mut at, mut held) = (random.exponential(every), 0.5 * GIB);
    curve.add(|_| 0.5 * GIB);
    while at < end {
        let draw = random.unit();
        let change = if draw < 0.55 {
            let more = card * random.between_log(0.003, 0.2);
            if held + more > 0.95 * card { 0.0 } else { more }
        } else if draw < 0.85 {
            -(held - 0.5 * GIB) * random.unit()
        } else if draw < 0.93 {
            0.5 * GIB - held
        } else {
            0.0
        };
        curve.ramp(at, if change > 0.0 { random.between_log(0.5, 60.0) } else { 0.0 }, change);
        held += change;
        at += random.exponential(every);
    }
}

/// A load that follows a period; what it holds is noisier the more it is.
pub(super) fn load(curve: &mut Curve, base: f64, more: f64, period: f64, random: &mut Random) {
    let (phase, noise) = (random.unit(), random.between(0.0, 0.3));
    let sharp = random.between(0.7, 2.0);
    let mut ar = Ar::new(random.between_log(10.0, 1200.0), noise);
    curve.add(|t| {
        let part = (0.5 + 0.5 * (TAU * (t / period + phase)).sin()).powf(sharp);
        base + more * (part * (1.0 + ar.next(t, random))).max(0.0)
    });
}

/// Rises that end at random, each given back at once.
pub(super) fn teeth(curve: &mut Curve, height: f64, end: f64, random: &mut Random) {
    let (mean, spread) = (random.between_log(5.0, (end / 4.0).min(2400.0)), random.between(0.0, 0.6));
    let rate = height / mean;
    let mut at = -mean * random.unit();
    while at < end {
        let lasting = mean * random.between(1.0 - spread, 1.0 + spread);
        let from = at.max(0.0);
        if at + lasting > 0.0 {
            curve.step(from, rate * (from - at));
            curve.ramp(from, at + lasting - from, rate * (at + lasting - from));
            curve.step(at + lasting, -rate * lasting);
        }
        at += lasting;
    }
}

/// An autoregressive process of order 1, read at any times (of Ornstein and Uhlenbeck).
pub(super) struct Ar {
    time: f64,
    deviation: f64,
    now: Option<(f64, f64)>,
}

impl Ar {
    pub(super) fn new(time: f64, deviation: f64) -> Self {
        Self { time, deviation, now: None }
    }

    pub(super) fn next(&mut self, at: f64, random: &mut Random) -> f64 {
        let memory = self.now.map_or(0.0, |(before, _)| (-(at - before) / self.time).exp());
        let kick = self.deviation * (1.0 - memory * memory).sqrt();
        let value = memory * self.now.map_or(0.0, |now| now.1) + kick * random.normal();
        self.now = Some((at, value));
        value
    }
}
