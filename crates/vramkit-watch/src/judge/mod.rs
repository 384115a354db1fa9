//! What is kept of each device and each pool from tick to tick, and what follows from the next reading.
//!
//! In: a reading, and when. Out: a level, growth, a forecast, suspected leaks, and news. Never here: a source, or a clock.

mod decided;
mod device;
mod news;
mod pool;
mod pools;

#[cfg(test)]
pub(crate) use decided::decision;
pub(crate) use device::WatchedDevice;
pub(crate) use news::{FewNews, News};
pub(crate) use pools::WatchedPools;
