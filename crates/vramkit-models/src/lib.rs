//! Reads files into a memory demand: how many bytes of weights, and which tensors live when.
//!
//! ```text
//! .onnx ──► onnx: shapes of every tensor ──► lifetimes ─┐
//! .csv ───► table ───────────────────────► lifetimes ──┼──► Demand ──► vramkit_plan
//! .toml, .json ──► workload (inline, or naming files) ──┘
//!
//! config.json, .gguf ──► kv: bytes of cache for a token ─┐
//! .csv, .jsonl, .json ─► traffic: lengths of requests ───┴─► vramkit-occupancy
//! ```
//!
//! Files are hostile until read: every length and offset is checked, and what is wrong is an error that names
//! the file and the place. Nothing here takes memory for a model or knows a device.

mod data_type;
mod demand;
mod error;
mod file;
pub mod kv;
mod model_file;
pub mod onnx;
mod read;
pub mod table;
pub mod traffic;
mod weights;
pub mod workload;

pub use data_type::DataType;
pub use demand::{ALIGNMENT, Demand, ReadOptions, Settings};
pub use error::ReadError;
pub use read::{read, read_all};
pub use weights::{WeightTensor, Weights};
