//! The program as scripts and people use it.

#![allow(clippy::unwrap_used)]

mod capacity;
mod common;
mod fit;
mod fit_sets;
mod generate;
mod gguf;
mod output;
mod plan;
mod plan_graphs;
mod plan_limits;
mod replay;
mod run;
mod stress;
mod validate;
