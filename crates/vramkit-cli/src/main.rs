//! The `vramkit` program: see the library of the same package.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(vramkit_cli::program(std::env::args_os(), Vec::new()))
}
