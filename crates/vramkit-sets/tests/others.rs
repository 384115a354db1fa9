//! Presets, Modelfiles, scripts and our own TOML.

mod common;

use std::path::Path;

use common::{anywhere, nobody, read};
use vramkit_fit::{FlashAttention, GpuLayers, Runtime};
use vramkit_sets::{Entry, Kind, Reading, SetsError, SetsFile, read_text};
use vramkit_units::ByteSize;

fn text(name: &str, text: &str) -> Result<SetsFile, SetsError> {
    read_text(
        Path::new(name),
        text.to_owned(),
        &Reading { locate: &anywhere, variable: &nobody, ..Reading::default() },
    )
}

/// The one model of a script of one line.
fn command(line: &str) -> Entry {
    let mut file = text("serve.sh", line).expect("a script");
    assert_eq!(file.entries.len(), 1, "{line}");
    file.entries.remove(0)
}

#[test]
fn presets() {
    let file = read("presets.ini");
    assert_eq!(file.kind, Kind::Presets);
    let [cached, coder, draft] = &file.entries[..] else { panic!("{:?}", file.entries) };
    assert!(cached.missing.as_deref().is_some_and(|reason| reason.contains("cache")));
    assert_eq!(coder.written.as_deref(), Some("/srv/models/coder.gguf"));
    assert_eq!((coder.options.context, coder.options.sequences), (Some(32_768), Some(2)));
    assert_eq!(coder.options.gpu_layers, GpuLayers::Last(99));
    assert_eq!(coder.options.flash_attention, FlashAttention::On);
    assert!(!coder.options.kv_unified);
    assert_eq!(coder.notes, ["`no-kv-offload`: the cache stays on the host; it is counted on the device"]);
    assert_eq!(draft.options.gpu_layers, GpuLayers::Last(20));
    assert_eq!((draft.options.context, draft.options.sequences), (Some(8_192), Some(4)));
    assert!(draft.options.kv_unified, "slots are not given");
    assert_eq!(draft.notes, ["`model-draft`: the draft model is not counted"]);
    let together = file.promised[0].together.combinations(10).expect("one");
    assert_eq!(together, [vec!["coder", "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M"]]);
}

#[test]
fn presets_that_are_none() {
    for (ini, line) in [("[a\nm = 1", 1), ("[a] b\n", 1), ("[a]\nwhat is this\n", 2), ("[a]\n1x = 3\n", 2)] {
        match text("p.ini", ini) {
            Err(SetsError::Invalid { line: at, .. }) => assert_eq!(at, line, "{ini}"),
            other => panic!("{ini}: {other:?}"),
        }
    }
    let file = text("p.ini", "[a]\nmodel = a.gguf\nkv-unified = maybe\n").expect("a file");
    assert!(file.entries[0].missing.as_deref().is_some_and(|reason| reason.contains("`maybe`")));
}

#[test]
fn a_modelfile() {
    let file = read("Modelfile");
    assert_eq!(file.kind, Kind::Modelfile);
    let model = &file.entries[0];
    assert_eq!((model.name.as_str(), model.line), ("data", 2));
    assert_eq!((model.options.context, model.options.gpu_layers), (Some(8_192), GpuLayers::Last(20)));
    assert!(model.notes.iter().any(|note| note.contains("adapter `./style.gguf`")));

    let reading = Reading { variable: &nobody, ..Reading::default() };
    let library =
        read_text(Path::new("x.modelfile"), "from llama3.2:3b\n".to_owned(), &reading).expect("a file");
    assert_eq!(library.entries[0].name, "x");
    assert!(library.entries[0].missing.as_deref().is_some_and(|reason| reason.contains("library")));
    assert!(text("Modelfile", "PARAMETER num_ctx 3\n").is_err());
    assert!(text("Modelfile", "FROM ./a.gguf\nPARAMETER num_ctx many\n").is_err());
}

#[test]
fn lines_of_a_script() {
    let file = read("servers.sh");
    assert_eq!(file.kind, Kind::Commands);
    let [chat, vllm, docker] = &file.entries[..] else { panic!("{:?}", file.entries) };
    assert_eq!((chat.name.as_str(), chat.line), ("chat", 7));
    assert_eq!(chat.written.as_deref(), Some("/srv/models/chat.gguf"));
    assert_eq!(chat.options.flash_attention, FlashAttention::On);
    assert_eq!(vllm.options.runtime, Runtime::Vllm);
    assert_eq!((vllm.options.tensor_parallel, vllm.options.context), (2, Some(8_192)));
    assert!(vllm.notes.iter().any(|note| note.contains("CUDA_VISIBLE_DEVICES")));
    assert_eq!(docker.written.as_deref(), Some("~/models/awq"));
    assert_eq!(docker.options.max_num_batched_tokens, Some(4_096));
}

#[test]
fn what_the_server_would_do_with_its_options() {
    let options = |line: &str| command(&format!("llama-server -m a.gguf {line}")).options;
    let slots = options("-c 4096");
    assert_eq!((slots.sequences, slots.kv_unified), (Some(4), true), "slots are not given");
    assert!(!options("--parallel 4").kv_unified);
    assert!(options("--parallel 4 --kv-unified").kv_unified);
    assert!(!options("-np -1 -no-kvu -np 2").kv_unified);
    assert_eq!(options("-c 0").context, None);
    assert_eq!(options("--ctx_size 1 -c 2").context, Some(2), "the last one wins");
    assert_eq!(options("--kv-unified-per-slot 1000 -np 3").context, Some(3_000));
    assert_eq!(options("-fa off").flash_attention, FlashAttention::Off);
    assert_eq!(options("-fa -c 5").flash_attention, FlashAttention::On, "older builds have a flag");
    assert_eq!(options("-ngl all").gpu_layers, GpuLayers::All);
    assert_eq!(options("-dev none").gpu_layers, GpuLayers::Last(0));
    assert_eq!(options("--embedding -ub 1024").batch, Some(1_024));
    assert_eq!(options("--spec-type draft-mtp").draft_tokens, 3);
}

#[test]
fn what_is_not_covered_is_never_silent() {
    let notes = |line: &str| command(&format!("llama-server -m a.gguf -c 1 -ngl 1 {line}")).notes;
    assert!(notes("--temp 0.7 --jinja --threads 8 --no-mmap --samplers 'a;b' -r x --cache-ram 0").is_empty());
    for line in [
        "-ot exps=CPU",
        "--lora x",
        "-md d.gguf",
        "--mmproj p.gguf",
        "-nkvo",
        "--rpc h:1",
        "-sm row",
        "-ts 3,1",
        "-dev a,b",
        "--cpu-moe",
        "--rerank",
        "--embedding",
        "--override-kv a=b",
        "--invented 3",
        "stray",
        "--spec-type draft-simple",
        "--ctx-size=4096",
    ] {
        assert_eq!(notes(line).len(), 1, "{line}: {:?}", notes(line));
    }
    let adjusts = |line: &str| command(&format!("llama-server -m a.gguf {line}")).notes;
    assert!(adjusts("")[0].contains("--fit"));
    assert!(adjusts("--fit off").is_empty());
    let vllm = |line: &str| command(&format!("vllm serve m {line}")).notes;
    assert!(vllm("--port 1 --trust-remote-code --enable_prefix_caching --no-enable-log-requests").is_empty());
    for line in
        ["-pp 2", "--cpu-offload-gb 4", "--dtype float16", "--invented", "-O3", "--max-model-len auto"]
    {
        assert_eq!(vllm(line).len(), 1, "{line}: {:?}", vllm(line));
    }
}

#[test]
fn what_cannot_be_answered_has_a_reason() {
    for (line, part) in [
        ("llama-server -c 5", "no model"),
        ("llama-server -m a.gguf -c many", "`many`"),
        ("llama-server -m a.gguf -ctk q9", "`q9`"),
        ("llama-server -m a.gguf -c", "no value"),
        ("llama-server --gpt-oss-20b-default", "fetched"),
        ("llama-server --models-dir /x", "router"),
        ("vllm serve m --gpu-memory-utilization 1.5", "at most 1"),
        ("vllm serve m --kv-cache-dtype q4_0", "`q4_0`"),
        ("docker run -v data:/m ghcr.io/ggml-org/llama.cpp:server -m /m/a.gguf", "no volume"),
        ("docker run ghcr.io/ggml-org/llama.cpp:light -m /m/a.gguf", "not known"),
        ("docker start llama-server", "started by `run`"),
        ("ssh host llama-server -m a.gguf", "`ssh`"),
    ] {
        let missing = command(line).missing.expect(line);
        assert!(missing.contains(part), "{line}: {missing}");
    }
    let reading = Reading { variable: &nobody, ..Reading::default() };
    let hub = |line: &str| {
        let file = read_text(Path::new("s.sh"), line.to_owned(), &reading).expect("a script");
        file.entries[0].missing.clone().expect("a reason")
    };
    assert!(hub("llama-server -hf org/name-GGUF:Q4_K_M").contains("hub"));
    assert!(hub("vllm serve org/name").contains("hub"));
    assert!(hub("llama-server -m models/a.gguf").contains("not here"));
}

#[test]
fn wrappers_are_looked_through() {
    for line in [
        "env A=b llama-server -m a.gguf",
        "sudo -u me nice -n 5 taskset 0xff /x/llama-server-cuda -m a.gguf",
        "sh -c 'exec llama-server -m a.gguf > log'",
        "uv run --with x vllm serve a.gguf",
        "uvx --python 3.12 vllm serve a.gguf",
        "python3 -m vllm.entrypoints.openai.api_server --model a.gguf",
        "llama serve -m a.gguf",
        "timeout 5 stdbuf -oL llama-server -m a.gguf",
        "docker run --rm -it -p8080:80 --mount type=bind,source=/h,target=/m ghcr.io/ggml-org/llama.cpp:full --server -m a.gguf",
        "podman run --entrypoint /app/llama-server some/image -m a.gguf",
    ] {
        let entry = command(line);
        assert_eq!((entry.missing, entry.written.as_deref()), (None, Some("a.gguf")), "{line}");
    }
}

#[test]
fn our_own_toml() {
    let file = read("models.toml");
    assert_eq!((file.kind, file.memory), (Kind::Vramkit, Some(ByteSize::gib(24))));
    let [chat, embed, served] = &file.entries[..] else { panic!("{:?}", file.entries) };
    assert_eq!((chat.line, chat.options.runtime), (3, Runtime::LlamaCpp));
    assert_eq!((chat.options.context, chat.options.sequences), (Some(16_384), Some(2)));
    assert_eq!(embed.options.gpu_layers, GpuLayers::Last(12));
    assert_eq!(served.reserves(ByteSize::gib(10)), Some(ByteSize::gib(3)));
    assert_eq!(chat.reserves(ByteSize::gib(10)), None);
    let names: Vec<_> = file.promised.iter().map(|set| (set.name.as_str(), set.line)).collect();
    assert_eq!(names, [("day", Some(25)), ("set 2", Some(29))]);
    for (toml, part) in [
        ("[[models]]\nname='a'\npath='b'\nctxx=3\n", "ctxx"),
        ("[[models]]\nname='a'\npath='b'\n[[models]]\nname='a'\npath='b'\n", "twice"),
        ("[[sets]]\nmodels=['a']\n", "`a`"),
        ("memory='much'\n", "memory"),
        ("[[models]]\nname='a'\npath='b'\nruntime='other'\n", "`other`"),
        ("memory='0'\n", "0 bytes"),
    ] {
        let error = text("m.toml", toml).expect_err(toml).to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_model_of_our_own_toml_has_the_engines_names_and_no_zeros() {
    let model = |runtime: &str, line: &str| {
        text("m.toml", &format!("[[models]]\nname='a'\npath='b'\nruntime='{runtime}'\n{line}\n"))
    };
    let options = |runtime: &str, line: &str| model(runtime, line).expect(line).entries.remove(0).options;
    for (line, fp8) in
        [("cache-type='fp8'", true), ("cache-type='fp8_e4m3'", true), ("cache-type='auto'", false)]
    {
        let options = options("vllm", line);
        assert_eq!(
            (options.fp8_cache, options.cache_type_k, options.cache_type_v),
            (fp8, None, None),
            "{line}"
        );
    }
    let types = |line: &str| {
        let options = options("llama.cpp", line);
        [options.cache_type_k, options.cache_type_v].map(|kind| kind.map(|kind| kind.name()))
    };
    assert_eq!(types("cache-type='q8_0'"), [Some("q8_0"); 2]);
    assert_eq!(types("cache-type='q8_0'\ncache-type-k='q4_0'"), [Some("q4_0"), Some("q8_0")]);
    assert_eq!(options("llama.cpp", "gpu-layers=3").gpu_layers, GpuLayers::Last(3));
    assert_eq!(options("llama.cpp", "gpu-layers='all'").gpu_layers, GpuLayers::All);
    for (line, at, part) in [
        ("cache-type='fp8'", 1, "llama.cpp has no cache type `fp8`"),
        ("gpu-layers=-1", 5, "gpu-layers as a whole number or \"all\""),
        ("gpu-layers=true", 5, "gpu-layers as a whole number or \"all\""),
        ("gpu-layers='some'", 5, "gpu-layers as a whole number or \"all\""),
        ("ctx=0", 1, "ctx is at least 1, not 0"),
        ("seqs=0", 1, "seqs is at least 1"),
        ("ubatch=0", 1, "ubatch is at least 1"),
        ("tensor-parallel=0", 1, "tensor-parallel is at least 1"),
    ] {
        match model("llama.cpp", line) {
            Err(SetsError::Invalid { line: found, reason, .. }) => {
                assert!(found == at && reason.contains(part), "{line}: line {found}: {reason}");
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn caches_of_one_byte_under_vllm() {
    let read = |words: &str| {
        let entry = command(&format!("vllm serve m {words}"));
        assert_eq!(entry.missing, None, "{words}");
        (entry.options.fp8_cache, entry.options.cache_type_k.map(|kind| kind.name()))
    };
    for name in ["fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc"] {
        assert_eq!(read(&format!("--kv-cache-dtype {name}")), (true, None));
    }
    assert_eq!(read("--kv-cache-dtype=auto"), (false, None));
    assert_eq!(read("--kv-cache-dtype bfloat16"), (false, Some("bf16")));
    assert_eq!(read("--kv-cache-dtype fp8 --kv_cache_dtype auto"), (false, None), "the last one wins");
}

#[test]
fn a_file_without_an_ending_is_known_by_what_it_says() {
    for (what, kind) in [
        ("FROM ./a.gguf\n", Kind::Modelfile),
        ("[[models]]\nname='a'\npath='b'\n", Kind::Vramkit),
        ("[a]\nmodel = b\n", Kind::Presets),
        ("models:\n  a: {cmd: x}\n", Kind::LlamaSwap),
        ("vllm serve a\n", Kind::Commands),
    ] {
        assert_eq!(text("config", what).expect(what).kind, kind);
    }
    assert!(matches!(text("config", "hello\n"), Err(SetsError::UnknownKind { .. })));
}
