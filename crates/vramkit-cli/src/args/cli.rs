//! The program's commands.

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand};
use vramkit::ByteSize;

use super::capacity::CapacityOptions;
use super::completions::CompletionsOptions;
use super::devices::DevicesOptions;
use super::fit::FitOptions;
use super::generate::GenerateOptions;
use super::plan::PlanOptions;
use super::replay::ReplayOptions;
use super::report::ReportOptions;
use super::run::RunOptions;
use super::schema::SchemaOptions;
use super::serve::ServeOptions;
use super::stress::StressOptions;
use super::top::TopOptions;
use super::validate::ValidateOptions;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// GPU memory: will it fit, what can be shared, who holds it, what happens when it fills.
#[derive(Debug, Parser)]
#[command(name = "vramkit", version, styles = STYLES, max_term_width = 100, after_help = EXIT)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT: &str = "Exit status: 0 done and the answer is yes; 1 done and the answer is no; 2 bad usage or bad input; \
                    3 the device asked for is not here; 130 interrupted, and can be gone on with.";

#[derive(Debug, Subcommand)]
pub enum Command {
    Fit(FitOptions),
    Plan(PlanOptions),
    Run(RunOptions),
    Generate(GenerateOptions),
    Stress(StressOptions),
    Validate(ValidateOptions),
    Report(ReportOptions),
    Replay(ReplayOptions),
    Capacity(CapacityOptions),
    Devices(DevicesOptions),
    Top(TopOptions),
    Serve(ServeOptions),
    Schema(SchemaOptions),
    Completions(CompletionsOptions),
    /// Renders a chat template, for `generate` with `--chat`: a file's template may not end the program that asks
    #[command(hide = true)]
    ChatTemplate,
    /// Takes memory until its input ends, for the neighbour that `stress` has
    #[command(hide = true)]
    TakeMemory {
        /// How much
        size: ByteSize,
    },
}
