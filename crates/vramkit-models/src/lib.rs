//! Reads files into a memory demand: how many bytes of weights, and which tensors live when.
//!
//! In: paths, and what the user says about files ([`ReadOptions`]). Out: a [`Demand`] (models with lifetimes and
//! [`Weights`], settings, a schedule), what a model keeps of a sequence, or the lengths of requests. Never here: memory for a
//! model, a device, a decision.
//!
//! ```text
//! .onnx ──► onnx: shapes of every tensor ──► lifetimes ─┐   (and Weights, which stay in their file)
//! .csv ───► table ───────────────────────► lifetimes ──┼──► Demand ──► vramkit_plan
//! .toml, .json ──► workload (inline, or naming files) ──┘
//!
//! config.json, .gguf, .safetensors ──► header: what each layer keeps ─► vramkit-fit
//! .csv, .jsonl, .json, .parquet ─────► traffic: lengths of requests ──► vramkit-occupancy
//! an engine's log, its metrics ──────► serving: what its KV cache has ─► vramkit-occupancy
//! .json, .jsonl ─────────────────────► chats: what was asked and said ─► vramkit-validate
//! ```
//!
//! Files are hostile until read: every length and offset is checked, and what is wrong is an error that names
//! the file and the place.
//!
//! ```
//! use vramkit_models::{ReadOptions, read};
//! use vramkit_plan::{MemoryPlanner, Schedule};
//! use vramkit_units::ByteSize;
//!
//! # let folder = std::env::temp_dir().join(format!("vramkit-models-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("net.csv");
//! std::fs::write(&path, "id,lower,upper,size\na,0,2,100\nb,1,3,100\nc,2,4,100\n")?;
//! let demand = read(&path, &ReadOptions::default())?;
//! let plan = MemoryPlanner::new().plan(&demand.models, Schedule::Fixed)?;
//! assert_eq!(plan.arena_size, ByteSize::new(200));
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod cache_type;
pub mod chats;
mod config;
mod data_type;
mod demand;
mod error;
mod file;
pub mod gguf;
mod graph_source;
mod graphs;
pub mod header;
mod input;
mod model_file;
pub mod onnx;
mod read;
mod safetensors;
pub mod serving;
pub mod shape;
mod source;
mod stored;
pub mod table;
mod table_cells;
pub mod traffic;
mod weights;
pub mod workload;

pub use cache_type::CacheType;
pub use data_type::DataType;
pub use demand::{ALIGNMENT, Demand, ReadOptions, Settings};
pub use error::{LackingColumns, MissingLength, ReadError};
pub use read::{read, read_all};
pub use weights::{WeightTensor, Weights};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
