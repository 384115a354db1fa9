//! `vramkit capacity` as scripts and people use it.

use std::fs;

use serde_json::Value;

use crate::common;

fn words(arguments: &str) -> Vec<&str> {
    std::iter::once("capacity").chain(arguments.split_whitespace()).collect()
}

/// With all the time that an unoptimised program on a busy machine may need, unless the time is what is asked.
fn patiently(arguments: &str) -> String {
    let deadline = if arguments.contains("--deadline") { "" } else { "--deadline 300" };
    format!("{arguments} {deadline}")
}

fn run(arguments: &str) -> std::process::Output {
    common::vramkit().args(words(&patiently(arguments))).output().unwrap()
}

fn json(arguments: &str, status: i32) -> Value {
    common::json(&words(&format!("{} --json", patiently(arguments))), status)
}

fn refused(arguments: &str) -> String {
    common::refused(&words(arguments))
}

const GEOMETRIC: &str = "--prompt-mean 20 --termination 0.01";
const LOG: &str = "--lengths examples/requests.csv";

#[test]
fn a_cache_type_needs_a_shape() {
    let question = format!("{GEOMETRIC} --batch 8 --capacity-tokens 4000 --cache-type q8_0");
    let error = refused(&question);
    assert!(error.contains("--model") && error.contains("--layers"), "{error}");
    json(&format!("{question} --layers 2 --kv-heads 2 --head-dim 64"), 0);
}

#[test]
fn the_contract_is_kept() {
    let answer =
        json(&format!("--batch 128 --threshold 26 {GEOMETRIC} --capacity-tokens 17000 --risk 0.02"), 0);
    assert_eq!(answer["schema"], "vramkit.capacity/1");
    assert_eq!(answer["convention"], "before_free");
    for (figure, published, exact, margin) in
        [("x0", 11_645.8, 13_826.5, 5.0), ("kappa", 500.0, 469.0, 5.0), ("xmax", 12_145.8, 14_297.0, 40.0)]
    {
        let figure = &answer[figure];
        assert!((figure["published"].as_f64().unwrap() - published).abs() < 0.1, "{figure}");
        assert!((figure["exact"].as_f64().unwrap() - exact).abs() < margin, "{figure}");
        for key in ["corrected", "simulated", "standard_error"] {
            assert!(figure[key].as_f64().unwrap() > 0.0, "{figure}");
        }
    }
    for key in ["published", "corrected", "exact"] {
        let tail = answer["tail"][key].as_f64().unwrap();
        assert!((0.0..0.02).contains(&tail), "{key} {tail}");
    }
    let of = |key: &str| answer[key].as_f64().unwrap();
    assert!(of("probability_low") <= of("probability") && of("probability") <= of("probability_high"));
    assert!((0.007..0.014).contains(&of("probability")), "{}", of("probability"));
    assert!((128.0..=132.0).contains(&of("max_batch")), "{}", of("max_batch"));
    assert!((16_300.0..16_900.0).contains(&of("capacity_tokens_needed")), "{}", of("capacity_tokens_needed"));
}

#[test]
fn the_exit_status_is_the_answer() {
    let question = format!("--batch 128 --threshold 26 {GEOMETRIC} --capacity-tokens 16000");
    json(&question, 0);
    json(&format!("{question} --risk 0.2"), 0);
    let no = json(&format!("{question} --risk 0.001"), 1);
    assert!(no["probability"].as_f64().unwrap() > 0.001);
    // Without a capacity nothing can be too little.
    let needed = json(&format!("--batch 128 --threshold 26 {GEOMETRIC} --risk 0.001"), 0);
    assert!(needed["probability"].is_null() && needed["max_batch"].is_null());
    assert!(needed["capacity_tokens_needed"].as_f64().unwrap() > 17_000.0);
    // What was met too seldom is null, and what it is at most is said: a yes where that is enough, and neither yes nor no where not.
    let rare = format!("--batch 40 --threshold 8 {LOG} --capacity-tokens 120000");
    let known = json(&format!("{rare} --risk 0.01"), 0);
    assert!(known["probability"].is_null() && known["within_risk"] == true);
    let unknown = json(&format!("{rare} --risk 1e-9"), 2);
    assert!(unknown["within_risk"].is_null());
    let notes = unknown["notes"].as_array().unwrap();
    assert!(notes.iter().any(|note| note.as_str().unwrap().contains("the risk is at most")), "{notes:?}");
    let said = String::from_utf8(run(&format!("{rare} --risk 1e-9")).stderr).unwrap();
    assert!(said.contains("not known") && said.contains("--cycles"), "{said}");
}

#[test]
fn logs_and_horizons() {
    let hour =
        json(&format!("--batch 40 {LOG} --capacity-tokens 60000 --horizon 1h --step-seconds 0.025"), 0);
    let steps = json(&format!("--batch 40 {LOG} --capacity-tokens 60000 --horizon 144000"), 0);
    assert_eq!((&hour["step_seconds"], &steps["step_seconds"]), (&0.025.into(), &Value::Null));
    for figure in ["probability", "capacity_tokens_needed", "batches", "notes"] {
        assert_eq!(hour[figure], steps[figure]);
    }
    assert_eq!(hour["horizon_steps"], 144_000.0);
    assert_eq!(hour["traffic"]["requests"], 2000);
    assert_eq!(hour["probability_method"], "clumps");
    let moment = json(&format!("--batch 40 {LOG} --capacity-tokens 60000"), 0);
    assert!(moment["probability"].as_f64().unwrap() < 0.01 * hour["probability"].as_f64().unwrap());
    // The largest batch is used when none is given; the same seed gives the same, another nearly so.
    let largest = json(&format!("{LOG} --capacity-tokens 60000 --horizon 144000"), 0);
    assert_eq!(largest["batch"], largest["max_batch"]);
    let other = json(&format!("--batch 40 {LOG} --capacity-tokens 60000 --horizon 144000 --seed 5"), 0);
    let ratio = other["probability"].as_f64().unwrap() / steps["probability"].as_f64().unwrap();
    assert!(ratio != 1.0 && (0.5..2.0).contains(&ratio), "{ratio}");
    let capped =
        json(&format!("--batch 40 {LOG} --capacity-tokens 60000 --horizon 144000 --max-output 100"), 0);
    assert!(capped["traffic"]["mean_output"].as_f64().unwrap() < 100.0);
}

#[test]
fn memory_in_bytes_needs_a_shape() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    let shape = r#"{"model_type": "llama", "intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 8192, "tie_word_embeddings": false,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}"#;
    fs::write(&config, shape).unwrap();
    let model = json(&format!("--batch 40 {LOG} --capacity 8GiB --model {}", config.display()), 0);
    let same = json(&format!("--batch 40 {LOG} --capacity 8GiB --layers 32 --kv-heads 8 --head-dim 128"), 0);
    assert_eq!(model, same);
    assert_eq!(model["kv_bytes_per_token"], 131_072);
    assert_eq!(model["capacity_tokens"], 65_536.0);
    let needed = model["capacity_tokens_needed"].as_f64().unwrap().ceil() as u64;
    assert_eq!(model["capacity_bytes_needed"], needed * 131_072);
    let quantised = json(
        &format!("--batch 40 {LOG} --capacity 8GiB --model {} --cache-type q8_0", folder.path().display()),
        0,
    );
    assert_eq!(quantised["kv_bytes_per_token"], 69_632);
    assert!(refused(&format!("--batch 40 {LOG} --capacity 8GiB")).contains("--model"));
    assert!(
        refused(&format!("--batch 40 {LOG} --capacity 8GiB --model examples/requests.csv"))
            .contains("--layers")
    );
}

#[test]
fn windows_and_state_are_set_aside_for_each_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    let written = |model: &str| fs::write(&config, model).unwrap();
    let ask = |further: &str| format!("{further} {LOG} --capacity 8GiB --model {}", config.display());
    // Sixteen layers look at all tokens, sixteen at the last 1,024: 64 KiB a token, and 64 MiB a sequence.
    let types = ["\"full_attention\"", "\"sliding_attention\""].repeat(16).join(", ");
    written(&format!(
        r#"{{"model_type": "gpt_oss", "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
            "head_dim": 128, "hidden_size": 4096, "sliding_window": 1024, "layer_types": [{types}]}}"#
    ));
    let found = json(&ask("--batch 40"), 0);
    assert_eq!(
        (&found["kv_bytes_per_token"], &found["kv_bytes_per_sequence"]),
        (&65_536.into(), &67_108_864.into())
    );
    assert_eq!(found["capacity_tokens"], (8192.0 - 40.0 * 64.0) * 16.0);
    // The largest batch leaves room for its own windows, and one more would not.
    let largest = found["max_batch"].as_u64().unwrap();
    let risk = |seats: u64| {
        json(&ask(&format!("--batch {seats} --risk 0.999999")), 0)["probability"].as_f64().unwrap()
    };
    assert!(risk(largest) <= 0.01 && risk(largest + 1) > 0.01, "{largest}");
    assert_eq!(json(&ask(""), 0)["batch"], largest);
    // A window that no text fills sets nothing aside.
    written(
        r#"{"model_type": "mistral", "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
            "hidden_size": 4096, "sliding_window": 32768, "max_position_embeddings": 32768}"#,
    );
    let found = json(&ask("--batch 40"), 0);
    assert_eq!((&found["kv_bytes_per_token"], found.get("kv_bytes_per_sequence")), (&131_072.into(), None));
    // A sequence of a recurrent model takes the same whatever its length.
    written(
        r#"{"model_type": "mamba", "num_hidden_layers": 24, "hidden_size": 768, "state_size": 16, "conv_kernel": 4, "expand": 2}"#,
    );
    assert!(refused(&ask("--batch 40")).contains("3066 always fit"));
}

#[test]
fn bad_questions_are_told_what_is_wrong() {
    for (arguments, say) in [
        ("--batch 8 --threshold 0 --prompt-mean 20 --termination 0.1", "threshold of 0"),
        ("--batch 8 --threshold 9 --prompt-mean 20 --termination 0.1", "threshold of 9"),
        ("--batch 8 --prompt-mean 20 --termination 0", "(0, 1]"),
        ("--batch 8 --prompt-mean 20 --termination 1.5", "(0, 1]"),
        ("--batch 8 --prompt-mean 20 --termination NaN", "NaN"),
        ("--batch 8 --prompt-mean inf --termination 0.1", "inf"),
        ("--batch 8 --prompt-mean 1000000000 --termination 0.1", "16,777,216"),
        ("--batch 8 --prompt-mean 20 --termination 0.1 --capacity-tokens 10", "cannot hold one request"),
        ("--batch 8 --prompt-mean 20 --termination 0.1 --capacity-tokens NaN", "capacity"),
        ("--batch 8 --prompt-mean 20 --termination 0.1 --capacity-tokens 900 --risk 0", "risk"),
        ("--batch 8 --prompt-mean 20 --termination 0.1 --capacity-tokens 900 --risk 1", "risk"),
        ("--batch 8 --prompt-mean 20 --termination 0.1 --capacity-tokens 900 --horizon 0", "horizon"),
        (
            "--batch 8 --prompt-mean 20 --termination 0.1 --capacity-tokens 900 --horizon 0s --step-seconds 1",
            "horizon",
        ),
        ("--batch 8 --prompt-mean 20 --termination 0.1 --capacity-tokens 900 --horizon 1h", "--step-seconds"),
        ("--batch 8 --prompt-mean 20 --termination 0.1 --horizon 1h --step-seconds 0", "more than 0"),
        ("--batch 8 --prompt-mean 20 --termination 0.1 --horizon soon", "soon"),
        ("--batch 0 --prompt-mean 20 --termination 0.1", "--batch"),
        ("--batch 8 --prompt-mean 20 --termination 0.1 --max-output 0", "largest output"),
        ("--batch 8 --prompt-mean 20", "--termination"),
        ("--batch 8", "--lengths"),
        ("--prompt-mean 20 --termination 0.1", "--batch"),
        ("--batch 8 --prompt-mean 20 --termination 0.1 --svg /tmp/never.svg", "capacity"),
        ("--batch 8 --prompt-mean 20 --termination 0.1 --cycles 3", "cycles"),
        (
            "--batch 8 --prompt-mean 20 --termination 0.1 --capacity 1GiB --layers 0 --kv-heads 8 --head-dim 128",
            "no shape",
        ),
        ("--batch 8 --lengths examples/none.csv", "examples/none.csv"),
        ("--batch 8 --lengths examples/rmm_log.csv", "no columns of lengths"),
        ("--batch 8 --lengths examples/vision.toml", "no known kind"),
    ] {
        let error = refused(arguments);
        assert!(error.contains(say), "{arguments}: {error}");
    }
}

#[test]
fn traffic_as_it_is() {
    // All at once they are all at their longest at once, and in any other way they are not.
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("alike.csv");
    fs::write(&log, "asked;answered\n".to_owned() + &"1000;1000\n".repeat(300)).unwrap();
    let alike = format!(
        "--lengths {} --columns prompt=asked,output=answered --batch 64 --capacity-tokens 101882 --risk 0.01 --horizon 20000",
        log.display()
    );
    let settled = json(&alike, 1);
    assert_eq!(settled["probability_method"], "sojourns");
    let needed = settled["capacity_tokens_needed"].as_f64().unwrap();
    assert!((103_000.0..105_500.0).contains(&needed), "{needed}");
    let cold = json(&format!("{alike} --cold-start"), 1);
    assert_eq!((&cold["capacity_tokens_needed"], &cold["probability"]), (&128_000.0.into(), &1.0.into()));
    assert!(refused(&format!("--batch 8 {GEOMETRIC} --cold-start --horizon cycle")).contains("no beginning"));
    // Requests that come by themselves wait where seats are few.
    let arrivals = json(&format!("{LOG} --arrival-rate 6 --batch 34 --capacity-tokens 60000"), 0);
    assert_eq!((&arrivals["horizon_steps"], &arrivals["step_seconds"]), (&144_000.0.into(), &0.025.into()));
    assert!((0.9..0.94).contains(&arrivals["load_ratio"].as_f64().unwrap()));
    assert!(arrivals["waiting"]["mean_steps"].as_f64().unwrap() > 0.0);
    let free = json(&format!("{LOG} --arrival-rate 6 --capacity-tokens 60000"), 0);
    assert!(free["waiting"].is_null() && free["seats_limited"] == false);
    // A context refuses a part of them.
    let short = json(&format!("{LOG} --arrival-rate 6 --capacity-tokens 60000 --max-model-len 500"), 0);
    assert!(short["arrivals_per_step"].as_f64().unwrap() < free["arrivals_per_step"].as_f64().unwrap());
    // A prefix is held once; several machines each have a share of the risk.
    let one = json(&format!("--batch 40 {LOG} --horizon 1000"), 0);
    let shared = json(&format!("--batch 40 {LOG} --horizon 1000 --shared-prefix 40"), 0);
    let saved =
        one["capacity_tokens_needed"].as_f64().unwrap() - shared["capacity_tokens_needed"].as_f64().unwrap();
    assert!((1_000.0..1_900.0).contains(&saved), "{saved}");
    let several = json(&format!("--batch 40 {LOG} --horizon 1000 --replicas 8"), 0);
    assert!(several["capacity_tokens_needed"].as_f64() > one["capacity_tokens_needed"].as_f64());
    // Nothing is looked for longer than is said.
    let begun = std::time::Instant::now();
    json(
        "--batch 8 --threshold 1 --prompt-mean 20 --termination .01 --capacity-tokens 1000000000 --deadline 2",
        0,
    );
    assert!(begun.elapsed().as_secs_f64() < 5.0, "{:?}", begun.elapsed());
}

#[test]
fn what_engines_say_and_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("metrics.txt");
    let metrics =
        r#"vllm:cache_config_info{block_size="16",num_gpu_blocks="4000",gpu_memory_utilization="0.9"} 1.0"#;
    fs::write(&said, format!("# HELP vllm:cache_config_info Information\n{metrics}\n")).unwrap();
    let question = format!("{LOG} --engine-text {} --max-model-len 8192 --risk 0.01", said.display());
    let found = json(&format!("{question} --print-flags vllm"), 0);
    assert_eq!((&found["capacity_tokens"], &found["block_tokens"]), (&64_000.0.into(), &16.into()));
    let batch = found["max_batch"].as_u64().unwrap();
    let flags =
        ["--max-num-seqs {}", "--max-model-len 8192", "--block-size 16", "--num-gpu-blocks-override 4000"];
    let flags: Vec<String> = flags.iter().map(|flag| flag.replace("{}", &batch.to_string())).collect();
    assert_eq!(found["engine_flags"], serde_json::to_value(flags).unwrap());
    let text = String::from_utf8(run(&format!("{question} --print-flags llama.cpp")).stdout).unwrap();
    assert!(text.contains("--ctx-size 64000 --kv-unified") && text.contains("an hour"), "{text}");
    assert!(refused(&format!("{question} --print-flags torch")).contains("vllm, sglang, llama.cpp"));
    assert!(refused(&format!("{LOG} --engine-text examples/requests.csv")).contains("GPU KV cache size"));
    assert!(refused("--lengths - --engine-text -").contains("cannot both be standard input"));
    // What a card has left is as many more tokens as they are smaller.
    let config = folder.path().join("config.json");
    let shape = r#"{"model_type": "llama", "intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 8192, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16", "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}"#;
    fs::write(&config, shape).unwrap();
    let left = |cache: &str| {
        let card =
            format!("{LOG} --batch 8 --model {} --gpu-memory 40GiB --cache-type {cache}", config.display());
        json(&card, 0)["capacity_tokens"].as_f64().unwrap()
    };
    assert!((left("fp8") / left("f16") - 2.0).abs() < 0.01);
    let card = json(&format!("{LOG} --batch 8 --model {} --gpu-memory 40GiB", config.display()), 0);
    let notes = card["notes"].as_array().unwrap();
    assert!(notes.iter().any(|note| note.as_str().unwrap().starts_with("0.9 of 40 GiB leaves")), "{notes:?}");
    assert_eq!(card["block_tokens"], 16);
}

#[test]
fn defaults_are_what_they_are_said_to_be() {
    let replay = |further: &str| {
        let question = format!("--batch 40 {LOG} --capacity-tokens 20000 --block 16 --replay {further}");
        json(&question, 0)["replay"].clone()
    };
    let by_default = replay("");
    assert!(by_default["preemptions"].as_u64().unwrap() > 0);
    assert_eq!(by_default, replay("--watermark 0 --token-budget 8192"));
    assert_ne!(by_default, replay("--watermark 0.3"));
    assert_ne!(by_default, replay("--token-budget 500"));
    let help = String::from_utf8(run("--help").stdout).unwrap();
    assert!(help.contains("--deadline <SECONDS>") && help.contains("[default: 10]"), "{help}");
    let cold = json(&format!("--batch 8 {LOG} --cold-start"), 0);
    assert_eq!(cold["horizon_steps"], 144_000.0);
}

#[test]
fn a_person_sees_the_answer() {
    let output = run(&format!(
        "--batch 40 {LOG} --capacity-tokens 60000 --horizon 1h --step-seconds 0.025 --replay --block 16"
    ));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    insta::assert_snapshot!("capacity", String::from_utf8(output.stdout).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("risk.svg");
    let drawn = run(&format!(
        "--batch 32 --threshold 8 --prompt-mean 20 --termination 0.05 --capacity-tokens 1500 --svg {}",
        svg.display()
    ));
    assert!(drawn.status.success());
    let svg = fs::read_to_string(svg).unwrap();
    for part in ["published formulas", "simulated", "<polyline", "<circle", "risk of running out in a cycle"]
    {
        assert!(svg.contains(part), "{part}");
    }
}

#[test]
fn the_schema_describes_the_answer() {
    let schema = common::json(&["schema", "capacity"], 0);
    let answer = json(&format!("--batch 8 {GEOMETRIC}"), 0);
    for key in answer.as_object().unwrap().keys() {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}
