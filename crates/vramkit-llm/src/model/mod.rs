//! A model as the engine computes it: what its keys say, where its weights lie, how they get there, one step of all its sequences.
//!
//! ```text
//! GgufFile ──► hyper ──► tensors ──► source (packs into granted memory) ─┐
//!                └─────► step (lifetimes of activations) ──► forward ◄───┘
//! ```

pub(crate) mod arena;
mod attending;
pub(crate) mod batch;
mod failure;
pub(crate) mod forward;
pub(crate) mod hyper;
pub(crate) mod rotations;
pub(crate) mod source;
pub(crate) mod step;
pub(crate) mod tensors;
