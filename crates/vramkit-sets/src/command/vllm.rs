//! A command line of `vllm serve` as the options of a footprint.
//!
//! In: words after `serve`. Out: what was found. vLLM has some two hundred options and each release adds some: those that
//! change memory and are covered are set, those that are known not to are passed over, every other one becomes a note.

use vramkit_fit::{Backend, FitOptions, Runtime};

use super::found::Found;

/// What a command line says: its words after `serve`, or after the name of the module.
pub(super) fn from_words(words: &[String], backend: Backend) -> Found {
    let mut server = Server { found: Found::new(FitOptions::new(Runtime::Vllm, backend)) };
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            match server.found.model {
                None => server.found.model = Some(word.to_owned()),
                Some(_) => server.found.note(format!("`{word}` is not understood")),
            }
            continue;
        }
        let (name, given) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let name = if name.starts_with("--") { name.replace('_', "-") } else { name.to_owned() };
        let is_flag = FLAGS.split_whitespace().any(|flag| flag == name) || name.starts_with("--no-");
        let next = words.peek().is_some_and(|next| !next.starts_with('-') || next.parse::<f64>().is_ok());
        let value = match given {
            Some(value) => Some(value),
            None if is_flag || !next => None,
            None => words.next(),
        };
        server.apply(&name, value);
        // Options of several values; where the model has not been seen, the next word may be it.
        if SEVERAL.split_whitespace().any(|several| several == name) && server.found.model.is_some() {
            while words.next_if(|word| !word.starts_with('-')).is_some() {}
        }
    }
    if server.found.model.is_none() {
        server.found.refused("no model is named".to_owned());
    }
    server.found
}

struct Server {
    found: Found,
}

impl Server {
    fn apply(&mut self, name: &str, value: Option<&str>) {
        if !SETTINGS.split_whitespace().any(|setting| setting == name) {
            return self.others(name, value);
        }
        let Some(value) = value else { return self.found.refused(format!("`{name}` has no value")) };
        match name {
            "--model" | "--model-tag" => self.found.model = Some(value.to_owned()),
            "--max-model-len" if matches!(value, "auto" | "-1") => {
                self.found.options.context = None;
                self.found.note(format!(
                    "`{name} {value}`: counted is the model's whole context, and vLLM takes what fits"
                ));
            }
            "--max-model-len" => self.found.options.context = self.whole(name, value),
            "--max-num-seqs" => self.found.options.max_num_seqs = self.whole(name, value),
            "--max-num-batched-tokens" => self.found.options.max_num_batched_tokens = self.whole(name, value),
            "--tensor-parallel-size" | "-tp" => {
                let devices = self.whole(name, value).filter(|devices| *devices > 0);
                self.found.options.tensor_parallel = devices.unwrap_or(1);
            }
            "--gpu-memory-utilization" => match value.parse::<f64>() {
                Ok(share) if share > 0.0 && share <= 1.0 => self.found.options.gpu_memory_utilization = share,
                _ => self.found.refused(format!("`{name}` is over 0 and at most 1, not `{value}`")),
            },
            "--kv-cache-dtype" => {
                let kind = Some(cache_type(value));
                if let Err(error) = self.found.options.set_cache_types(kind, kind) {
                    self.found.refused(format!("`{name}`: {error}"));
                }
            }
            "--speculative-config" | "-sc" | "--num-speculative-tokens" => {
                self.found.note(format!("`{name}`: what speculation takes is not counted"));
            }
            _ => {}
        }
    }

    fn others(&mut self, name: &str, value: Option<&str>) {
        let said = |list: &str| list.split_whitespace().any(|known| known == name);
        if said(HARMLESS) || (said(FLAGS) && !said(NOT_COVERED)) {
            return;
        }
        let same = name.strip_prefix("--no-").map(|rest| format!("--{rest}"));
        if same.is_some_and(|same| FLAGS.split_whitespace().any(|flag| flag == same)) {
            return;
        }
        let value = value.map(|value| format!(" {value}")).unwrap_or_default();
        let what = if said(NOT_COVERED) {
            "changes memory and is not covered"
        } else {
            "is no option that is known"
        };
        self.found.note(format!("`{name}{value}` {what}"));
    }

    /// A whole number, with vLLM's suffixes: small ones are powers of 1,000, capital ones of 1,024.
    fn whole(&mut self, name: &str, value: &str) -> Option<u64> {
        let number = number(value);
        if number.is_none() {
            self.found
                .refused(format!("`{name}` is a whole number, as in 32768, 32K or 25.6k, not `{value}`"));
        }
        number
    }
}

fn number(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &value[digits.len()..] {
        "" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(unit);
    }
    let part = digits.parse::<f64>().ok().filter(|part| *part >= 0.0 && *part < 1e9)?;
    // Only decimal units have fractions, and the product is a whole number.
    let number = (part * unit as f64).round();
    unit.is_multiple_of(1_000).then_some(number as u64)
}

/// A type of the cache by its common name, where releases for other hardware have one of their own.
fn cache_type(value: &str) -> &str {
    match value {
        "fp8_inc" => "fp8",
        "half" => "float16",
        common => common,
    }
}

const SETTINGS: &str = "--model --model-tag --max-model-len --max-num-seqs --max-num-batched-tokens --tensor-parallel-size -tp \
    --gpu-memory-utilization --kv-cache-dtype --speculative-config -sc --num-speculative-tokens";

/// Options that more than one value may follow.
const SEVERAL: &str =
    "--served-model-name --lora-modules --cudagraph-capture-sizes --cuda-graph-sizes --api-key --middleware";

/// Options of no value. Those that change memory are in the next list too.
const FLAGS: &str = "--trust-remote-code --enable-prefix-caching --no-enable-prefix-caching --enable-chunked-prefill \
    --no-enable-chunked-prefill --disable-log-requests --disable-log-stats --enable-log-requests --no-enable-log-requests \
    --disable-uvicorn-access-log --enable-auto-tool-choice --enable-prompt-tokens-details --enable-server-load-tracking \
    --disable-fastapi-docs --disable-frontend-multiprocessing --return-tokens-as-token-ids --headless --aggregate-engine-logging \
    --async-scheduling --no-async-scheduling --skip-tokenizer-init --use-tqdm-on-load --no-use-tqdm-on-load \
    --enable-force-include-usage --enable-ssl-refresh --enable-reasoning --allow-credentials --enable-request-id-headers \
    --disable-custom-all-reduce --enforce-eager --no-enforce-eager --enable-lora --no-enable-lora --enable-expert-parallel \
    --disable-hybrid-kv-cache-manager --disable-sliding-window --enable-sleep-mode --calculate-kv-scales --enable-dbo \
    --enable-eplb --language-model-only --skip-mm-profiling --enable-mm-embeds --fully-sharded-loras --disable-cascade-attn";

/// Options that change what is taken, and are not covered.
const NOT_COVERED: &str = "--enforce-eager --enable-lora --enable-expert-parallel --disable-hybrid-kv-cache-manager \
    --disable-sliding-window --enable-sleep-mode --enable-dbo --enable-eplb --language-model-only --skip-mm-profiling \
    --enable-mm-embeds --fully-sharded-loras --pipeline-parallel-size -pp --data-parallel-size -dp --data-parallel-size-local \
    -dpl --decode-context-parallel-size -dcp --kv-cache-memory-bytes --num-gpu-blocks-override --block-size --cpu-offload-gb \
    --swap-space --quantization -q --dtype --hf-overrides --hf-config-path --config --max-loras --max-lora-rank \
    --lora-modules --lora-dtype --max-cpu-loras --compilation-config -O -O0 -O1 -O2 -O3 -cc --optimization-level \
    --cudagraph-capture-sizes --cuda-graph-sizes --max-cudagraph-capture-size --max-seq-len-to-capture \
    --limit-mm-per-prompt --mm-processor-kwargs --mm-encoder-tp-mode --mm-encoder-attn-backend --mamba-cache-dtype \
    --mamba-ssm-cache-dtype --mamba-block-size --kv-transfer-config --kv-offloading-size --runner --task --convert \
    --rope-scaling --rope-theta --attention-backend --model-impl --max-num-partial-prefills --max-long-partial-prefills \
    --additional-config --load-format";

/// Options of one value that change nothing of the device's memory.
const HARMLESS: &str = "--host --port --uds --api-key --served-model-name --chat-template --chat-template-content-format \
    --tool-call-parser --tool-parser-plugin --reasoning-parser --tokenizer --tokenizer-mode --tokenizer-revision --revision \
    --code-revision --download-dir --seed --uvicorn-log-level --root-path --allowed-origins --allowed-methods \
    --allowed-headers --ssl-keyfile --ssl-certfile --ssl-ca-certs --ssl-cert-reqs --middleware --response-role \
    --max-log-len --max-logprobs --logprobs-mode --generation-config --override-generation-config --allowed-local-media-path \
    --allowed-media-domains --config-format --hf-token --distributed-executor-backend --max-parallel-loading-workers \
    --prefix-caching-hash-algo --scheduling-policy --long-prefill-token-threshold --guided-decoding-backend \
    --structured-outputs-config --otlp-traces-endpoint --collect-detailed-traces --kv-events-config --api-server-count -asc \
    --data-parallel-address -dpa --data-parallel-rpc-port -dpp --data-parallel-backend -dpb --media-io-kwargs \
    --mm-processor-cache-gb --mm-processor-cache-type --log-config-file --model-loader-extra-config --h11-max-header-count \
    --h11-max-incomplete-event-size --default-chat-template-kwargs --trust-request-chat-template --stream-interval --device";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_engines_suffixes() {
        let read = ["4096", "32k", "32K", "25.6k", "1M"].map(number);
        assert_eq!(read, [4_096, 32_000, 32_768, 25_600, 1_048_576].map(Some));
        for wrong in ["", "k", "1.5K", "-3", "x", "1e400k", "99999999999999999999", "18446744073709551615K"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }
}
