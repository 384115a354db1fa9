//! Inference whose every byte (weights, KV cache, activations) is granted by vramkit.

pub mod attention;
pub mod kernels;
pub mod text;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
