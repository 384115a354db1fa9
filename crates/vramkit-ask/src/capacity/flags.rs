//! An answer in the words of engines: the options that they are started with.

use std::str::FromStr;

use vramkit_occupancy::MAX_SEATS;

use super::report::CapacityReport;
use crate::error::QuestionError;

/// An engine that options are told for.
///
/// ```
/// use vramkit_ask::Serving;
///
/// assert_eq!("llama.cpp".parse(), Ok(Serving::LlamaCpp));
/// assert!("torch".parse::<Serving>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Serving {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// llama.cpp's server.
    LlamaCpp,
}

impl FromStr for Serving {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        match text.to_ascii_lowercase().as_str() {
            "vllm" => Ok(Self::Vllm),
            "sglang" => Ok(Self::Sglang),
            "llama.cpp" | "llamacpp" | "llama-server" => Ok(Self::LlamaCpp),
            _ => Err(QuestionError::NoSuchEngine(text.to_owned())),
        }
    }
}

/// Most sequences at once, the tokens of the cache and the longest sequence, as far as a report knows them.
pub(super) fn flags(engine: Serving, report: &CapacityReport) -> Vec<String> {
    let occupancy = &report.occupancy;
    let largest =
        if occupancy.capacity_tokens.is_some() { occupancy.max_batch } else { Some(occupancy.batch) };
    // Where any number will do it is the one that was asked about, if any was.
    let sequences = match largest {
        Some(MAX_SEATS..) => Some(occupancy.batch).filter(|_| report.seats_limited),
        largest => largest.filter(|&batch| batch > 0),
    };
    let tokens =
        occupancy.capacity_tokens.or(occupancy.capacity_tokens_needed).map(|tokens| tokens.floor() as u64);
    let block = u64::from(report.block_tokens);
    // A request is as long with its prefix as without it; a context is given with it.
    let beside = f64::from(report.shared_prefix_tokens);
    let of_traffic = occupancy.traffic.largest.map(|largest| (largest + beside).ceil() as u64);
    let longest = report.max_model_len.map(u64::from).or(of_traffic);
    let mut found = Vec::new();
    let mut option = |name: &str, value: Option<u64>| {
        if let Some(value) = value {
            found.push(format!("{name} {value}"));
        }
    };
    let sequences = sequences.map(u64::from);
    match engine {
        Serving::Vllm => {
            option("--max-num-seqs", sequences);
            option("--max-model-len", longest);
            if block > 1 {
                option("--block-size", Some(block));
                option("--num-gpu-blocks-override", tokens.map(|tokens| tokens / block));
            }
        }
        Serving::Sglang => {
            option("--max-running-requests", sequences);
            option("--context-length", longest);
            option("--max-total-tokens", tokens);
            option("--page-size", Some(block).filter(|&block| block > 1));
        }
        Serving::LlamaCpp => {
            option("--parallel", sequences);
            option("--ctx-size", tokens);
            // One cache for all sequences: else each has an equal share of it for itself.
            found.push("--kv-unified".to_owned());
        }
    }
    found
}
