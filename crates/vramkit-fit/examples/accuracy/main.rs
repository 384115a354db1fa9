//! How well the predictions of this crate agree with what engines print, as tables.
//!
//! `cargo run -p vramkit-fit --example accuracy -- vllm`

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod vllm;
mod vllm_models;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("vllm") => vllm::print(),
        other => {
            eprintln!("no table {}; there is: vllm", other.unwrap_or("named"));
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
