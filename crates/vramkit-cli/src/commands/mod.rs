//! One file a command.

pub mod capacity;
pub mod completions;
pub mod devices;
pub mod fit;
pub mod generate;
pub mod plan;
pub mod replay;
pub mod report;
pub mod run;
pub mod schema;
pub mod serve;
pub mod stress;
pub mod top;
pub mod validate;
