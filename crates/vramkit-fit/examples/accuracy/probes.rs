//! What llama.cpp's dry runs said of a model, beside what is predicted from its header.
//!
//! In: the tables `tests/data/llama_cpp_*.csv`, to the byte, or those of a folder that was named, as llama.cpp prints (whole MiB, or
//! hundredths). Out: [`Probe`]s, each with what was [`Measured`]; [`Probe::compare`] writes the model's file, a header and a hole, and
//! reads it as any other.

use std::collections::HashMap;
use std::path::Path;

use vramkit_fit::{
    Backend, FitError, FitOptions, Footprint, GpuLayers, Part, Runtime, VULKAN_CARD_RANGE, footprint,
};
use vramkit_models::gguf::TensorType;
use vramkit_models::header::ModelHeader;
use vramkit_testing::gguf::SparseModel;

const MIB: f64 = 1_048_576.0;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Weights.
    Weights,
    /// Weights that are kept rearranged for the processor.
    Rearranged,
    /// Keys, values and states.
    Cache,
    /// Working memory.
    Workspace,
}

/// One figure of llama.cpp's.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub quantity: Quantity,
    pub on_device: bool,
    pub bytes: f64,
    /// How far off a figure may be that is printed the same, bytes.
    pub printed_to: f64,
}

/// One dry run.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The table that it is in, without its ending.
    pub table: String,
    /// The line in it, from 2 on.
    pub line: usize,
    /// The published model whose sizes these are; empty for made-up ones.
    pub name: String,
    pub model: SparseModel,
    pub options: FitOptions,
    pub measured: Vec<Measured>,
}

/// A figure beside its prediction.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    pub measured: Measured,
    pub predicted: f64,
}

impl Compared {
    /// The relative error, 0..; 0 for what would be printed the same.
    pub fn error(&self) -> f64 {
        let off = (self.predicted - self.measured.bytes).abs();
        if off <= self.measured.printed_to { 0.0 } else { off / self.measured.bytes.max(1.0) }
    }
}

impl Probe {
    /// What is predicted, beside what was measured.
    ///
    /// # Errors
    /// Why nothing is predicted.
    pub fn compare(&self, scratch: &Path) -> Result<(Footprint, Vec<Compared>), String> {
        let header = written(&self.model, scratch)?;
        let predicted = footprint(&header, &self.options).map_err(|error: FitError| error.to_string())?;
        let compared = self.measured.iter().map(|&measured| {
            let part = if measured.on_device { &predicted.device } else { &predicted.host };
            Compared { measured, predicted: bytes(part, measured.quantity) }
        });
        let compared = compared.collect();
        Ok((predicted, compared))
    }

    /// Where it is, for messages.
    pub fn place(&self) -> String {
        format!("{}.csv:{} ({} {})", self.table, self.line, self.model.architecture, self.name)
    }
}

/// A model's header, read from a file that is written for it.
///
/// # Errors
/// What the system says, and what the reader does.
pub fn written(model: &SparseModel, scratch: &Path) -> Result<ModelHeader, String> {
    model.write(scratch).map_err(|error| error.to_string())?;
    ModelHeader::read(scratch).map_err(|error| error.to_string())
}

fn bytes(part: &Part, quantity: Quantity) -> f64 {
    let sum = match quantity {
        Quantity::Weights => part.weights.unwrap_or_default().bytes(),
        Quantity::Rearranged => part.rearranged_weights.bytes(),
        Quantity::Cache => part.kv.bytes() + part.state.bytes(),
        Quantity::Workspace => part.workspace.unwrap_or_default().bytes(),
    };
    sum as f64
}

/// A row of a table.
pub struct Row {
    pub line: usize,
    columns: HashMap<String, String>,
}

impl Row {
    /// What a column says; nothing for one that is not there.
    pub fn text(&self, column: &str) -> &str {
        self.columns.get(column).map_or("", String::as_str)
    }

    /// A number, where there is one.
    pub fn number(&self, column: &str) -> Option<f64> {
        self.text(column).parse().ok()
    }

    fn yes(&self, column: &str) -> bool {
        ["1", "True"].contains(&self.text(column))
    }
}

/// The rows of a table.
pub fn rows(table: &str) -> Vec<Row> {
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let names: Vec<String> = reader.headers().into_iter().flatten().map(str::to_owned).collect();
    let numbered = (2..).zip(reader.records().flatten());
    numbered
        .map(|(line, row)| Row {
            line,
            columns: names.iter().cloned().zip(row.iter().map(str::to_owned)).collect(),
        })
        .collect()
}

/// What a row says was set.
pub fn options(row: &Row, backend: Backend) -> FitOptions {
    let count = |column: &str| row.text(column).parse().ok();
    let mut options = FitOptions::new(Runtime::LlamaCpp, backend);
    options.context = count("n_ctx");
    options.sequences = count("n_seq");
    options.batch = count("n_batch");
    options.micro_batch = count("n_ubatch");
    options.outputs = count("n_outputs").or(count("n_outputs_max"));
    options.kv_unified = row.yes("kv_unified");
    options.swa_full = row.yes("swa_full");
    options.cache_type_k = TensorType::named(row.text("type_k"));
    options.cache_type_v = TensorType::named(row.text("type_v"));
    options.flash_attention = row.text("fa").parse().unwrap_or_default();
    options.gpu_layers = count("n_gpu_layers").map_or(GpuLayers::All, GpuLayers::Last);
    options
}

/// The tables of this crate: measured to the byte.
pub fn own() -> Vec<Probe> {
    let mut probes = exact("llama_cpp_cpu", Backend::Cpu, include_str!("../../tests/data/llama_cpp_cpu.csv"));
    let software = include_str!("../../tests/data/llama_cpp_vulkan.csv");
    probes.extend(exact("llama_cpp_vulkan", Backend::Vulkan, software));
    let card = include_str!("../../tests/data/llama_cpp_vulkan_card.csv");
    let card = exact("llama_cpp_vulkan_card", Backend::Vulkan, card);
    probes.extend(card.into_iter().map(|mut probe| {
        probe.options.largest_tensor = Some(VULKAN_CARD_RANGE);
        probe
    }));
    probes.extend(exact(
        "llama_cpp_cuda",
        Backend::Cuda,
        include_str!("../../tests/data/llama_cpp_cuda.csv"),
    ));
    probes
}

fn exact(table: &str, backend: Backend, text: &str) -> Vec<Probe> {
    let mut probes = all(table, backend, text, |row| {
        let of = |quantity, on_device, column| Measured {
            quantity,
            on_device,
            bytes: row.number(column).unwrap_or(0.0),
            printed_to: 0.0,
        };
        if backend == Backend::Cpu {
            return vec![
                of(Quantity::Weights, true, "weights"),
                of(Quantity::Cache, true, "cache"),
                of(Quantity::Workspace, true, "workspace"),
            ];
        }
        vec![
            of(Quantity::Weights, true, "device_weights"),
            of(Quantity::Cache, true, "device_cache"),
            of(Quantity::Workspace, true, "device_workspace"),
            of(Quantity::Weights, false, "host_weights"),
            of(Quantity::Rearranged, false, "host_rearranged"),
            of(Quantity::Cache, false, "host_cache"),
            of(Quantity::Workspace, false, "host_workspace"),
        ]
    });
    probes.iter_mut().for_each(without_padding);
    probes
}

/// Buffers round each tensor up to the back end's alignment, which is counted as no weight: exactly known where all tensors are in
/// one buffer, and else less than the alignment of each tensor.
fn without_padding(probe: &mut Probe) {
    let tensors = probe.model.file().tensors;
    let all = |alignment: u64| ((alignment - 1) * (tensors.len() as u64 + 1)) as f64;
    let backend = probe.options.backend;
    let weights = |each: &&mut Measured| [Quantity::Weights, Quantity::Rearranged].contains(&each.quantity);
    for measured in probe.measured.iter_mut().filter(weights) {
        match (backend, measured.on_device) {
            (Backend::Cpu, _) => {
                let padding =
                    tensors.iter().map(|tensor| tensor.bytes().next_multiple_of(32) - tensor.bytes());
                measured.bytes -= padding.sum::<u64>() as f64;
            }
            (Backend::Cuda, true) => measured.printed_to = all(128),
            (Backend::Vulkan, true) => measured.printed_to = all(16),
            (Backend::Vulkan, false) => measured.printed_to = all(64),
            _ => measured.printed_to = all(32),
        }
    }
}

/// The tables `oracle.csv` and `oracle_vulkan.csv` of a folder, as llama.cpp prints.
///
/// # Errors
/// Neither can be read.
pub fn printed(folder: &Path) -> Result<Vec<Probe>, String> {
    let read =
        |name: &str| std::fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}"));
    let mut probes = all("oracle", Backend::Cpu, &read("oracle.csv")?, printed_by_cpu);
    probes.extend(all("oracle_vulkan", Backend::Vulkan, &read("oracle_vulkan.csv")?, printed_by_vulkan));
    Ok(probes)
}

fn printed_by_cpu(row: &Row) -> Vec<Measured> {
    let of = |quantity, mib: Option<f64>, printed_to| {
        Some(Measured { quantity, on_device: true, bytes: mib? * MIB, printed_to: printed_to * MIB })
    };
    let weights = of(Quantity::Weights, row.number("weights_exact_mib"), 0.000_06);
    let whole = of(Quantity::Weights, row.number("model_mib"), 1.0);
    let cache = row.number("kv_mib_2dp").unwrap_or(0.0) + row.number("rs_mib_2dp").unwrap_or(0.0);
    let cache = of(Quantity::Cache, Some(cache), 0.0101);
    let workspace = of(Quantity::Workspace, row.number("compute_mib_2dp"), 0.0051);
    [weights.or(whole), cache, workspace].into_iter().flatten().collect()
}

fn printed_by_vulkan(row: &Row) -> Vec<Measured> {
    let of = |on_device, quantity, column: &str, printed_to| {
        Some(Measured { quantity, on_device, bytes: row.number(column)? * MIB, printed_to: printed_to * MIB })
    };
    let figures = [
        of(true, Quantity::Weights, "device_model_mib", 1.0),
        of(true, Quantity::Cache, "device_context_mib", 1.0),
        of(true, Quantity::Workspace, "device_compute_mib", 0.0051),
        of(false, Quantity::Weights, "host_model_mib", 1.0),
        of(false, Quantity::Cache, "host_context_mib", 1.0),
        of(false, Quantity::Workspace, "host_compute_mib", 0.0051),
    ];
    figures.into_iter().flatten().collect()
}

fn all(table: &str, backend: Backend, text: &str, measured: impl Fn(&Row) -> Vec<Measured>) -> Vec<Probe> {
    let probe = |row: Row| Probe {
        table: table.to_owned(),
        line: row.line,
        name: row.text("shape").to_owned(),
        model: SparseModel::from_columns(|column| row.text(column)),
        options: options(&row, backend),
        measured: measured(&row),
    };
    rows(text).into_iter().map(probe).collect()
}
