//! The options of llama-server, as its build v0.5.0 knows them: which change memory, which do not, which take a value.
//!
//! Data alone: what each does to the options of a footprint is in `llama_server.rs`.

/// What an option does to memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Effect {
    Batch,
    CacheTypeK,
    CacheTypeV,
    Context,
    ContextPerSlot,
    Device,
    DraftMax,
    Embedding,
    Fit,
    FlashAttention,
    GpuLayers,
    HostCache,
    KvUnified,
    MicroBatch,
    Model,
    Parallel,
    ProjectorAuto,
    /// The model comes from elsewhere.
    Remote,
    /// The model comes from a repository.
    Repository,
    /// The server runs others.
    Router,
    SpecType,
    SplitMode,
    SwaFull,
    TensorSplit,
    /// Not covered when it is on: what is counted instead.
    On(&'static str),
    /// Not covered when it is off.
    Off(&'static str),
    /// No memory of the device, or none without another option that says so.
    Nothing,
}

use Effect::*;

/// An option.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// How many values follow it.
    pub values: usize,
    /// What it does.
    pub effect: Effect,
    /// Whether this name of it turns it off.
    pub negated: bool,
}

/// The option of a name: with its dashes, without them as in a preset, or as a variable of the environment.
pub(super) fn known(name: &str) -> Option<Known> {
    let bare = name.trim_start_matches('-');
    let is = |names: &str| {
        names.split_whitespace().any(|known| known == name || known.trim_start_matches('-') == name)
    };
    for (on, off, variable, values, effect) in SETTINGS {
        if is(on) || is(off) || *variable == bare {
            return Some(Known { values: *values, effect: *effect, negated: is(off) });
        }
    }
    let nothing = |values| Some(Known { values, effect: Nothing, negated: bare.starts_with("no-") });
    match name {
        "--control-vector-layer-range" | "control-vector-layer-range" => nothing(2),
        _ if is(FLAGS) => nothing(0),
        _ if is(VALUES) || is(VARIABLES) => nothing(1),
        _ => None,
    }
}

/// Names that turn it on, that turn it off, its variable, how many values follow, what it does.
#[rustfmt::skip]
const SETTINGS: &[(&str, &str, &str, usize, Effect)] = &[
    ("-c --ctx-size", "", "LLAMA_ARG_CTX_SIZE", 1, Context),
    ("-b --batch-size", "", "LLAMA_ARG_BATCH", 1, Batch),
    ("-ub --ubatch-size", "", "LLAMA_ARG_UBATCH", 1, MicroBatch),
    ("--swa-full", "", "LLAMA_ARG_SWA_FULL", 0, SwaFull),
    ("-fa --flash-attn", "", "LLAMA_ARG_FLASH_ATTN", 1, FlashAttention),
    ("-ctk --cache-type-k", "", "LLAMA_ARG_CACHE_TYPE_K", 1, CacheTypeK),
    ("-ctv --cache-type-v", "", "LLAMA_ARG_CACHE_TYPE_V", 1, CacheTypeV),
    ("-dev --device", "", "LLAMA_ARG_DEVICE", 1, Device),
    ("-ngl --gpu-layers --n-gpu-layers", "", "LLAMA_ARG_N_GPU_LAYERS", 1, GpuLayers),
    ("-sm --split-mode", "", "LLAMA_ARG_SPLIT_MODE", 1, SplitMode),
    ("-ts --tensor-split", "", "LLAMA_ARG_TENSOR_SPLIT", 1, TensorSplit),
    ("-fit --fit", "", "LLAMA_ARG_FIT", 1, Fit),
    ("-m --model", "", "LLAMA_ARG_MODEL", 1, Model),
    ("-mu --model-url", "", "LLAMA_ARG_MODEL_URL", 1, Remote),
    ("-dr --docker-repo", "", "LLAMA_ARG_DOCKER_REPO", 1, Remote),
    ("-hf -hfr --hf-repo", "", "LLAMA_ARG_HF_REPO", 1, Repository),
    ("-hff --hf-file", "", "LLAMA_ARG_HF_FILE", 1, Remote),
    ("--kv-unified-per-slot", "", "LLAMA_ARG_KV_UNIFIED_PER_SLOT", 1, ContextPerSlot),
    ("-cram --cache-ram", "", "LLAMA_ARG_CACHE_RAM", 1, HostCache),
    ("-kvu --kv-unified", "-no-kvu --no-kv-unified", "LLAMA_ARG_KV_UNIFIED", 0, KvUnified),
    ("-np --parallel", "", "LLAMA_ARG_N_PARALLEL", 1, Parallel),
    ("--mmproj-auto", "--no-mmproj --no-mmproj-auto", "LLAMA_ARG_MMPROJ_AUTO", 0, ProjectorAuto),
    ("--embedding --embeddings", "", "LLAMA_ARG_EMBEDDINGS", 0, Embedding),
    ("--models-dir", "", "LLAMA_ARG_MODELS_DIR", 1, Router),
    ("--models-preset", "", "LLAMA_ARG_MODELS_PRESET", 1, Router),
    ("--spec-draft-n-max", "", "LLAMA_ARG_SPEC_DRAFT_N_MAX", 1, DraftMax),
    ("--spec-type", "", "LLAMA_ARG_SPEC_TYPE", 1, SpecType),
    ("--embd-gemma-default", "", "", 0, Remote),
    ("--fim-qwen-1.5b-default", "", "", 0, Remote),
    ("--fim-qwen-3b-default", "", "", 0, Remote),
    ("--fim-qwen-7b-default", "", "", 0, Remote),
    ("--fim-qwen-7b-spec", "", "", 0, Remote),
    ("--fim-qwen-14b-spec", "", "", 0, Remote),
    ("--fim-qwen-30b-default", "", "", 0, Remote),
    ("--gpt-oss-20b-default", "", "", 0, Remote),
    ("--gpt-oss-120b-default", "", "", 0, Remote),
    ("--vision-gemma-4b-default", "", "", 0, Remote),
    ("--vision-gemma-12b-default", "", "", 0, Remote),
    ("-kvo --kv-offload", "-nkvo --no-kv-offload", "LLAMA_ARG_KV_OFFLOAD", 0, Off("the cache stays on the host; it is counted on the device")),
    ("--no-host", "", "LLAMA_ARG_NO_HOST", 0, On("buffers are counted as they are without it")),
    ("--rpc", "", "LLAMA_ARG_RPC", 1, On("layers on other machines are counted here")),
    ("-lzm --lazy-mode", "", "LLAMA_ARG_LAZY_MODE", 1, On("tensors read on demand are counted as resident")),
    ("-ot --override-tensor", "", "LLAMA_ARG_OVERRIDE_TENSOR", 1, On("tensors placed by a pattern are counted where they would be without it")),
    ("-cmoe --cpu-moe", "", "LLAMA_ARG_CPU_MOE", 0, On("experts on the host are counted on the device")),
    ("-ncmoe --n-cpu-moe", "", "LLAMA_ARG_N_CPU_MOE", 1, On("experts on the host are counted on the device")),
    ("-ncffn --n-cpu-ffn", "", "LLAMA_ARG_N_CPU_FFN", 1, On("feed-forward weights on the host are counted on the device")),
    ("--override-kv", "", "", 1, On("the file's own metadata is what was read")),
    ("--op-offload", "--no-op-offload", "", 0, Off("operations that stay on the host are counted as they are by default")),
    ("--lora", "", "", 1, On("the adapter is not counted")),
    ("--lora-scaled", "", "", 1, On("the adapter is not counted")),
    ("--control-vector", "", "", 1, On("the control vector is not counted")),
    ("--control-vector-scaled", "", "", 1, On("the control vector is not counted")),
    ("-bs --backend-sampling", "", "LLAMA_ARG_BACKEND_SAMPLING", 0, On("sampling on the device is not counted")),
    ("-ctxcp --ctx-checkpoints --swa-checkpoints", "", "LLAMA_ARG_CTX_CHECKPOINTS", 1, On("checkpoints on the host are not counted")),
    ("--pooling", "", "LLAMA_ARG_POOLING", 1, On("a pooling graph is counted as one that generates")),
    ("-mm --mmproj", "", "LLAMA_ARG_MMPROJ", 1, On("the projector is not counted")),
    ("-mmu --mmproj-url", "", "LLAMA_ARG_MMPROJ_URL", 1, On("the projector is not counted")),
    ("--rerank --reranking", "", "LLAMA_ARG_RERANKING", 0, On("a reranking graph is counted as one that generates")),
    ("--spec-draft-hf -hfd -hfrd --hf-repo-draft", "", "LLAMA_ARG_SPEC_DRAFT_HF_REPO", 1, On("the draft model is not counted")),
    ("--spec-draft-model -md --model-draft", "", "LLAMA_ARG_SPEC_DRAFT_MODEL", 1, On("the draft model is not counted")),
];

/// Options of no value and no memory; the last ones are of older builds.
const FLAGS: &str = "-h --help --usage --version -cl --cache-list --completion-bash --perf --no-perf -e --escape \
    --no-escape --repack -nr --no-repack --list-devices --check-tensors --log-disable --log-jsonl \
    --no-log-jsonl -v --verbose --log-verbose --offline --log-prefix --no-log-prefix \
    --log-timestamps --no-log-timestamps --ignore-eos --cache-idle-slots --no-cache-idle-slots \
    --context-shift --no-context-shift -sp --special --warmup --no-warmup --spm-infill -cb \
    --cont-batching -nocb --no-cont-batching --mmproj-offload --no-mmproj-offload --reuse-port \
    --cors-credentials --no-cors-credentials --ui-mcp-proxy --webui-mcp-proxy --no-ui-mcp-proxy \
    --no-webui-mcp-proxy -ag --agent -no-ag --no-agent --ui --webui --no-ui --no-webui \
    --cache-prompt --no-cache-prompt --metrics --props --slots --no-slots --models-autoload \
    --no-models-autoload --jinja --no-jinja --reasoning-preserve --no-reasoning-preserve \
    --skip-chat-parsing --no-skip-chat-parsing --prefill-assistant --no-prefill-assistant \
    --lora-init-without-apply --spec-draft-cpu-moe -cmoed --cpu-moe-draft \
    --spec-draft-backend-sampling --no-spec-draft-backend-sampling --spec-default --mlock --mmap \
    --no-mmap -dio --direct-io -ndio --no-direct-io --verbose-prompt";

/// Options of one value and no memory of their own; those of a draft model or a projector come with an option that says so.
const VALUES: &str = "-t --threads -tb --threads-batch -C --cpu-mask -Cr --cpu-range --cpu-strict --prio --poll -Cb \
    --cpu-mask-batch -Crb --cpu-range-batch --cpu-strict-batch --prio-batch --poll-batch -n \
    --predict --n-predict --keep --rope-scaling --rope-scale --rope-freq-base --rope-freq-scale \
    --yarn-orig-ctx --yarn-ext-factor --yarn-attn-factor --yarn-beta-slow --yarn-beta-fast -dt \
    --defrag-thold -lm --load-mode --numa -mg --main-gpu -fitt --fit-target -fitc --fit-ctx -hft \
    --hf-token --log-file --log-colors -lv --verbosity --log-verbosity --spec-draft-type-k -ctkd \
    --cache-type-k-draft --spec-draft-type-v -ctvd --cache-type-v-draft --samplers -s --seed \
    --sampler-seq --sampling-seq --temp --temperature --top-k --top-p --min-p --top-nsigma \
    --top-n-sigma --xtc-probability --xtc-threshold --typical --typical-p --repeat-last-n \
    --repeat-penalty --presence-penalty --frequency-penalty --dry-multiplier --dry-base \
    --dry-allowed-length --dry-penalty-last-n --dry-sequence-breaker --adaptive-target \
    --adaptive-decay --dynatemp-range --dynatemp-exp --mirostat --mirostat-lr --mirostat-ent -l \
    --logit-bias --grammar --grammar-file -j --json-schema -jf --json-schema-file -lcs \
    --lookup-cache-static -lcd --lookup-cache-dynamic -cms --checkpoint-min-step -r --reverse-prompt \
    -mmdev --mmproj-device --image-min-tokens --image-max-tokens --mtmd-batch-max-tokens --video-fps \
    --video-timestamp-interval --video-ffmpeg-dir -a --alias --tags --embd-normalize --host --port \
    --path --cors-origins --cors-methods --cors-headers --api-prefix --ui-config --webui-config \
    --ui-config-file --webui-config-file --tools --tools-runtime --mcp-servers-config \
    --mcp-servers-json --api-key --api-key-file --ssl-key-file --ssl-cert-file \
    --chat-template-kwargs -to --timeout --sse-ping-interval --threads-http --cache-reuse \
    --slot-save-path --media-path --models-max --reasoning-format -rea --reasoning \
    --reasoning-effort --reasoning-budget --reasoning-budget-message --chat-template \
    --chat-template-file -sps --slot-prompt-similarity --sleep-idle-seconds --log-prompts-dir \
    --spec-draft-threads -td --threads-draft --spec-draft-threads-batch -tbd --threads-batch-draft \
    --spec-draft-cpu-mask -Cd --cpu-mask-draft --spec-draft-cpu-range -Crd --cpu-range-draft \
    --spec-draft-cpu-strict --cpu-strict-draft --spec-draft-prio --prio-draft --spec-draft-poll \
    --poll-draft --spec-draft-cpu-mask-batch -Cbd --cpu-mask-batch-draft \
    --spec-draft-cpu-strict-batch --cpu-strict-batch-draft --spec-draft-prio-batch \
    --prio-batch-draft --spec-draft-poll-batch --poll-batch-draft --spec-draft-override-tensor -otd \
    --override-tensor-draft --spec-draft-n-cpu-moe --spec-draft-ncmoe -ncmoed --n-cpu-moe-draft \
    --spec-draft-n-min --spec-synth-len --spec-synth-rates --spec-draft-p-split --draft-p-split \
    --spec-draft-p-min --draft-p-min --spec-draft-device -devd --device-draft --spec-draft-ngl -ngld \
    --gpu-layers-draft --n-gpu-layers-draft --spec-ngram-mod-n-min --spec-ngram-mod-n-max \
    --spec-ngram-mod-n-match --spec-ngram-simple-size-n --spec-ngram-simple-size-m \
    --spec-ngram-simple-min-hits --spec-ngram-map-k-size-n --spec-ngram-map-k-size-m \
    --spec-ngram-map-k-min-hits --spec-ngram-map-k4v-size-n --spec-ngram-map-k4v-size-m \
    --spec-ngram-map-k4v-min-hits --draft --draft-n --draft-max --draft-min --draft-n-min \
    --spec-ngram-size-n --spec-ngram-size-m --spec-ngram-min-hits";

/// Variables of the environment likewise.
const VARIABLES: &str = "LLAMA_ARG_THREADS LLAMA_ARG_N_PREDICT LLAMA_ARG_PERF LLAMA_ARG_ROPE_SCALING_TYPE \
    LLAMA_ARG_ROPE_SCALE LLAMA_ARG_ROPE_FREQ_BASE LLAMA_ARG_ROPE_FREQ_SCALE LLAMA_ARG_YARN_ORIG_CTX \
    LLAMA_ARG_YARN_EXT_FACTOR LLAMA_ARG_YARN_ATTN_FACTOR LLAMA_ARG_YARN_BETA_SLOW \
    LLAMA_ARG_YARN_BETA_FAST LLAMA_ARG_REPACK LLAMA_ARG_DEFRAG_THOLD LLAMA_ARG_LOAD_MODE \
    LLAMA_ARG_NUMA LLAMA_ARG_MAIN_GPU LLAMA_ARG_FIT_TARGET LLAMA_ARG_FIT_CTX HF_TOKEN \
    LLAMA_ARG_LOG_FILE LLAMA_ARG_LOG_JSONL LLAMA_ARG_LOG_COLORS LLAMA_ARG_OFFLINE \
    LLAMA_ARG_LOG_VERBOSITY LLAMA_ARG_LOG_PREFIX LLAMA_ARG_LOG_TIMESTAMPS \
    LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_K LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_V LLAMA_ARG_TEMPERATURE \
    LLAMA_ARG_TOP_K LLAMA_ARG_TOP_P LLAMA_ARG_MIN_P LLAMA_ARG_REPEAT_PENALTY \
    LLAMA_ARG_PRESENCE_PENALTY LLAMA_ARG_FREQUENCY_PENALTY LLAMA_ARG_CHECKPOINT_MIN_SPACING_NT \
    LLAMA_ARG_CACHE_IDLE_SLOTS LLAMA_ARG_CONTEXT_SHIFT LLAMA_ARG_CONT_BATCHING \
    LLAMA_ARG_MMPROJ_OFFLOAD MTMD_BACKEND_DEVICE LLAMA_ARG_IMAGE_MIN_TOKENS \
    LLAMA_ARG_IMAGE_MAX_TOKENS LLAMA_ARG_MTMD_BATCH_MAX_TOKENS LLAMA_ARG_VIDEO_FPS \
    LLAMA_ARG_VIDEO_TIMESTAMP_INTERVAL LLAMA_ARG_VIDEO_FFMPEG_DIR LLAMA_ARG_ALIAS LLAMA_ARG_TAGS \
    LLAMA_ARG_HOST LLAMA_ARG_PORT LLAMA_ARG_REUSE_PORT LLAMA_ARG_STATIC_PATH LLAMA_ARG_CORS_ORIGINS \
    LLAMA_ARG_CORS_METHODS LLAMA_ARG_CORS_HEADERS LLAMA_ARG_CORS_CREDENTIALS LLAMA_ARG_API_PREFIX \
    LLAMA_ARG_UI_CONFIG LLAMA_ARG_UI_CONFIG_FILE LLAMA_ARG_UI_MCP_PROXY LLAMA_ARG_TOOLS \
    LLAMA_ARG_TOOLS_RUNTIME LLAMA_ARG_MCP_SERVERS_CONFIG LLAMA_ARG_MCP_SERVERS_JSON LLAMA_ARG_AGENT \
    LLAMA_ARG_UI LLAMA_API_KEY LLAMA_ARG_API_KEY_FILE LLAMA_ARG_SSL_KEY_FILE LLAMA_ARG_SSL_CERT_FILE \
    LLAMA_ARG_CHAT_TEMPLATE_KWARGS LLAMA_ARG_TIMEOUT LLAMA_ARG_SSE_PING_INTERVAL \
    LLAMA_ARG_THREADS_HTTP LLAMA_ARG_CACHE_PROMPT LLAMA_ARG_CACHE_REUSE LLAMA_ARG_ENDPOINT_METRICS \
    LLAMA_ARG_ENDPOINT_PROPS LLAMA_ARG_ENDPOINT_SLOTS LLAMA_ARG_MODELS_MAX LLAMA_ARG_MODELS_AUTOLOAD \
    LLAMA_ARG_JINJA LLAMA_ARG_THINK LLAMA_ARG_REASONING LLAMA_ARG_REASONING_EFFORT \
    LLAMA_ARG_THINK_BUDGET LLAMA_ARG_THINK_BUDGET_MESSAGE LLAMA_ARG_REASONING_PRESERVE \
    LLAMA_ARG_CHAT_TEMPLATE LLAMA_ARG_CHAT_TEMPLATE_FILE LLAMA_ARG_SKIP_CHAT_PARSING \
    LLAMA_ARG_PREFILL_ASSISTANT LLAMA_ARG_SPEC_DRAFT_CPU_MOE LLAMA_ARG_SPEC_DRAFT_N_CPU_MOE \
    LLAMA_ARG_SPEC_DRAFT_N_MIN LLAMA_ARG_SPEC_SYNTH_LEN LLAMA_ARG_SPEC_SYNTH_RATES \
    LLAMA_ARG_SPEC_DRAFT_P_SPLIT LLAMA_ARG_SPEC_DRAFT_P_MIN LLAMA_ARG_SPEC_DRAFT_BACKEND_SAMPLING \
    LLAMA_ARG_N_GPU_LAYERS_DRAFT LLAMA_ARG_DRAFT_MAX LLAMA_ARG_DRAFT_MIN";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_known_by_every_name() {
        for name in
            ["-ngl", "--n-gpu-layers", "--gpu-layers", "ngl", "n-gpu-layers", "LLAMA_ARG_N_GPU_LAYERS"]
        {
            let option = known(name).expect(name);
            assert_eq!((option.values, option.effect, option.negated), (1, GpuLayers, false), "{name}");
        }
        assert!(known("-no-kvu").expect("an option").negated);
        assert!(known("--gpu-layer").is_none());
    }

    #[test]
    fn no_name_means_two_things() {
        let rows = SETTINGS.iter().flat_map(|row| row.0.split_whitespace().chain(row.1.split_whitespace()));
        let lists = [FLAGS, VALUES].into_iter().flat_map(str::split_whitespace);
        let mut names: Vec<&str> = rows.chain(lists).collect();
        names.sort_unstable();
        let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
