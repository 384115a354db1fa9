//! One device from reading to reading: its level by the bytes that count, and growth and forecast of what is used. For a program's own
//! monitor and for who watches a machine.

use std::time::Duration;

use vramkit_units::ByteSize;

use crate::gauge::PressureGauge;
use crate::headroom::{DeviceUse, Headroom};
use crate::ladder::Ladder;
use crate::level::LevelChange;
use crate::series::{Finding, SeriesJudge};

/// Judges one device.
///
/// ```
/// use std::time::Duration;
/// use vramkit_pressure::{DeviceJudge, DeviceUse, Ladder, PressureLevel};
/// use vramkit_units::ByteSize;
///
/// let mut judge = DeviceJudge::default();
/// let used = ByteSize::gib(66);
/// let device = DeviceUse { total: ByteSize::gib(80), used, kept: ByteSize::ZERO, reserved: None, allocated: None };
/// let judged = judge.read(&Ladder::watch(), Duration::ZERO, used, Some(&device));
/// let (change, fraction) = judged.change.expect("the first level");
/// assert_eq!((change.to, fraction), (PressureLevel::High, 0.825));
/// ```
#[derive(Clone, Debug, Default)]
pub struct DeviceJudge {
    headroom: Headroom,
    gauge: PressureGauge,
    series: SeriesJudge,
}

/// What a reading means.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Judgement {
    /// A change of level, and the fraction that made it.
    pub change: Option<(LevelChange, f64)>,
    /// What has begun and ended in the series of used bytes.
    pub found: Vec<Finding>,
}

impl DeviceJudge {
    /// Takes a reading in, at the time `now` of a clock that does not go back: what is `used`, and how the `device` is taken,
    /// where its size is known.
    pub fn read<P>(
        &mut self,
        ladder: &Ladder<P>,
        now: Duration,
        used: ByteSize,
        device: Option<&DeviceUse>,
    ) -> Judgement {
        let fraction = device.and_then(|device| self.headroom.fraction(ladder, device, now));
        let change =
            fraction.and_then(|(fraction, _)| Some((self.gauge.read(ladder, fraction, now)?, fraction)));
        let found = self.series.push(now, used, device.map(DeviceUse::most));
        Judgement { change, found }
    }

    /// The level, and how often each was read.
    pub fn gauge(&self) -> &PressureGauge {
        &self.gauge
    }

    /// Growth and forecast.
    pub fn series(&self) -> &SeriesJudge {
        &self.series
    }
}
