//! What is kept of each device and each pool from tick to tick, and what follows from the next reading.
//!
//! In: a reading, and when. Out: a level, growth, a forecast, suspected leaks, and news. Never here: a source, a clock, or
//! a bound on how many devices and pools there are.

mod decided;
mod device;
mod news;
mod pool;

pub(crate) use device::WatchedDevice;
pub(crate) use news::News;
pub(crate) use pool::WatchedPool;
