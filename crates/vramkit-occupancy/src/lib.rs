//! How full a KV cache gets, and how likely it is to run out.
mod cycles;
mod demand;
mod error;
mod exact;
mod excursions;
mod horizon;
mod inversion;
mod lengths;
mod published;
mod random;
mod report;
mod risk;
mod scheduler;
mod seat;
mod tilted;

pub use cycles::{Batch, Convention, Cycles, Effort, Estimate, simulate, simulate_with};
pub use demand::{Demand, Population, Tail};
pub use error::OccupancyError;
pub use exact::Exact;
pub use excursions::{Excursions, Rarity};
pub use horizon::{HorizonMethod, HorizonRisk};
pub use inversion::Inverse;
pub use lengths::{Lengths, MAX_TOKENS, Request};
pub use published::Published;
pub use report::{BatchForRisk, CapacityReport, Predictions, Question, SCHEMA, TailPredictions, TrafficReport, answer};
pub use risk::{Batching, Horizon, Risk, RiskMethod, Service, check_risk};
pub use scheduler::{Moment, Replayed, Scheduler};
