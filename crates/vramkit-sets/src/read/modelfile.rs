//! An Ollama Modelfile: one model, from a file, with parameters.
//!
//! `FROM` may name a file or a model of Ollama's library; only a file can be read here. Ollama adds options of its own that the
//! file does not have, so what is counted is llama.cpp's with what the file says.

use vramkit_fit::{FitOptions, GpuLayers, Runtime};

use super::place::Place;
use crate::command::Found;
use crate::error::SetsError;
use crate::file::{Kind, SetsFile};

/// What Ollama takes where neither the file nor its environment says otherwise, on cards of under 24 GiB.
const DEFAULT_CONTEXT: u64 = 4_096;

/// Tokens of a batch, and of a micro-batch, likewise.
const DEFAULT_BATCH: u64 = 512;

/// Instructions that are no memory's.
const OTHERS: &[&str] = &["TEMPLATE", "SYSTEM", "LICENSE", "MESSAGE", "REQUIRES", "RENDERER", "PARSER"];

pub(super) fn read(place: &Place<'_>, text: String) -> Result<SetsFile, SetsError> {
    let mut found = Found::new(FitOptions::new(Runtime::LlamaCpp, place.reading.backend));
    found.options.context = Some(DEFAULT_CONTEXT);
    found.options.sequences = Some(1);
    found.options.batch = Some(DEFAULT_BATCH);
    found.options.micro_batch = Some(DEFAULT_BATCH);
    let mut context_given = false;
    let mut at = None;
    for (number, line) in instructions(&text) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word.to_ascii_uppercase().as_str() {
            "FROM" if rest.is_empty() => return Err(place.invalid(number, "`FROM` has no model")),
            "FROM" => {
                at.get_or_insert(number);
                if found.model.is_some() {
                    found.note(format!("line {number}: `FROM {rest}` is a further part and is not counted"));
                } else {
                    let path = rest.contains(['/', '\\']) || rest.ends_with(".gguf");
                    found.remote = !(path || place.folder.join(rest).exists());
                    found.model = Some(rest.trim_matches('"').to_owned());
                }
            }
            "PARAMETER" => {
                let (name, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                let value = value.trim();
                let whole = || {
                    value.parse::<u64>().map_err(|_| {
                        place.invalid(number, format!("`{name}` is a whole number, not `{value}`"))
                    })
                };
                match name.to_ascii_lowercase().as_str() {
                    "num_ctx" => {
                        found.options.context = Some(whole()?).filter(|context| *context > 0);
                        context_given = true;
                    }
                    "num_batch" => {
                        found.options.batch = Some(whole()?);
                        found.options.micro_batch = found.options.batch;
                    }
                    "num_gpu" if value == "-1" => found.options.gpu_layers = GpuLayers::All,
                    "num_gpu" => found.options.gpu_layers = GpuLayers::Last(whole()?),
                    "draft_num_predict" | "main_gpu" | "low_vram" | "f16_kv" | "vocab_only" => {
                        found.note(format!("`{name} {value}` is not covered"));
                    }
                    _ => {}
                }
            }
            "ADAPTER" => found.note(format!("line {number}: the adapter `{rest}` is not counted")),
            "DRAFT" => found.note(format!("line {number}: the draft model `{rest}` is not counted")),
            other if OTHERS.contains(&other) => {}
            _ => found.note(format!("line {number}: `{word}` is no instruction that is known")),
        }
    }
    let Some(at) = at else { return Err(place.invalid(1, "there is no `FROM`")) };
    if !context_given {
        found.note(format!("`num_ctx` is not given: counted are {DEFAULT_CONTEXT} tokens, and Ollama takes more on larger cards"));
    }
    found.note("OLLAMA_NUM_PARALLEL, OLLAMA_KV_CACHE_TYPE and OLLAMA_FLASH_ATTENTION of the server are not known here".to_owned());
    let path = std::path::Path::new(&place.file);
    let named = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    let generic = |name: &String| name.to_ascii_lowercase().starts_with("modelfile");
    // A file that is only called Modelfile is known by its folder.
    let name = path.file_stem().map(named).filter(|name| !generic(name));
    let name = name.or_else(|| place.folder.file_name().map(named)).unwrap_or_else(|| "Modelfile".to_owned());
    let mut entry = place.entry(&name, at, found);
    if let (Some(written), true) = (&entry.written, entry.missing.is_some() && entry.model.is_none()) {
        entry.missing = entry.missing.map(|reason| {
            if reason.contains("name on a hub") {
                format!("`{written}` is of Ollama's library, and its file is not named")
            } else {
                reason
            }
        });
    }
    let file = place.file.clone();
    Ok(SetsFile {
        file,
        kind: Kind::Modelfile,
        entries: vec![entry],
        promised: Vec::new(),
        memory: None,
        notes: Vec::new(),
        text,
    })
}

/// Instructions with their lines. Text in three quotes may have several lines, which are no instructions.
fn instructions(text: &str) -> Vec<(usize, &str)> {
    let mut inside = false;
    let mut found = Vec::new();
    for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
        let was_inside = inside;
        inside ^= line.matches("\"\"\"").count() % 2 == 1;
        let line = line.trim();
        if !was_inside && !line.is_empty() && !line.starts_with('#') {
            found.push((number, line));
        }
    }
    found
}
