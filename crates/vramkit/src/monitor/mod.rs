//! Watching.
mod forecast;
pub mod leak;
mod stall;
pub use forecast::{Forecast, Forecaster, sampling_period};
pub use stall::{Stall, StallMeter, StallTimes, Waiting, Working};
