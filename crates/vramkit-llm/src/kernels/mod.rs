//! Arithmetic over packed weights: repacking, quantising, products, and the threads that share them.
//!
//! In: weights as a GGUF file has them, activations in f32, memory that the caller grants. Out: products, the same to the
//! bit at every level of instructions, for any number of tokens in a call and any number of threads. Never: memory of its
//! own beyond a hundred kilobytes of stack and a list of the call's matrices, a horizontal sum.
//!
//! Weights are repacked at load in tiles of 8 rows × 4 columns, two tiles side by side: each 32-bit lane of a register
//! belongs to one row, and the instruction that multiplies bytes and adds four products in a lane does just what is needed.
//! `form` says how they lie in memory, [`multiply`] in which order sums are made, [`Level`] for which instructions there
//! are kernels.
//!
//! Products with floating-point weights have kernels of their own too: no crate of such products gives the same bits for
//! one token as for many.
//!
//! ```
//! use vramkit_llm::kernels::{Packed, Product, Threads, activation_bytes, multiply, pack, packed_bytes, quantise};
//! use vramkit_models::gguf::TensorType;
//!
//! // Two rows of 32 weights: 1, and 2.
//! let weights: Vec<u8> = [1.0_f32, 2.0].iter().flat_map(|w| [*w; 32]).flat_map(f32::to_le_bytes).collect();
//! let threads = Threads::new(2);
//! let mut memory = vec![0; packed_bytes(TensorType::F32, 2, 32)? + 64];
//! let start = memory.as_ptr().align_offset(64);
//! let memory = &mut memory[start..][..packed_bytes(TensorType::F32, 2, 32)?];
//! pack(TensorType::F32, 2, 32, &weights, memory, &threads)?;
//! let weights = Packed::new(TensorType::F32, 2, 32, memory)?;
//!
//! let x = [0.5; 32];
//! let mut records = vec![0; activation_bytes(1, 32)];
//! let x = quantise(&x, 1, 32, &mut records, &threads);
//! let mut out = [0.0; 2];
//! multiply(&threads, &x, &mut [Product { weights, out: &mut out, stride: 2 }]);
//! assert_eq!(out, [16.0, 32.0]);
//! # Ok::<(), vramkit_llm::kernels::PackError>(())
//! ```

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod error;
mod form;
mod job;
mod level;
mod multiply;
mod pack;
mod packed;
mod plain;
#[cfg(test)]
mod tests;
mod threads;
mod unpack;

pub use activations::{Activations, activation_bytes, quantise};
pub use error::PackError;
pub(crate) use form::ROWS;
pub use form::packed_bytes;
pub use level::{LEVEL_VARIABLE, Level};
pub use multiply::{Product, multiply, multiply_with};
pub use pack::pack;
pub use packed::Packed;
pub use threads::Threads;
