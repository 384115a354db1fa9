//! Options of `vramkit plan`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use vramkit::ByteSize;

use super::parse::{dimension, seconds};
use super::schedule::ScheduleArg;

/// Place the tensors of one or several models in one arena
///
/// Files are ONNX graphs, lifetime tables (MiniMalloc CSV: id,lower,upper,size, where upper is the first step after a
/// life; or id,start,end,size, where end is the last step of it; with a counter for each of several clocks where there are several, as
/// in 3;0;5) and workloads (TOML, JSON). Takes no memory:
/// the answer is an offset for each tensor, the arena that holds them, and a lower bound that says how far it can be from
/// the optimum.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit plan examples/three-models.toml
  vramkit plan examples/three-models.toml --schedule sequential --svg plan.svg
  vramkit plan examples/vision.toml --capacity 12MiB --json
  vramkit plan examples/three-models.toml --capacity 320MB --explain
  vramkit plan examples/three-models.toml --makespan 45
  vramkit plan model.onnx --order memory --recompute
  vramkit plan model.onnx --dim batch=1 --engine ort")]
pub struct PlanOptions {
    /// ONNX graphs, lifetime tables, workloads
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How the models run beside one another [default: the workload's; else fixed for one file, sequential for several]
    #[arg(long, value_enum)]
    pub schedule: Option<ScheduleArg>,
    /// Stop at the first plan that fits; exit with 1 if there is none, or none was found
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<ByteSize>,
    /// How long to search for better orders and a better plan than the first answers; Ctrl-C and SIGTERM end it with the
    /// best so far
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub deadline: Duration,
    /// Where the search's random choices start
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Threads that search, up to 64 [default: as many as there are]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Alignment of tensors without one of their own [default: 1 in lifetime tables, else 256]
    #[arg(long, value_name = "BYTES", value_parser = alignment)]
    pub alignment: Option<u64>,
    /// Size of a graph's symbolic dimension, by its name or its place (`input[0]`), of any tensor; repeat for several
    #[arg(long = "dim", value_name = "NAME=N", value_parser = dimension)]
    pub dims: Vec<(String, u64)>,
    /// Shapes that a runtime measured, for tensors of graphs whose sizes depend on data: JSON ({"tensor": [1, 300, 4]}), or a
    /// profile of ONNX Runtime
    #[arg(long, value_name = "FILE.json")]
    pub shapes: Option<PathBuf>,
    /// Say besides what an engine plans for ONNX graphs by its own rules, at one of its levels of optimisation
    #[arg(long, value_enum)]
    pub engine: Option<PlanEngineArg>,
    /// Run the nodes of ONNX graphs in the file's order, or in the one found that has least live at most
    #[arg(long, value_enum, default_value_t = OrderArg::File)]
    pub order: OrderArg,
    /// As --order memory, and cheap operators of ONNX graphs run again rather than keep what they made, where that has less live at most
    #[arg(long)]
    pub recompute: bool,
    /// Choose when each model starts, so that all end within so many steps and least is live at most (fixed schedule)
    #[arg(long, value_name = "STEPS")]
    pub makespan: Option<u64>,
    /// Let operators of ONNX graphs that can work in place write over their input, where the arena is then no larger
    #[arg(long)]
    pub in_place: bool,
    /// Write the lifetimes with their offsets as a table
    #[arg(long, value_name = "FILE.csv")]
    pub output: Option<PathBuf>,
    /// Draw the plan
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Write the lifetimes as a workload, to be run or edited
    #[arg(long, value_name = "FILE.toml")]
    pub export: Option<PathBuf>,
    /// Say how the plan came about, where the bound comes from, and why a capacity cannot be met
    #[arg(long)]
    pub explain: bool,
    /// Print the result as JSON (vramkit.plan/1)
    #[arg(long)]
    pub json: bool,
}

/// The order in which graphs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OrderArg {
    /// The file's own
    File,
    /// The one that has least live at most
    Memory,
}

/// An engine whose own plan is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanEngineArg {
    /// ONNX Runtime on a processor like this one, with all that it optimises by default
    Ort,
    /// ONNX Runtime without its own layout of channels
    OrtExtended,
    /// ONNX Runtime without kernels for several nodes either
    OrtBasic,
}

fn alignment(text: &str) -> Result<u64, String> {
    let bytes: u64 = text.parse().map_err(|_| "not a number of bytes".to_owned())?;
    if bytes.is_power_of_two() { Ok(bytes) } else { Err("not a power of two".to_owned()) }
}
