//! Lines as engines print them, and what is made of them.

use vramkit_units::ByteSize;

use super::*;

fn read(text: &str) -> ServingCache {
    read_serving_text(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

type Expected = (Engine, Option<u64>, Option<u32>, Option<u64>, Option<u32>, Option<u32>, Option<f64>);

fn check(text: &str, expected: Expected) -> ServingCache {
    let cache = read(text);
    let found: Expected = (
        cache.engine,
        cache.kv_tokens,
        cache.block_tokens,
        cache.kv_bytes.map(|bytes| bytes.bytes() >> 20),
        cache.max_model_len,
        cache.max_sequences,
        cache.gpu_memory_utilization,
    );
    assert_eq!(found, expected, "{text}");
    cache
}

#[test]
fn vllm_of_the_first_engine() {
    let settings = "INFO 05-04 14:43:16 api_server.py:152] args: Namespace(host=None, block_size=16, seed=0, gpu_memory_utilization=0.9, max_num_seqs=256, max_model_len=None, max_seq_len_to_capture=8192)
INFO 05-04 14:43:16 llm_engine.py:98] Initializing an LLM engine (v0.4.1) with config: model='Meta-Llama-3-8B-Instruct', max_seq_len=8192, seed=0)
INFO 05-04 14:43:30 gpu_executor.py:122] # GPU blocks: 7406, # CPU blocks: 512";
    check(settings, (Engine::Vllm, Some(7406 * 16), Some(16), None, Some(8192), Some(256), Some(0.9)));
    // What fits says how large a block is.
    let profile = "INFO 03-01 10:30:57 worker.py:267] the current vLLM instance can use total_gpu_memory (22.06GiB) x gpu_memory_utilization (0.90) = 19.85GiB
INFO 03-01 10:30:57 worker.py:267] model weights take 2.88GiB; non_torch_memory takes 0.05GiB; PyTorch activation peak memory takes 1.40GiB; the rest of the memory reserved for KV Cache is 15.52GiB.
INFO 03-01 10:30:57 executor_base.py:110] # CUDA blocks: 36332, # CPU blocks: 9362
INFO 03-01 10:30:57 executor_base.py:115] Maximum concurrency for 4096 tokens per request: 141.92x";
    check(profile, (Engine::Vllm, Some(36332 * 16), Some(16), Some(15892), Some(4096), None, Some(0.9)));
    let bare = check(
        "INFO 08-22 15:27:25 llm_engine.py:196] # GPU blocks: 865, # CPU blocks: 327",
        (Engine::Vllm, Some(865 * 16), None, None, None, None, None),
    );
    assert!(bare.notes[0].contains("16 tokens"));
}

#[test]
fn vllm_of_the_second_engine() {
    let log = "(APIServer pid=1335) INFO 09-12 22:43:11 [api_utils.py:286] non-default args: {'model_tag': '/snap/', 'max_model_len': 100000, 'gpu_memory_utilization': 0.85, 'max_num_seqs': 8}
(EngineCore_DP0 pid=178) INFO 11-28 23:05:46 [core.py:97] Initializing a V1 LLM engine (v0.11.1) with config: model='x', max_seq_len=100000, download_dir=None
(Worker_TP0 pid=2412213) INFO 12-11 00:06:53 [gpu_worker.py:359] Available KV cache memory: 52.36 GiB
(EngineCore_DP0 pid=2412130) INFO 12-11 00:06:53 [kv_cache_utils.py:1286] GPU KV cache size: 686,320 tokens
(EngineCore_DP0 pid=2412130) INFO 12-11 00:06:54 [kv_cache_utils.py:1291] Maximum concurrency for 100,000 tokens per request: 6.86x";
    let cache =
        check(log, (Engine::Vllm, Some(686_320), None, Some(53616), Some(100_000), Some(8), Some(0.85)));
    let line = cache.lines.iter().find(|line| line.figure == Figure::KvTokens).unwrap();
    assert_eq!((line.line, line.text.contains("686,320")), (4, true));
    // The newest version says both in one line; the first of the second engine said blocks.
    check(
        "INFO [kv_cache_utils.py:2047] GPU KV cache size: 178,880 tokens, Maximum concurrency for 40,960 tokens per request: 4.37x",
        (Engine::Vllm, Some(178_880), None, None, Some(40_960), None, None),
    );
    check(
        "INFO 02-13 15:01:40 kv_cache_utils.py:407] # GPU blocks: 33660\nINFO 02-13 15:01:40 kv_cache_utils.py:410] Maximum concurrency for 4096 tokens per request: 131.48x",
        (Engine::Vllm, Some(33660 * 16), Some(16), None, Some(4096), None, None),
    );
    // Workers that differ: the least.
    let two = "\u{1b}[1;36m(EngineCore_DP0 pid=1)\u{1b}[0;0m INFO GPU KV cache size: 11,294,463 tokens\n(EngineCore_DP1 pid=2) INFO GPU KV cache size: 11,577,333 tokens";
    let cache = check(two, (Engine::Vllm, Some(11_294_463), None, None, None, None, None));
    assert!(
        cache.notes.iter().any(|note| note.contains("2 lines say from 11294463 to 11577333")),
        "{cache:?}"
    );
}

#[test]
fn vllm_metrics() {
    let old = r#"# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",cache_dtype="auto",calculate_kv_scales="False",cpu_offload_gb="0",enable_prefix_caching="True",gpu_memory_utilization="0.82",is_attention_free="False",num_cpu_blocks="1024",num_gpu_blocks="573",num_gpu_blocks_override="None",sliding_window="None",swap_space_bytes="4294967296"} 1.0
vllm:num_requests_running{model_name="qwen"} 3.0"#;
    check(old, (Engine::Vllm, Some(573 * 16), Some(16), None, None, None, Some(0.82)));
    // Blocks of a model with different layers are not tokens by their size.
    let new = r#"vllm:cache_config_info{block_size="64",engine="0",kv_cache_memory_bytes="8500000000",kv_cache_size_tokens="862437",num_gpu_blocks="9120"} 1"#;
    check(new, (Engine::Vllm, Some(862_437), Some(64), Some(8106), None, None, None));
    let none = r#"vllm:cache_config_info{engine="0",block_size="16",num_gpu_blocks="None",kv_cache_memory_bytes="None"} 1"#;
    check(none, (Engine::Vllm, None, Some(16), None, None, None, None));
}

#[test]
fn sglang() {
    let log = "[2025-07-14 05:48:40] server_args=ServerArgs(model_path='x', context_length=None, mem_fraction_static=0.88, max_running_requests=None, page_size=1, max_total_tokens=None)
[2025-07-14 05:48:43] KV Cache is allocated. #tokens: 38141, K size: 2.33 GB, V size: 2.33 GB
[2025-07-14 05:48:43] Memory pool end. avail mem=1.46 GB
[2025-07-14 05:49:02] max_total_num_tokens=38141, chunked_prefill_size=2048, max_prefill_tokens=16384, max_running_requests=2048, context_len=131072, available_gpu_mem=0.59 GB";
    check(log, (Engine::Sglang, Some(38_141), Some(1), Some(4771), Some(131_072), Some(2048), Some(0.88)));
    // A draft model's pool follows the model's.
    let draft = "KV Cache is allocated. #tokens: 171008, K 5.22 GB, V 5.22 GB\nKV Cache is allocated. #tokens: 171008, K 0.33 GB, V 0.33 GB\nmax_total_num_tokens=171008, context_len=169000, available_gpu_mem=8.27 GB";
    let cache = check(draft, (Engine::Sglang, Some(171_008), None, Some(10690), Some(169_000), None, None));
    assert!(cache.notes.iter().any(|note| note.contains("the first counts")));
    check(
        "[2025 TP0] KV Cache is allocated. dtype: torch.bfloat16, #tokens: 60000, KV size: 0.13 GB",
        (Engine::Sglang, Some(60_000), None, Some(133), None, None, None),
    );
    let metrics = "# HELP sglang:max_total_num_tokens Maximum total number of tokens in the KV cache pool.\nsglang:max_total_num_tokens{tp_rank=\"0\"} 262144.0\nsglang:max_total_num_tokens{tp_rank=\"1\"} 262144.0\nsglang:page_size{tp_rank=\"0\"} 16\nsglang:num_used_tokens{tp_rank=\"0\"} 0";
    check(metrics, (Engine::Sglang, Some(262_144), Some(16), None, None, None, None));
}

#[test]
fn llama_cpp() {
    let log = "llama_context: constructing llama_context
llama_context: n_seq_max     = 8
llama_context: n_ctx         = 16384
llama_context: n_ctx_seq     = 2048
llama_context: n_batch       = 2048
llama_context: kv_unified    = false
llama_context: n_ctx_seq (2048) < n_ctx_train (163840) -- the full capacity of the model will not be utilized
llama_kv_cache:      CUDA0 KV buffer size =  4320.00 MiB
llama_kv_cache: size = 4320.00 MiB ( 2048 cells, 27 layers, 8/8 seqs), K (f16): 2592.00 MiB, V (f16): 1728.00 MiB";
    let cache = check(log, (Engine::LlamaCpp, Some(16384), None, Some(4320), Some(2048), Some(8), None));
    assert!(cache.notes[0].contains("2048 tokens of its own"), "{:?}", cache.notes);
    // Sequences that share the cells.
    let shared = "llama_context: n_seq_max     = 2
llama_context: n_ctx         = 262144
llama_context: n_ctx_seq     = 262144
llama_context: kv_unified    = true
llama_kv_cache: size = 4352.00 MiB (262144 cells,   8 layers,  2/1 seqs), K (q8_0): 2176.00 MiB, V (q8_0): 2176.00 MiB";
    check(shared, (Engine::LlamaCpp, Some(262_144), None, Some(4352), Some(262_144), Some(2), None));
    // Layers with a window; a draft model behind.
    let window = "0.06.511.228 I llama_context: n_ctx         = 32768
llama_kv_cache_iswa: creating non-SWA KV cache, size = 32768 cells
llama_kv_cache: size = 416.00 MiB ( 32768 cells, 13 layers, 1/1 seqs), K (f16): 208.00 MiB, V (f16): 208.00 MiB
llama_kv_cache_iswa: creating     SWA KV cache, size =  2560 cells
llama_kv_cache: size =  97.50 MiB (  2560 cells, 39 layers, 1/1 seqs), K (f16):  48.75 MiB, V (f16):  48.75 MiB
srv    load_model: initializing, n_slots = 1, n_ctx_slot = 32768, kv_unified = 'false'
llama_context: n_ctx         = 8192
llama_kv_cache: size = 96.00 MiB (  8192 cells,  12 layers,  1/1 seqs), K (f16): 48.00 MiB, V (f16): 48.00 MiB";
    check(window, (Engine::LlamaCpp, Some(32768), None, Some(513), Some(32768), Some(1), None));
    // Before, and of the cells of one stream.
    let old = "llama_new_context_with_model: n_ctx      = 32768
llama_kv_cache_init:      CUDA0 KV buffer size =  4096.00 MiB
llama_new_context_with_model: KV self size  = 4096.00 MiB, K (f16): 2048.00 MiB, V (f16): 2048.00 MiB";
    check(old, (Engine::LlamaCpp, Some(32768), None, Some(4096), Some(32768), None, None));
    let middle = "llama_context: n_seq_max     = 1
llama_context: n_ctx         = 8192
llama_context: n_ctx_per_seq = 8192
llama_kv_cache_unified: size = 1024.00 MiB (  8192 cells,  32 layers), K (f16):  512.00 MiB, V (f16):  512.00 MiB";
    check(middle, (Engine::LlamaCpp, Some(8192), None, Some(1024), Some(8192), Some(1), None));
}

#[test]
fn tensorrt_llm() {
    let log = "[TensorRT-LLM][INFO] Max KV cache pages per sequence: 2048
[TensorRT-LLM][INFO] Number of tokens per block: 64.
[TensorRT-LLM][INFO] [MemUsageChange] Allocated 928.77 MiB for execution context memory.
[TensorRT-LLM][INFO] [MemUsageChange] Allocated 0.54 GiB for max tokens in paged KV cache (8320).
[TensorRT-LLM][INFO] [MemUsageChange] Allocated 26.91 GiB for max tokens in paged KV cache (220480).
[02/14/2025-09:38:53] [TRT-LLM] [I] max_seq_len=131072, max_num_requests=2048, max_num_tokens=8192";
    let cache = check(
        log,
        (Engine::TensorRtLlm, Some(220_480), Some(64), Some(27555), Some(131_072), Some(2048), None),
    );
    assert!(cache.notes[0].contains("the last counts"));
    check(
        "[TensorRT-LLM][INFO] Using 10718 tokens in paged KV cache.",
        (Engine::TensorRtLlm, Some(10718), None, None, None, None, None),
    );
}

#[test]
fn text_generation_inference() {
    let log = r#"2023-08-22T18:35:50.966384Z  INFO text_generation_launcher: Args { model_id: "x", max_concurrent_requests: 128, max_input_length: 4096, max_total_tokens: Some(8192), max_batch_total_tokens: None, max_batch_size: None, cuda_memory_fraction: 1.0 }
2024-09-03T04:40:19.370247Z  INFO text_generation_router::server: router/src/server.rs:1651: Setting max batch total tokens to 19056"#;
    check(log, (Engine::TextGenerationInference, Some(19056), None, None, Some(8192), None, Some(1.0)));
    let json = r#"{"timestamp":"2024-03-09T05:08:19.961136Z","level":"INFO","message":"Setting max batch total tokens to 133696","target":"text_generation_router"}"#;
    check(json, (Engine::TextGenerationInference, Some(133_696), None, None, None, None, None));
    let info =
        r#"{"model_id":"x","max_total_tokens":2048,"max_batch_total_tokens":16000,"max_batch_size":null}"#;
    check(info, (Engine::TextGenerationInference, Some(16000), None, None, Some(2048), None, None));
}

#[test]
fn text_that_says_nothing_is_named() {
    let error = read_serving_text("hello\nINFO Started server process").unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, ServingError::Unknown { lines: 2, .. }) && text.contains("GPU KV cache size"),
        "{text}"
    );
    let two = "GPU KV cache size: 1,000 tokens\nSetting max batch total tokens to 133696";
    assert!(matches!(read_serving_text(two), Err(ServingError::SeveralEngines { .. })));
    // One that only mentions its settings gives way to one that has a cache.
    let mixed = "sglang:page_size 1\nGPU KV cache size: 1,000 tokens";
    assert_eq!(read(mixed).engine, Engine::Vllm);
}

#[test]
fn a_file_is_read_as_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serve.log");
    std::fs::write(&path, "caf\u{e9}\r\nGPU KV cache size: 1,000 tokens\r\n").unwrap();
    let cache = read_serving(&path).unwrap();
    assert_eq!((cache.kv_tokens, cache.kv_bytes), (Some(1000), None::<ByteSize>));
    assert!(read_serving(&folder.path().join("none")).is_err() && read_serving(folder.path()).is_err());
    std::fs::write(&path, [0, 1, 2]).unwrap();
    assert!(matches!(read_serving(&path), Err(ServingError::Read(_))));
}

proptest::proptest! {
    /// Whatever a log holds, it is a cache or an error.
    #[test]
    fn any_line_is_read(text in "\\PC{0,80}", word in proptest::sample::select(vec![
        "GPU KV cache size: ", "# GPU blocks: ", "Maximum concurrency for ", "vllm:cache_config_info{block_size=\"", "\u{1b}[",
        "max_total_num_tokens=", "KV Cache is allocated. #tokens: ", "llama_context: n_ctx = ", "llama_kv_cache: size = ",
        "for max tokens in paged KV cache (", "Setting max batch total tokens to ", "non-default args: {'max_model_len': ",
        "{\"max_batch_total_tokens\":", "Available KV cache memory: ",
    ])) {
        let _ = read_serving_text(&format!("{word}{text}"));
        let _ = read_serving_text(&format!("{text}{word}\n{word}{text} tokens per request: {text}"));
    }
}
