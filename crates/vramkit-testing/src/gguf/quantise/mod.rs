//! Weights as files keep them: 32-bit numbers become blocks of one of ggml's types, and back.
//!
//! In: rows of finite numbers. Out: blocks that any reader of the type understands, made by rounding to the nearest value that a
//! block can say. Never here: importance of weights, or blocks equal to llama.cpp's own quantiser's, which searches longer. What a
//! block means is written down here a second time, so that a kernel under test and this would have to be wrong in the same way.

mod back;
mod blocks;
mod fives_and_fours;
mod rounding;
mod super_blocks;
mod weight_type;

pub use back::dequantise;
pub use blocks::quantise;
pub(super) use blocks::quantise_into;
pub use weight_type::WeightType;
