//! How models run beside one another, as an option.

use clap::ValueEnum;
use vramkit::plan::Schedule;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ScheduleArg {
    /// On one clock, each model from its start step
    Fixed,
    /// One model at a time
    Sequential,
    /// In any interleaving
    Concurrent,
}

impl From<ScheduleArg> for Schedule {
    fn from(schedule: ScheduleArg) -> Self {
        match schedule {
            ScheduleArg::Fixed => Self::Fixed,
            ScheduleArg::Sequential => Self::Sequential,
            ScheduleArg::Concurrent => Self::Concurrent,
        }
    }
}
