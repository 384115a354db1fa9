//! How likely a KV cache is to run out, and the largest batch for a risk: traffic, a memory and a batch come in; a
//! probability with its bounds comes out, each figure with the method that found it. Takes no memory and opens no device.

mod answer;
mod ask;
mod flags;
mod kept;
mod picture;
mod question;
mod replicas;
mod report;
mod served;

pub use answer::CapacityAnswer;
pub use ask::capacity;
pub use flags::Serving;
pub use question::{CapacityQuestion, HorizonChoice, KvSource, Memory, ReplaySettings, TrafficSource};
pub use report::CapacityReport;
