//! Whole cards: models that were really loaded and run, beside the whole prediction, overhead and all.

use std::path::Path;

use vramkit_fit::{Backend, footprint};
use vramkit_testing::gguf::SparseModel;

use super::probes::{options, rows, written};

const MIB: f64 = 1_048_576.0;

/// A model on a card.
#[derive(Clone, Debug)]
pub struct Load {
    pub name: String,
    /// Type of weights, context, micro-batch, and what is unusual.
    pub settings: String,
    /// Bytes of llama.cpp's buffers, and as predicted.
    pub buffers: [f64; 2],
    /// Bytes used of the card, and as predicted.
    pub card: [f64; 2],
}

impl Load {
    /// The relative error of the whole prediction.
    pub fn error(&self) -> f64 {
        self.card[1] / self.card[0] - 1.0
    }
}

/// What is known of loads.
///
/// # Errors
/// Why nothing is predicted.
pub fn loads(scratch: &Path) -> Result<Vec<Load>, String> {
    let table = rows(include_str!("../../tests/data/llama_cpp_loads.csv"));
    let load = |row: super::probes::Row| -> Result<Load, String> {
        let header = written(&SparseModel::from_columns(|column| row.text(column)), scratch)?;
        let asked = options(&row, Backend::Cuda);
        let predicted = footprint(&header, &asked).map_err(|error| error.to_string())?;
        let buffers = predicted.device.total().unwrap_or_default();
        let all = buffers.bytes() + predicted.overhead.unwrap_or_default().bytes();
        let mut settings = format!(
            "{}, {} tokens, micro-batch {}",
            row.text("wtype"),
            row.text("n_ctx"),
            row.text("n_ubatch")
        );
        for (column, usual, what) in [
            ("fa", "auto", "flash attention"),
            ("type_k", "f16", "cache"),
            ("n_gpu_layers", "", "layers on the device"),
            ("n_outputs", "1", "rows of logits"),
            ("env", "", "environment"),
        ] {
            if row.text(column) != usual {
                settings += &format!(", {what} {}", row.text(column));
            }
        }
        Ok(Load {
            name: row.text("shape").to_owned(),
            settings,
            buffers: [row.number("buffers").unwrap_or(0.0), buffers.bytes() as f64],
            card: [row.number("card").unwrap_or(0.0), all as f64],
        })
    };
    table.into_iter().map(load).collect()
}

/// Prints the table.
///
/// # Errors
/// Why nothing is predicted.
pub fn print() -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let loads = loads(&scratch.path().join("model.gguf"))?;
    println!("### Models on a card (H200, CUDA), MiB\n");
    println!(
        "| model | settings | buffers | predicted | card | predicted | error |\n|---|---|---:|---:|---:|---:|---:|"
    );
    for load in &loads {
        let ([buffers, predicted], [card, all]) = (load.buffers, load.card);
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:+.2} % |",
            load.name,
            load.settings,
            buffers / MIB,
            predicted / MIB,
            card / MIB,
            all / MIB,
            100.0 * load.error()
        );
    }
    let within = loads.iter().filter(|load| load.error().abs() <= 0.03).count();
    println!("\nWithin 3 % of the card: {within} of {}.\n", loads.len());
    Ok(())
}
