//! The command line: every option with its help and its reading, a file a command.

mod capacity;
mod cli;
mod completions;
mod devices;
mod fit;
mod generate;
mod parse;
mod plan;
mod replay;
mod report;
mod run;
mod schedule;
mod schema;
mod serve;
mod stress;
mod top;
mod validate;

pub use capacity::CapacityOptions;
pub use cli::{Cli, Command};
pub use completions::CompletionsOptions;
pub use devices::DevicesOptions;
pub use fit::{FitOptions, WriteArg};
pub use generate::GenerateOptions;
pub use parse::dimensions;
pub use plan::{OrderArg, PlanEngineArg, PlanOptions};
pub use replay::ReplayOptions;
pub use report::{FormatArg, ReportOptions};
pub use run::RunOptions;
pub use schema::SchemaOptions;
pub use serve::ServeOptions;
pub use stress::StressOptions;
pub use top::TopOptions;
pub use validate::{DatasetArg, ValidateOptions};
