//! Options of `vramkit schema`.

use clap::{Args, ValueEnum};
use vramkit_ask::Document;

/// Print the JSON Schema of a result
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vramkit schema plan\n  vramkit schema run")]
pub struct SchemaOptions {
    /// The result's name
    #[arg(value_enum)]
    pub name: SchemaName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SchemaName {
    Plan,
    Run,
    Replay,
    Capacity,
    Devices,
    Top,
    History,
}

impl From<SchemaName> for Document {
    fn from(name: SchemaName) -> Self {
        match name {
            SchemaName::Plan => Self::Plan,
            SchemaName::Run => Self::Run,
            SchemaName::Replay => Self::Replay,
            SchemaName::Capacity => Self::Capacity,
            SchemaName::Devices => Self::Devices,
            SchemaName::Top => Self::Top,
            SchemaName::History => Self::History,
        }
    }
}
