//! Writes a test model: `model --out FILE.gguf --architecture qwen3 --type q4_K …`.
//!
//! Without a preset it is the tiny model of the architecture; every size can be given.

#![allow(clippy::print_stderr)]

use std::path::PathBuf;
use std::process::ExitCode;

use vramkit_testing::gguf::{Architecture, RopeScaling, TestModel, WeightType};

const USAGE: &str = "usage: model --out FILE.gguf [--preset tiny|bench-130m|phi3-shaped] [--architecture NAME] [--type TYPE]
             [--embedding-type TYPE] [--seed N] [--layers N] [--hidden N] [--heads N] [--kv-heads N] [--head N]
             [--feed-forward N] [--vocabulary N] [--context N] [--window N] [--rope-base X] [--tied yes|no] [--biases yes|no]
             [--smol yes|no] [--rope-scaling none|linear:F|yarn:F:ORIGINAL|divisors:F|long:ORIGINAL:ATTENTION]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (model, out) = match read(&arguments) {
        Ok(read) => read,
        Err(reason) => {
            eprintln!("error: {reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match model.write(&out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot write `{}`: {error}", out.display());
            ExitCode::FAILURE
        }
    }
}

fn read(arguments: &[String]) -> Result<(TestModel, PathBuf), String> {
    let (pairs, rest) = arguments.as_chunks::<2>();
    if let Some(alone) = rest.first() {
        return Err(format!("`{alone}` has no value"));
    }
    let given = |option: &str| pairs.iter().find(|pair| pair[0] == option).map(|pair| pair[1].as_str());
    let architecture = match given("--architecture") {
        Some(name) => Architecture::named(name)
            .ok_or_else(|| format!("`{name}` is no architecture that can be made"))?,
        None => Architecture::Llama,
    };
    let mut model = match given("--preset").unwrap_or("tiny") {
        "tiny" => TestModel::tiny(architecture),
        "bench-130m" => TestModel::bench_130m(WeightType::Q8_0),
        "phi3-shaped" => TestModel::phi3_shaped(),
        other => return Err(format!("`{other}` is no preset")),
    };
    let mut out = None;
    for [option, value] in pairs {
        let number = || value.parse::<u64>().map_err(|_| format!("`{value}` of {option} is no number"));
        match option.as_str() {
            "--out" => out = Some(PathBuf::from(value)),
            "--preset" => {}
            "--architecture" => model.architecture = architecture,
            "--type" => model.kind = kind(value)?,
            "--embedding-type" => model.embedding_kind = Some(kind(value)?),
            "--seed" => model.seed = number()?,
            "--layers" => model.layers = number()?,
            "--hidden" => model.hidden = number()?,
            "--heads" => model.heads = number()?,
            "--kv-heads" => model.kv_heads = number()?,
            "--head" => model.head = number()?,
            "--feed-forward" => model.feed_forward = number()?,
            "--vocabulary" => model.vocabulary = number()?,
            "--context" => model.context = number()?,
            "--window" => model.window = number()?,
            "--rope-base" => model.rope_base = fraction(value)?,
            "--tied" => model.tied = yes(value)?,
            "--biases" => model.biases = yes(value)?,
            "--smol" => model.smol = yes(value)?,
            "--rope-scaling" => model.rope_scaling = scaling(value)?,
            other => return Err(format!("`{other}` is not known")),
        }
    }
    Ok((model, out.ok_or("--out is missing")?))
}

fn kind(name: &str) -> Result<WeightType, String> {
    WeightType::named(name).ok_or_else(|| {
        let names: Vec<_> = WeightType::ALL.into_iter().map(WeightType::name).collect();
        format!("`{name}` is no type: it is one of {}", names.join(", "))
    })
}

fn yes(word: &str) -> Result<bool, String> {
    match word {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => Err(format!("`{other}` is neither yes nor no")),
    }
}

fn fraction(text: &str) -> Result<f32, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn scaling(text: &str) -> Result<RopeScaling, String> {
    let parts: Vec<_> = text.split(':').collect();
    let tokens = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no number of tokens"));
    match parts.as_slice() {
        ["none"] => Ok(RopeScaling::None),
        ["linear", factor] => Ok(RopeScaling::Linear { factor: fraction(factor)? }),
        ["yarn", factor, original] => {
            Ok(RopeScaling::Yarn { factor: fraction(factor)?, original: tokens(original)? })
        }
        ["divisors", factor] => Ok(RopeScaling::Divisors { factor: fraction(factor)? }),
        ["long", original, attention] => {
            Ok(RopeScaling::Long { original: tokens(original)?, attention: fraction(attention)? })
        }
        _ => Err(format!("`{text}` is no scaling of positions")),
    }
}
