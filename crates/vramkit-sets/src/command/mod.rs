//! The command that starts a server, as the options of a footprint.
//!
//! In: a command line and its environment. Out: the engine, its options, the model as it is written, what is not covered.
//! Never here: files; whether the model is there is looked at by who knows the folder.

mod container;
mod found;
mod llama_server;
mod llama_server_options;
mod server;
mod vllm;
mod words;

use server::{program, server};
use vramkit_fit::{Backend, FitOptions, Runtime};

pub(crate) use found::Found;
pub(crate) use llama_server::from_keys;
pub(crate) use words::{split, until_shell};

/// Commands within commands (`env … sh -c "…"`); deeper ones are not looked at.
const MOST_WRAPPERS: usize = 8;

/// Programs that start another one, with the options of theirs that take a value of their own.
const WRAPPERS: &[(&str, &str)] = &[
    ("chrt", ""),
    ("env", "-u -C -S"),
    ("exec", "-a"),
    ("ionice", "-c -n"),
    ("nice", "-n"),
    ("nohup", ""),
    ("numactl", ""),
    ("setsid", ""),
    ("stdbuf", "-i -o -e"),
    ("sudo", "-u -g"),
    ("taskset", ""),
    ("time", ""),
    ("timeout", "-k -s"),
    ("uv", "--python --with -p"),
    ("uvx", "--python --with --from -p"),
];

/// What a command line says. `variables` are the environment that the manager gives it.
pub(crate) fn read(words: &[String], variables: &[(String, String)], backend: Backend) -> Found {
    unwrap(words, variables.to_vec(), backend, 0)
}

fn unwrap(words: &[String], mut variables: Vec<(String, String)>, backend: Backend, depth: usize) -> Found {
    let mut words = words;
    while let Some((name, value)) = words.first().and_then(|word| assignment(word)) {
        variables.push((name.to_owned(), value.to_owned()));
        words = &words[1..];
    }
    let nothing = |reason: String| {
        let mut found = Found::new(FitOptions::new(Runtime::LlamaCpp, backend));
        found.refused(reason);
        found
    };
    let Some((first, rest)) = words.split_first() else { return nothing("the command is empty".to_owned()) };
    if depth >= MOST_WRAPPERS {
        return nothing(format!("more than {MOST_WRAPPERS} commands within each other"));
    }
    let program = program(first);
    if let Some(found) = server(program, rest, &variables, backend) {
        return found;
    }
    match program {
        "docker" | "podman" | "nerdctl" => container::read(rest, backend).unwrap_or_else(nothing),
        "sh" | "bash" | "zsh" | "dash" => {
            let script =
                rest.iter().position(|word| word.starts_with('-') && word.ends_with('c')).map(|at| at + 1);
            match script.and_then(|at| rest.get(at)).and_then(|script| split(script)) {
                Some(inner) => unwrap(until_shell(&inner), variables, backend, depth + 1),
                None => nothing(format!("`{first}` runs a script that is not looked into")),
            }
        }
        _ => match WRAPPERS.iter().find(|(name, _)| *name == program) {
            Some((_, with_value)) => unwrap(inner(program, rest, with_value), variables, backend, depth + 1),
            None => nothing(format!(
                "`{first}` is no server that is known; known are llama-server and vllm serve"
            )),
        },
    }
}

/// The command that a wrapper starts: after its options and, for some, an argument of its own.
fn inner<'a>(wrapper: &str, words: &'a [String], with_value: &str) -> &'a [String] {
    let mut at = 0;
    while let Some(word) = words.get(at).filter(|word| word.starts_with('-')) {
        at += 1 + usize::from(with_value.split_whitespace().any(|option| option == word));
        if word == "--" {
            break;
        }
    }
    let own = match wrapper {
        "timeout" | "taskset" | "chrt" => 1,
        "uv" => usize::from(words.get(at).is_some_and(|word| word == "run")),
        _ => 0,
    };
    let rest = words.get(at + own..).unwrap_or_default();
    // `uv run --with x vllm serve`, and what a wrapper's own argument is followed by.
    if own > 0 && rest.first().is_some_and(|word| word.starts_with('-')) {
        inner("", rest, with_value)
    } else {
        rest
    }
}

/// `NAME=value`.
fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let first = name.chars().next()?;
    let fits = (first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    fits.then_some((name, value))
}
