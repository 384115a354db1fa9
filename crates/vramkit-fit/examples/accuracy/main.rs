//! How well the predictions of this crate agree with what engines print, as tables.
//!
//! ```text
//! cargo run --release -p vramkit-fit --example accuracy                      llama.cpp: dry runs, logs, planned arenas
//! cargo run --release -p vramkit-fit --example accuracy -- --oracles DIR     and the dry runs of that folder
//! cargo run --release -p vramkit-fit --example accuracy -- --bars DIR        those alone, which must be as good as is promised
//! cargo run --release -p vramkit-fit --example accuracy -- vllm              vLLM: logs
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod llama_cpp;
mod loads;
mod logs;
mod planned;
mod probes;
mod vllm;
mod vllm_models;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => of_llama_cpp(None),
        ["--oracles", folder] => of_llama_cpp(Some(Path::new(folder))),
        ["--bars", folder] => bars(Path::new(folder)),
        ["vllm"] => {
            vllm::print();
            Ok(())
        }
        _ => Err("there is: nothing, `--oracles DIR`, `--bars DIR`, or `vllm`".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn bars(folder: &Path) -> Result<(), String> {
    let missed = llama_cpp::missed_bars(&probes::printed(folder)?).map_err(|error| error.to_string())?;
    if missed.is_empty() { Ok(()) } else { Err(missed.join("; ")) }
}

fn of_llama_cpp(oracles: Option<&Path>) -> Result<(), String> {
    let system = |error: std::io::Error| error.to_string();
    llama_cpp::print("### Dry runs of llama.cpp, to the byte", &probes::own()).map_err(system)?;
    if let Some(folder) = oracles {
        let title = "### Dry runs of llama.cpp, as it prints them";
        llama_cpp::print(title, &probes::printed(folder)?).map_err(system)?;
    }
    loads::print()?;
    logs::print()?;
    planned::print()
}
