//! The command line: every option with its help and its reading.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use vramkit::ByteSize;
use vramkit::orchestrator::Verify;
use vramkit::plan::Schedule;
use vramkit::pressure::Ladder;
use vramkit_models::kv::CacheType;

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
                    3 the device asked for is not here.";

#[derive(Debug, Subcommand)]
pub enum Command {
    Plan(PlanOptions),
    Run(RunOptions),
    Replay(ReplayOptions),
    Capacity(CapacityOptions),
    Devices(DevicesOptions),
    Top(TopOptions),
    Serve(ServeOptions),
    Schema(SchemaOptions),
    Completions(CompletionsOptions),
}

/// Place the tensors of one or several models in one arena
///
/// Files are ONNX graphs, lifetime tables (MiniMalloc CSV: id,lower,upper,size, where upper is the first step after a
/// life; or id,start,end,size, where end is the last step of it) and workloads (TOML, JSON). Takes no memory:
/// the answer is an offset for each tensor, the arena that holds them, and a lower bound that says how far it can be from
/// the optimum.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit plan examples/three-models.toml
  vramkit plan examples/three-models.toml --schedule sequential --svg plan.svg
  vramkit plan examples/vision.toml --capacity 12MiB --json
  vramkit plan examples/three-models.toml --capacity 320MB --explain
  vramkit plan examples/three-models.toml --makespan 45
  vramkit plan model.onnx --order memory --recompute")]
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
    /// How long to search for a better plan than the first answers; Ctrl-C and SIGTERM end it with the best so far
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
    /// Size of a graph's symbolic dimension; repeat for several
    #[arg(long = "dim", value_name = "NAME=N", value_parser = dimension)]
    pub dims: Vec<(String, u64)>,
    /// Run the nodes of ONNX graphs in the file's order, or in the one that has least live at most
    #[arg(long, value_enum, default_value_t = OrderArg::File)]
    pub order: OrderArg,
    /// Run cheap operators of ONNX graphs again rather than keep what they made, where that has less live at most
    #[arg(long)]
    pub recompute: bool,
    /// Choose when each model starts, so that all end within so many steps and least is live at most (fixed schedule)
    #[arg(long, value_name = "STEPS")]
    pub makespan: Option<u64>,
    /// Let operators of ONNX graphs that can work in place write over their input
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

/// Plan a workload, bind it to real memory, execute and verify it
///
/// Every step of every model writes its tensors' patterns and checks those that it reads, on the memory that the
/// plan gives them, models on threads under the plan's schedule.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit run examples/three-models.toml
  vramkit run examples/three-models.toml --schedule concurrent --report run.html
  vramkit run examples/vision.toml --device sim --capacity 8GiB --perfetto trace.json")]
pub struct RunOptions {
    /// A workload (TOML, JSON)
    #[arg(value_name = "WORKLOAD")]
    pub workload: PathBuf,
    /// How the models run beside one another [default: the workload's]
    #[arg(long, value_enum)]
    pub schedule: Option<ScheduleArg>,
    /// Where the memory comes from: host, sim or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "host")]
    pub device: String,
    /// Most bytes of the pool [default: the workload's, else what the device has free]
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<ByteSize>,
    /// Check every byte of every tensor, or some of each page
    #[arg(long, value_enum, default_value_t = VerifyArg::Stride)]
    pub verify: VerifyArg,
    /// Write every decision as it is made, a JSON object a line
    #[arg(long, value_name = "FILE.jsonl")]
    pub trace: Option<PathBuf>,
    /// Write a trace for ui.perfetto.dev
    #[arg(long, value_name = "FILE.json")]
    pub perfetto: Option<PathBuf>,
    /// Write a page with the plan, memory over time and decisions
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Decide everything, take no memory
    #[arg(long)]
    pub dry_run: bool,
    /// Print the result as JSON (vramkit.run/1)
    #[arg(long)]
    pub json: bool,
}

/// Replay allocation traces against pool policies
///
/// Traces are text (a ID BYTES, f ID), RMM's CSV logs, what vramkit's pools record (JSON Lines) and PyTorch's CUDA
/// memory snapshots (pickles, read without running anything in them), gzip or not. Takes no memory: each policy
/// says how much it would have taken. Policies: default, exact, stepped, pow2 (vramkit's pool), best-fit, first-fit,
/// pytorch, pytorch-expandable, offline (a plan of the whole trace, the floor), all.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit replay examples/training.trace --policy all
  vramkit replay examples/training.trace --policy default,pytorch --svg memory.svg
  vramkit replay examples/rmm_log.csv --capacity 100MiB --json")]
pub struct ReplayOptions {
    /// Allocation traces
    #[arg(required = true, value_name = "TRACE")]
    pub traces: Vec<PathBuf>,
    /// Policies to replay against; several with commas
    #[arg(long, value_name = "P", value_delimiter = ',', default_value = "default,best-fit,pytorch,offline")]
    pub policy: Vec<String>,
    /// Most bytes that there are; exit with 1 if no policy gets through a trace with them
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<ByteSize>,
    /// Draw addresses over time, for the first trace and the first policy
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Print the result as JSON (vramkit.replay/1)
    #[arg(long)]
    pub json: bool,
}

/// How likely a KV cache is to run out, and the largest batch for a risk
///
/// Traffic is a log of lengths (CSV with prompt_tokens,output_tokens or Azure's headers, JSON Lines, Alpaca or ShareGPT JSON
/// at 4 characters a token), or prompts of one length with geometric outputs. Batching is continuous (a seat is refilled as
/// soon as its sequence ends) unless a threshold is given. A peak counts what a step writes before anything it ends is
/// freed. Each figure says by which method it was found; what nothing can stand behind is refused. Exit status 1 when the
/// risk is above --risk.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit capacity --batch 200 --prompt-mean 1000 --termination 0.005 --capacity-tokens 250000
  vramkit capacity --batch 128 --threshold 26 --prompt-mean 100 --termination 0.01 --capacity-tokens 28000
  vramkit capacity --batch 40 --lengths examples/requests.csv --capacity-tokens 60000 --horizon 1h --step-seconds 0.025
  vramkit capacity --batch 40 --lengths examples/requests.csv --capacity 8GiB --layers 32 --kv-heads 8 --head-dim 128")]
pub struct CapacityOptions {
    /// Sequences in the batch [default: the largest for --risk]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Replace ended sequences when so many have ended
    #[arg(long, value_name = "K", requires = "batch", conflicts_with = "continuous")]
    pub threshold: Option<u32>,
    /// Replace each ended sequence at once (the default)
    #[arg(long)]
    pub continuous: bool,
    /// Exact length of every prompt, tokens
    #[arg(long, value_name = "L", requires = "termination")]
    pub prompt_mean: Option<f64>,
    /// Probability that an output ends after a token: one over its mean length
    #[arg(long, value_name = "P", requires = "prompt_mean")]
    pub termination: Option<f64>,
    /// A log of lengths (.csv, .jsonl, .json)
    #[arg(long, value_name = "FILE", conflicts_with = "prompt_mean")]
    pub lengths: Option<PathBuf>,
    /// Leave rows of no or impossibly many tokens out instead of refusing the file
    #[arg(long, requires = "lengths")]
    pub skip_bad_rows: bool,
    /// Outputs are cut off at so many tokens
    #[arg(long, value_name = "N")]
    pub max_output: Option<u32>,
    /// Memory, tokens
    #[arg(long, value_name = "N", conflicts_with = "capacity")]
    pub capacity_tokens: Option<f64>,
    /// Memory of the KV cache; needs a model's shape
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<ByteSize>,
    /// The model whose tokens it holds: config.json, the folder that has it, or GGUF
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["layers", "kv_heads", "head_dim"])]
    pub model: Option<PathBuf>,
    /// Layers, for a model without a file
    #[arg(long, value_name = "N", requires_all = ["kv_heads", "head_dim"])]
    pub layers: Option<u64>,
    /// KV heads of a layer
    #[arg(long, value_name = "N", requires = "layers")]
    pub kv_heads: Option<u64>,
    /// Numbers in a head's key, and in its value
    #[arg(long, value_name = "N", requires = "layers")]
    pub head_dim: Option<u64>,
    /// How the cache's numbers are stored: f32, f16, bf16, fp8, q8_0, q5_1, q5_0, q4_1, q4_0
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    pub cache_type: CacheType,
    /// Tokens of a block that memory is granted in (continuous batching)
    #[arg(long, value_name = "TOKENS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub block: u32,
    /// The risk of running out that would do
    #[arg(long, value_name = "R")]
    pub risk: Option<f64>,
    /// For how long: cycle (a step drawn at random when continuous), decode steps, or a time such as 1h
    #[arg(long, value_name = "cycle|STEPS|TIME", default_value = "cycle", value_parser = horizon)]
    pub horizon: HorizonArg,
    /// Seconds that a decode step takes, for a horizon in time
    #[arg(long, value_name = "S")]
    pub step_seconds: Option<f64>,
    /// Also replay the log through a scheduler (first come first served, preempt and recompute)
    #[arg(long, requires = "lengths")]
    pub replay: bool,
    /// Part of the memory that the scheduler's admission leaves free
    #[arg(long, value_name = "F", default_value_t = 0.0, requires = "replay")]
    pub watermark: f64,
    /// Most tokens that the scheduler computes in a step
    #[arg(long, value_name = "N", default_value_t = 8192, requires = "replay")]
    pub token_budget: u32,
    /// Cycles to simulate; samples are drawn in proportion
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub cycles: u64,
    /// Where the random numbers start
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Draw risk against batch: published, exact, simulated
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Print the result as JSON (vramkit.capacity/1)
    #[arg(long)]
    pub json: bool,
}

/// For how long memory must do.
#[derive(Clone, Copy, Debug)]
pub enum HorizonArg {
    Cycle,
    Steps(f64),
    Time(Duration),
}

fn horizon(text: &str) -> Result<HorizonArg, String> {
    if text == "cycle" {
        return Ok(HorizonArg::Cycle);
    }
    if let Ok(steps) = text.parse::<f64>() {
        return Ok(HorizonArg::Steps(steps));
    }
    let time = humantime::parse_duration(text).map_err(|error| {
        format!("neither `cycle`, a number of steps nor a time such as 90s or 1h: {error}")
    })?;
    Ok(HorizonArg::Time(time))
}

/// Show what is here and how much memory it has
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vramkit devices\n  vramkit devices --json")]
pub struct DevicesOptions {
    /// Print the result as JSON (vramkit.devices/1)
    #[arg(long)]
    pub json: bool,
}

/// Watch who holds the memory of every device, how full it is and whether it leaks
///
/// Reads NVIDIA's and AMD's cards, this machine's memory (within its control group) and every pool that a process
/// publishes, by model and purpose. A screen on a terminal, one reading as text or JSON otherwise. Exit status 1 with
/// --once when a device is at level critical or a leak is suspected.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit top
  vramkit top --once --json
  vramkit top --interval 0.5 --record memory.jsonl
  vramkit top --replay memory.jsonl")]
pub struct TopOptions {
    /// Read once, print, end
    #[arg(long)]
    pub once: bool,
    /// Between two readings at most; they come sooner as headroom shrinks
    #[arg(long, value_name = "S", default_value = "1", value_parser = interval)]
    pub interval: Duration,
    /// Fractions from which on memory is elevated, high, critical
    #[arg(long, value_name = "F,F,F", value_parser = levels)]
    pub levels: Option<Levels>,
    /// Keep readings in a file, without a screen
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["replay", "once"])]
    pub record: Option<PathBuf>,
    /// Most bytes of it and its older part
    #[arg(long, value_name = "SIZE", default_value = "64MiB", requires = "record")]
    pub record_size: ByteSize,
    /// Show what was recorded
    #[arg(long, value_name = "FILE.jsonl", conflicts_with = "once")]
    pub replay: Option<PathBuf>,
    /// Print readings as JSON (vramkit.top/1), one object a line without --once
    #[arg(long)]
    pub json: bool,
}

/// Serve what top shows: OpenMetrics, JSON, events, a page
///
/// On loopback, only requests that name a loopback host are served. Any other address needs --token-file. SIGTERM ends it
/// with exit status 0.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit serve
  vramkit serve --listen 0.0.0.0:9835 --token-file /etc/vramkit/token
  curl http://127.0.0.1:9835/metrics")]
pub struct ServeOptions {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9835", value_parser = address)]
    pub listen: SocketAddr,
    /// A file with the token that requests must carry (Authorization: Bearer TOKEN)
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Between two readings at most; they come sooner as headroom shrinks
    #[arg(long, value_name = "S", default_value = "1", value_parser = interval)]
    pub interval: Duration,
    /// Fractions from which on memory is elevated, high, critical
    #[arg(long, value_name = "F,F,F", value_parser = levels)]
    pub levels: Option<Levels>,
    /// Keep readings in a file
    #[arg(long, value_name = "FILE.jsonl")]
    pub record: Option<PathBuf>,
    /// Most bytes of it and its older part
    #[arg(long, value_name = "SIZE", default_value = "64MiB", requires = "record")]
    pub record_size: ByteSize,
}

/// Print the JSON Schema of a result
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vramkit schema plan\n  vramkit schema run")]
pub struct SchemaOptions {
    /// The result's name
    #[arg(value_enum)]
    pub name: SchemaName,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit completions bash > ~/.local/share/bash-completion/completions/vramkit
  vramkit completions zsh > ~/.zfunc/_vramkit")]
pub struct CompletionsOptions {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ScheduleArg {
    /// On one clock, each model from its start step
    Fixed,
    /// One model at a time
    Sequential,
    /// In any interleaving
    Concurrent,
}

impl From<ScheduleArg> for Schedule {
    fn from(schedule: ScheduleArg) -> Self {
        match schedule {
            ScheduleArg::Fixed => Self::Fixed,
            ScheduleArg::Sequential => Self::Sequential,
            ScheduleArg::Concurrent => Self::Concurrent,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum VerifyArg {
    /// The ends of each tensor and 64 bytes of each page
    Stride,
    /// Every byte
    Full,
}

impl From<VerifyArg> for Verify {
    fn from(verify: VerifyArg) -> Self {
        match verify {
            VerifyArg::Stride => Self::Stride,
            VerifyArg::Full => Self::Full,
        }
    }
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

/// A ladder for watching.
#[derive(Clone, Debug)]
pub struct Levels(pub Ladder<()>);

fn levels(text: &str) -> Result<Levels, String> {
    let mut ladder = Ladder::watch();
    let mut given = text.split(',');
    for rung in &mut ladder.rungs {
        let number = given.next().ok_or("three fractions are needed, such as 0.6,0.8,0.9")?;
        rung.enter = number.trim().parse().map_err(|_| format!("`{number}` is not a fraction"))?;
        rung.exit = Some((rung.enter - 0.05).max(0.0));
    }
    if given.next().is_some() {
        return Err("three fractions are needed, such as 0.6,0.8,0.9".into());
    }
    ladder.check().map_err(|error| error.to_string())?;
    Ok(Levels(ladder))
}

/// Numbers, or a name of this machine.
fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text
        .to_socket_addrs()
        .map_err(|error| format!("{error}; write ADDRESS:PORT, such as 127.0.0.1:9835"))?;
    found.into_iter().next().ok_or_else(|| "no such address".to_owned())
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = seconds(text)?;
    let bounds = Duration::from_millis(50)..=Duration::from_secs(3600);
    if bounds.contains(&interval) { Ok(interval) } else { Err("between 0.05 and 3600 seconds".into()) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match seconds {
        _ if seconds.is_nan() => Err("not a number of seconds".to_owned()),
        _ if seconds < 0.0 => Err("a time is not negative".to_owned()),
        // More than can be told is no limit.
        _ => Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)),
    }
}

fn alignment(text: &str) -> Result<u64, String> {
    let bytes: u64 = text.parse().map_err(|_| "not a number of bytes".to_owned())?;
    if bytes.is_power_of_two() { Ok(bytes) } else { Err("not a power of two".to_owned()) }
}

fn dimension(text: &str) -> Result<(String, u64), String> {
    let (name, size) = text.rsplit_once('=').ok_or("expected NAME=N, such as batch=8")?;
    let size = size.parse().map_err(|_| format!("`{size}` is not a whole number"))?;
    Ok((name.to_owned(), size))
}
