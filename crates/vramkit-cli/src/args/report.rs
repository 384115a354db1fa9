//! Options of `vramkit report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Draw documents again: a plan, a fit, a validation, or several validations side by side
///
/// Everything is drawn from the JSON alone, as `--json` prints it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit report memory_validation_results/alpaca_memory_validation.json
  vramkit report alpaca_memory_validation.json sharegpt_memory_validation.json --output both --format pdf,html
  vramkit plan examples/three-models.toml --json > plan.json && vramkit report plan.json --format svg,pdf")]
pub struct ReportOptions {
    /// Documents: vramkit.validate/1, vramkit.plan/1, vramkit.fit/1
    #[arg(value_name = "FILE.json", required = true)]
    pub files: Vec<PathBuf>,
    /// What files are called, without their endings [default: as the first document]
    #[arg(long, value_name = "STEM")]
    pub output: Option<PathBuf>,
    /// What is written [default: all that there is of the document]
    #[arg(long, value_enum, value_name = "F,...", value_delimiter = ',')]
    pub format: Vec<FormatArg>,
}

/// What a drawing is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// All pages, vector, fonts embedded
    Pdf,
    /// The first page
    Svg,
    /// The first page, two pixels for each of the SVG's
    Png,
    /// A page for a browser; of validations
    Html,
}
