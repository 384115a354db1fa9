//! Reads what a serving engine says of its KV cache: how many tokens it has, in what blocks, for how many sequences.
//!
//! ```text
//! a log of starting up, or /metrics ─► line by line ─► each engine's reader ─► Figures (with their lines)
//!                                                                                  │ the least of those that differ
//!                                                                                  ▼
//!                                                                            ServingCache
//! ```
//!
//! vLLM's log of either engine and its `/metrics`, SGLang's log and `/metrics`, llama.cpp's, TensorRT-LLM's and Text Generation
//! Inference's logs. Where lines differ, as those of several workers do, the least figure counts and a note says so: a
//! sequence needs room on each of them. Lines of anything else are passed over.
//!
//! ```
//! use vramkit_models::serving::{Engine, read_serving_text};
//!
//! let log = "INFO 05-01 12:00:00 [kv_cache_utils.py:634] GPU KV cache size: 299,584 tokens
//! INFO 05-01 12:00:00 [kv_cache_utils.py:637] Maximum concurrency for 4,096 tokens per request: 73.14x";
//! let cache = read_serving_text(log)?;
//! assert_eq!((cache.engine, cache.kv_tokens, cache.max_model_len), (Engine::Vllm, Some(299_584), Some(4096)));
//! assert_eq!(cache.lines[0].line, 1);
//! # Ok::<(), vramkit_models::serving::ServingError>(())
//! ```

mod cache;
mod figures;
mod llama;
mod metrics;
mod sglang;
mod tensorrt;
mod text;
mod tgi;
mod vllm;

use std::io::{BufRead, Read};
use std::path::Path;

use crate::error::ReadError;
use crate::input::{Input, cannot_read, name_of};

pub use cache::{Engine, Figure, FigureLine, ServingCache, ServingError};

/// A line that is longer is cut: what counts stands near its beginning, or it is no log's.
const LONGEST_LINE: u64 = 1 << 20;

/// Reads what an engine printed.
///
/// # Errors
/// Text that has none of the lines that are known, or lines of several engines.
pub fn read_serving_text(text: &str) -> Result<ServingCache, ServingError> {
    let mut reader = Reader::default();
    text.lines().for_each(|line| reader.line(line));
    reader.finish("the text")
}

/// Reads what an engine printed into a file; the path `-` is standard input, and gzip is unpacked.
///
/// # Errors
/// As [`read_serving_text`], and what cannot be read.
pub fn read_serving(path: &Path) -> Result<ServingCache, ServingError> {
    let name = name_of(path);
    let mut input = Input::open(path)?;
    let mut reader = Reader::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| cannot_read(&name, error))? == 0 {
            return reader.finish(&name);
        }
        if line.contains(&0) {
            return Err(ReadError::within(&name, "no text: it has bytes of zero").into());
        }
        reader.line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
    }
}

/// All engines' readers, of which one will have found something.
#[derive(Default)]
struct Reader {
    lines: u64,
    vllm: vllm::Log,
    sglang: sglang::Log,
    llama: llama::Log,
    tensorrt: tensorrt::Log,
    tgi: tgi::Log,
}

impl Reader {
    fn line(&mut self, line: &str) {
        self.lines += 1;
        let (number, line) = (self.lines, text::plain(line));
        if let Some(sample) = metrics::Sample::read(&line) {
            self.vllm.sample(number, &line, &sample);
            self.sglang.sample(number, &line, &sample);
            return;
        }
        self.vllm.line(number, &line);
        self.sglang.line(number, &line);
        self.llama.line(number, &line);
        self.tensorrt.line(number, &line);
        self.tgi.line(number, &line);
    }

    fn finish(self, name: &str) -> Result<ServingCache, ServingError> {
        let caches = [
            self.vllm.finish(),
            self.sglang.finish(),
            self.llama.finish(),
            self.tensorrt.finish(),
            self.tgi.finish(),
        ];
        let mut caches: Vec<ServingCache> = caches.into_iter().flatten().collect();
        // An engine whose cache is known is the one that ran; others are mentioned in other programs' lines.
        if caches.iter().any(ServingCache::has_size) {
            caches.retain(ServingCache::has_size);
        }
        match caches.len() {
            0 => Err(ServingError::Unknown { file: name.to_owned(), lines: self.lines }),
            1 => Ok(caches.remove(0)),
            _ => Err(ServingError::SeveralEngines {
                file: name.to_owned(),
                engines: caches.iter().map(|cache| cache.engine).collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
