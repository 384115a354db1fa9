//! Errors of the libraries in the words of this program: which option gives what is missing.
//!
//! A library says what is wrong and knows no option. Where an option is the way out, this says so; everything else is said as
//! the library says it.

use vramkit_ask::{
    AdapterError, Alternative, AskError, LoadError, OfGraphs, QuestionError, ReadError, ReadTraceError,
    RunError, ValidateError,
};
use vramkit_serve::ServeError;
use vramkit_watch::record::ReadRecordError;

/// An error, with the options that help.
pub fn in_options(error: &AskError) -> String {
    match error {
        AskError::Question(question) => in_question(question),
        AskError::Read(read) => in_reading(read),
        AskError::Run(RunError::Capacity(shortage)) => {
            let alternatives: Vec<String> = shortage.alternatives.iter().map(in_alternative).collect();
            format!("{}: {}", shortage.need(), alternatives.join("; "))
        }
        AskError::Load(load) => match &**load {
            LoadError::InsufficientVram { model, required, available, device } => format!(
                "model `{model}` needs {}, {} available on {device}: try a larger --capacity, a smaller --ctx or --ubatch, fewer \
                 --threads, or --cache-type q8_0",
                required.beside(*available),
                available.beside(*required)
            ),
            other => other.to_string(),
        },
        AskError::Engine(engine) => match &**engine {
            AdapterError::OutOfCache { tokens, needed, available } => format!(
                "the keys and values of {tokens} tokens need {}, and {} may be had: try a larger --capacity, fewer \
                 --max-output-tokens, or --cache-type q8_0",
                needed.beside(*available),
                available.beside(*needed)
            ),
            other => other.to_string(),
        },
        AskError::Validate(ValidateError::Load(load)) => match &**load {
            LoadError::InsufficientVram { model, required, available, device } => format!(
                "model `{model}` needs {}, {} available on {device}: try a smaller --batch-size, --ctx or --max-output-tokens, or a \
                 larger --capacity",
                required.beside(*available),
                available.beside(*required)
            ),
            other => other.to_string(),
        },
        AskError::Validate(ValidateError::Engine(engine)) => match &**engine {
            AdapterError::OutOfCache { tokens, needed, available } => format!(
                "the keys and values of {tokens} tokens need {}, and {} may be had: try a larger --kv-limit, or shorter requests (--ctx, \
                 --max-output-tokens)",
                needed.beside(*available),
                available.beside(*needed)
            ),
            other => other.to_string(),
        },
        AskError::Validate(ValidateError::Read(error @ ReadError::BadRow { .. })) => in_reading(error),
        AskError::Validate(error @ ValidateError::KvLimit { .. }) => {
            format!("{error}: try a larger --kv-limit, or shorter requests (--ctx, --max-output-tokens)")
        }
        AskError::Validate(error @ ValidateError::NoPrompts { too_long: true, .. }) => {
            format!("{error}: --ctx gives a longer context, --scale shorter lengths of a log")
        }
        AskError::Validate(error @ ValidateError::OtherKind { .. }) => {
            format!("{error}: --dataset and its --alpaca-path or --sharegpt-path go together")
        }
        AskError::Validate(error @ ValidateError::OtherExperiment { .. }) => {
            format!("{error} (--output-dir is the folder)")
        }
        AskError::ReadTrace(error @ ReadTraceError::Readings { .. }) => {
            format!("{error}; `vramkit top --replay` shows it")
        }
        error => error.to_string(),
    }
}

fn in_alternative(alternative: &Alternative) -> String {
    match alternative {
        Alternative::Schedule { schedule, bytes } => format!("--schedule {schedule} would fit ({bytes})"),
        alternative => alternative.to_string(),
    }
}

fn in_question(error: &QuestionError) -> String {
    match error {
        QuestionError::MakespanWithoutClock { schedule } => format!(
            "--makespan chooses when models start on one clock; the {schedule} schedule has none (--schedule fixed)"
        ),
        QuestionError::NoGraph { what, files } => match option_of_graphs(*what) {
            Some(option) => format!("{option} acts on ONNX graphs, and there is none in {files}"),
            None => error.to_string(),
        },
        QuestionError::SeveralPools { workload, .. } => {
            format!("{error}; `vramkit plan {workload}` places them")
        }
        QuestionError::NoTraffic => "give --lengths, or --prompt-mean with --termination".to_owned(),
        QuestionError::NoBatch => {
            "give --batch, a capacity to find the largest batch for, or --arrival-rate".to_owned()
        }
        QuestionError::CardWithoutModel => "--gpu-memory needs --model: what vLLM leaves beside it".to_owned(),
        QuestionError::ColdStartAtAMoment => format!("{error} (--horizon)"),
        QuestionError::OrderWithoutLog => "--order as-logged needs --lengths".to_owned(),
        QuestionError::ArrivalRate(rate) => format!("--arrival-rate {rate}: more than 0 requests a second"),
        QuestionError::NoCacheSize(_) => format!("{error}: give --capacity-tokens, or --capacity with --model"),
        QuestionError::NoShape => {
            "--capacity in bytes needs to know what a token takes: give --model, or --layers, --kv-heads and --head-dim; or \
             --capacity-tokens"
                .to_owned()
        }
        QuestionError::NoStepTime => {
            "a horizon in time needs --step-seconds: how long a decode step takes (0.025 is 40 tokens a second for each \
             sequence)"
                .to_owned()
        }
        QuestionError::StepTime(step) => format!("--step-seconds {step}: a step takes more than 0 seconds"),
        QuestionError::CapacityOfPools { .. } => {
            format!("{error}: leave --capacity out, or plan without `pools`")
        }
        QuestionError::ReplayWithoutLog => format!("{error}: --replay needs --lengths"),
        QuestionError::ReplayWithoutCapacity => "--replay needs a capacity".to_owned(),
        QuestionError::PictureWithoutCapacity => {
            "--svg draws risk against batch: it needs a capacity".to_owned()
        }
        QuestionError::NoSets => "--write gives a --sets file back with what fits in it: it needs that, and --memory or --device".to_owned(),
        QuestionError::OptionBesideSets(what) => match option_beside_sets(what) {
            Some(option) => format!("{option} does not act on --sets: the options in that file count, model by model"),
            None => error.to_string(),
        },
        QuestionError::Zero(what) => match option_of(what) {
            Some(option) => format!("{option} 0: {error}"),
            None => error.to_string(),
        },
        QuestionError::ProcessorOnCard { .. } => format!("{error}: give --device host, or another --backend"),
        QuestionError::Utilization(part) => {
            format!("--gpu-memory-utilization {part}: above 0 and at most 1 of the device's memory")
        }
        QuestionError::Layers { asked, layers, .. } => {
            format!("--gpu-layers {asked}: {error}; {} at most, or --gpu-layers all", layers.saturating_add(1))
        }
        QuestionError::CacheType { error: cause, .. } => format!("--cache-type {}: {error}", cause.name),
        error => error.to_string(),
    }
}

/// By which option a number is given that must not be 0.
fn option_of(what: &str) -> Option<&'static str> {
    let options = [
        ("number of replicas", "--replicas"),
        ("context", "--ctx"),
        ("number of sequences", "--seqs"),
        ("batch", "--batch"),
        ("micro-batch", "--ubatch"),
        ("step", "--max-num-batched-tokens"),
        ("number of sequences in a step", "--max-num-seqs"),
        ("number of devices", "--tensor-parallel"),
        ("number of threads", "--threads"),
        ("memory", "--memory"),
    ];
    options.into_iter().find(|(name, _)| *name == what).map(|(_, option)| option)
}

/// By which option that is said which the file of `--sets` says of each model.
fn option_beside_sets(what: &str) -> Option<&'static str> {
    let options = [
        ("an engine", "--runtime"),
        ("a context", "--ctx"),
        ("a number of sequences", "--seqs"),
        ("a cache type", "--cache-type"),
        ("a type of cached keys", "--cache-type-k"),
        ("a type of cached values", "--cache-type-v"),
        ("a batch", "--batch"),
        ("a micro-batch", "--ubatch"),
        ("flash attention", "--flash-attn"),
        ("one cache for all sequences", "--kv-unified"),
        ("windows that keep everything", "--swa-full"),
        ("a number of layers", "--gpu-layers"),
        ("a part of the memory", "--gpu-memory-utilization"),
        ("a step", "--max-num-batched-tokens"),
        ("a number of sequences in a step", "--max-num-seqs"),
        ("a number of devices", "--tensor-parallel"),
        ("drafted tokens", "--draft-tokens"),
        ("a graph's dimension", "--dim"),
    ];
    options.into_iter().find(|(name, _)| *name == what).map(|(_, option)| option)
}

/// By which option something is asked that only graphs have.
fn option_of_graphs(what: OfGraphs) -> Option<&'static str> {
    match what {
        OfGraphs::Order => Some("--order memory"),
        OfGraphs::Recompute => Some("--recompute"),
        OfGraphs::InPlace => Some("--in-place"),
        OfGraphs::Engine => Some("--engine"),
        OfGraphs::Shapes => Some("--shapes"),
        _ => None,
    }
}

/// As a shell takes it for one word.
fn shell_word(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "_-./=:,+@%".contains(letter);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

fn in_reading(error: &ReadError) -> String {
    match error {
        ReadError::MissingDimensions { open, .. } => {
            let options: Vec<String> = open
                .iter()
                .take(20)
                .map(|open| format!("--dim {}", shell_word(&format!("{}=N", open.name))))
                .collect();
            format!("{error}; give {}, or `dims` in a workload", options.join(" "))
        }
        ReadError::KvShapeUnknown { .. } => format!("{error}; give --layers, --kv-heads and --head-dim"),
        ReadError::NoColumns { .. } => format!("{error} (--columns prompt=…,output=…)"),
        ReadError::BadRow { .. } => format!("{error} (--skip-bad-rows leaves such rows out)"),
        error => error.to_string(),
    }
}

/// Why nothing can be served, with the options that help.
pub fn in_serving(error: &ServeError) -> String {
    match error {
        ServeError::TokenRequired(_) => format!("{error}; give --token-file, or listen on 127.0.0.1"),
        ServeError::Listen { .. } => {
            format!("{error}; is another one running? try --listen 127.0.0.1:0")
        }
        error => error.to_string(),
    }
}

/// Why a recording cannot be read, with what writes one.
pub fn in_recording(error: &ReadRecordError) -> String {
    match error {
        ReadRecordError::NoTick { .. } => {
            format!("{error}; recordings are written by `vramkit top --record`")
        }
        error => error.to_string(),
    }
}
