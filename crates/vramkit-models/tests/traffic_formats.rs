//! Logs as programs write them: what is read of each, what is left out, and what is said about it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use vramkit_models::traffic::{BadRows, Traffic, TrafficOptions, read_traffic_as};
use vramkit_models::{LackingColumns, ReadError};

fn read_with(content: impl AsRef<[u8]>, options: &TrafficOptions) -> Result<Traffic, ReadError> {
    thread_local!(static FOLDER: tempfile::TempDir = tempfile::tempdir().unwrap());
    // The name says nothing: the content tells what it is.
    let path = FOLDER.with(|folder| folder.path().join("requests.log"));
    // A new file: some file systems wait for the disk where an old one is overwritten.
    let _ = fs::remove_file(&path);
    fs::write(&path, content).unwrap();
    read_traffic_as(&path, options)
}

fn read(content: impl AsRef<[u8]>) -> Result<Traffic, ReadError> {
    read_with(content, &TrafficOptions::default())
}

fn lengths(traffic: &Traffic) -> Vec<(u32, u32)> {
    traffic.requests.iter().map(|request| (request.prompt, request.output)).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What every one of these says: 374 and 44, then 396 and 109.
const EXPECTED: [(u32, u32); 2] = [(374, 44), (396, 109)];

const TABLES: [(&str, &str); 14] = [
    ("plain", "prompt_tokens,output_tokens\n374,44\n396,109\n"),
    (
        "Azure",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n",
    ),
    (
        "BurstGPT",
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,374,44,418,Conversation log\n45,ChatGPT,396,109,505,API log\n",
    ),
    (
        "Mooncake",
        "timestamp,input_length,output_length,hash_ids\n0,374,44,\"[0, 1]\"\n3,396,109,\"[0, 2]\"\n",
    ),
    (
        "spend logs",
        "request_id,call_type,spend,total_tokens,prompt_tokens,completion_tokens,startTime,model\na,acompletion,0.1,418,374,44,2024-01-01 00:00:00.000,gpt\nb,acompletion,0.1,505,396,109,2024-01-01 00:00:01.000,gpt\n",
    ),
    (
        "a proxy's log",
        "time,status,retry-after,policy,prompt tokens,completion tokens,cached tokens,total tokens\n2025-10-28T10:15:30.123Z,200,,,374,44,,418\n2025-10-28T10:15:31.123Z,200,,,396,109,,505\n",
    ),
    ("semicolons", "\u{feff}Prompt Tokens;Output Tokens\r\n\"374\";44\r\n396;109\r\n"),
    ("tabs", "model\tprompt_len\toutput_len\na\t374\t44\nb\t396.0\t109\n"),
    ("bars", "id|num_prefill_tokens|num_decode_tokens\n1|374|44\n2|396|109\n"),
    ("quotes", "\"text, with; both\",prompt_tokens,output_tokens\n\"a \"\"b\"\", c\nd\",374,44\n,396,109\n"),
    ("a telescope's names", "llm.usage.prompt_tokens,llm.usage.completion_tokens\n374,44\n396,109\n"),
    (
        "Langfuse's names",
        "id,type,promptTokens,completionTokens,totalTokens\na,GENERATION,374,44,418\nb,GENERATION,396,109,505\n",
    ),
    (
        "Langfuse's cells",
        "id,type,usage_details\na,GENERATION,\"{\"\"input\"\":300,\"\"input_cached_tokens\"\":74,\"\"output\"\":44,\"\"total\"\":418}\"\nb,GENERATION,\"{\"\"input\"\":396,\"\"output\"\":100,\"\"output_reasoning_tokens\"\":9,\"\"total\"\":505}\"\n",
    ),
    (
        "Anthropic's names",
        "input_tokens,cache_creation_input_tokens,cache_read_input_tokens,output_tokens\n14,300,60,44\n396,,,109\n",
    ),
];

const JSON: [(&str, &str); 24] = [
    (
        "lines",
        "{\"prompt_tokens\": 374, \"completion_tokens\": 44}\n\n{\"prompt_tokens\": \"396\", \"completion_tokens\": 109.0}\n",
    ),
    (
        "an array",
        "[{\"input_tokens\": 374, \"output_tokens\": 44},\n {\"input_tokens\": 396, \"output_tokens\": 109}]",
    ),
    (
        "one in one",
        "{\"data\": [{\"input_tokens\": 374, \"output_tokens\": 44}, {\"input_tokens\": 396, \"output_tokens\": 109}], \"meta\": {\"page\": 1}}",
    ),
    (
        "several on a line",
        "{\"input_tokens\": 374, \"output_tokens\": 44} {\"input_tokens\": 396, \"output_tokens\": 109}",
    ),
    (
        "over several lines",
        "{\n \"input_tokens\": 374,\n \"output_tokens\": 44\n}\n{\n \"input_tokens\": 396,\n \"output_tokens\": 109\n}",
    ),
    (
        "chat",
        r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"}}],"usage":{"prompt_tokens":374,"completion_tokens":44,"total_tokens":418,"completion_tokens_details":{"reasoning_tokens":40},"prompt_tokens_details":{"cached_tokens":300}}}
{"choices":[],"usage":{"prompt_tokens":396,"completion_tokens":109,"total_tokens":505}}"#,
    ),
    (
        "responses",
        r#"{"object":"response","usage":{"input_tokens":374,"input_tokens_details":{"cached_tokens":100},"output_tokens":44,"output_tokens_details":{"reasoning_tokens":9},"total_tokens":418}}
{"response":{"usage":{"input_tokens":396,"output_tokens":109}}}"#,
    ),
    (
        "batch",
        r#"{"id":"batch_req_1","custom_id":"a","response":{"status_code":200,"request_id":"r","body":{"object":"chat.completion","choices":[{"message":{"role":"assistant","content":"x"}}],"usage":{"prompt_tokens":374,"completion_tokens":44,"total_tokens":418}}},"error":null}
{"id":"batch_req_2","custom_id":"b","response":{"status_code":200,"body":{"usage":{"prompt_tokens":396,"completion_tokens":109}}},"error":null}"#,
    ),
    (
        "Anthropic",
        r#"{"type":"message","usage":{"input_tokens":14,"cache_creation_input_tokens":300,"cache_read_input_tokens":60,"cache_creation":{"ephemeral_5m_input_tokens":300},"output_tokens":44}}
{"type":"assistant","message":{"role":"assistant","content":[{"type":"text","text":"x"}],"usage":{"input_tokens":396,"output_tokens":109}}}"#,
    ),
    (
        "vLLM's benchmark",
        r#"{"date":"20250101","backend":"vllm","completed":2,"total_input_tokens":770,"total_output_tokens":153,"input_lens":[374,396],"output_lens":[44,109],"ttfts":[0.1,0.2],"itls":[[0.1,0.2],[]],"generated_texts":["a","b"],"errors":["",""]}"#,
    ),
    (
        "SGLang's benchmark",
        "{\"backend\":\"sglang\",\"input_lens\":[374],\"output_lens\":[44],\"errors\":[\"\"]}\n{\"backend\":\"sglang\",\"input_lens\":[396],\"output_lens\":[109],\"errors\":[\"\"]}\n",
    ),
    (
        "GuideLLM before",
        r#"{"benchmarks":[{"requests":{"successful":[{"type_":"generative_text_response","prompt":"a b","output":"c","prompt_tokens":374,"output_tokens":44},{"prompt_tokens":396,"output_tokens":109}],"incomplete":[],"errored":[],"total":null}}]}"#,
    ),
    (
        "GuideLLM now",
        r#"{"metadata":{"version":1},"benchmarks":[{"requests":{"successful":[{"type_":"generative_request_stats","info":{"timings":{}},"input_metrics":{"text_tokens":374,"total_tokens":374},"output_metrics":{"text_tokens":44,"total_tokens":44},"prompt_tokens":374,"output_tokens":44,"total_tokens":418}]}},{"requests":{"successful":[{"input_metrics":{"total_tokens":396},"output_metrics":{"total_tokens":109}}]}}]}"#,
    ),
    (
        "Langfuse",
        r#"{"data":[{"id":"a","type":"GENERATION","usage":{"input":374,"output":44,"total":418,"unit":"TOKENS"},"promptTokens":374,"completionTokens":44},{"id":"b","type":"GENERATION","usageDetails":{"input":300,"cache_read_input_tokens":96,"output":109,"total":505}}]}"#,
    ),
    (
        "Langfuse's traces",
        r#"[{"id":"t","input":"x","output":"y","observations":[{"type":"GENERATION","usageDetails":{"input":374,"output":44}},{"type":"GENERATION","usageDetails":{"input":396,"output":109}}],"scores":[{"value":1,"name":"x"}]}]"#,
    ),
    (
        "flat spans",
        "{\"name\":\"chat\",\"attributes\":{\"gen_ai.usage.input_tokens\":374,\"gen_ai.usage.output_tokens\":44,\"gen_ai.usage.cache_read.input_tokens\":60}}\n{\"gen_ai.usage.prompt_tokens\":396,\"gen_ai.usage.completion_tokens\":109}",
    ),
    (
        "OTLP",
        r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},"scopeSpans":[{"scope":{"name":"x"},"spans":[{"traceId":"1","spanId":"a","parentSpanId":"","name":"chat","startTimeUnixNano":"1","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},{"key":"gen_ai.usage.input_tokens","value":{"intValue":"374"}},{"key":"gen_ai.usage.output_tokens","value":{"intValue":"44"}}],"events":[{"name":"e","attributes":[]}],"links":[{"traceId":"2","spanId":"b"}]},{"spanId":"c","attributes":[{"key":"llm.usage.prompt_tokens","value":{"intValue":396}},{"key":"gen_ai.usage.completion_tokens","value":{"doubleValue":109}}]}]}]}]}"#,
    ),
    (
        "Jaeger",
        r#"{"data":[{"traceID":"1","spans":[{"spanID":"a","tags":[{"key":"gen_ai.usage.input_tokens","type":"int64","value":374},{"key":"gen_ai.usage.output_tokens","type":"int64","value":44}]},{"spanID":"b","tags":[{"key":"gen_ai.usage.input_tokens","type":"int64","value":396},{"key":"gen_ai.usage.output_tokens","type":"int64","value":109}]}]}]}"#,
    ),
    (
        "OpenInference",
        "{\"attributes\":{\"llm.token_count.prompt\":374,\"llm.token_count.completion\":44}}\n{\"attributes\":{\"llm\":{\"token_count\":{\"prompt\":396,\"completion\":109}}}}",
    ),
    (
        "Mooncake",
        "{\"timestamp\": 27482, \"input_length\": 374, \"output_length\": 44, \"hash_ids\": [46, 47]}\n{\"timestamp\": 30535, \"input_length\": 396, \"output_length\": 109, \"hash_ids\": [46]}",
    ),
    (
        "Gemini",
        r#"[{"usageMetadata":{"promptTokenCount":374,"candidatesTokenCount":40,"thoughtsTokenCount":4,"totalTokenCount":418}},{"usageMetadata":{"promptTokenCount":396,"candidatesTokenCount":109}}]"#,
    ),
    (
        "Ollama",
        "{\"model\":\"m\",\"response\":\"x\",\"prompt_eval_count\":374,\"eval_count\":44}\n{\"prompt_eval_count\":396,\"eval_count\":109}",
    ),
    (
        "Bedrock",
        "{\"input\":{\"inputTokenCount\":374},\"output\":{\"outputTokenCount\":44}}\n{\"input\":{\"inputTokenCount\":396},\"output\":{\"outputTokenCount\":109}}",
    ),
    (
        "spend logs",
        "{\"request_id\":\"a\",\"api_key\":\"k\",\"metadata\":{\"status\":\"success\"},\"prompt_tokens\":374,\"completion_tokens\":44,\"total_tokens\":418}\n{\"prompt_tokens\":396,\"completion_tokens\":109,\"status\":\"success\"}",
    ),
];

#[test]
fn logs_as_they_are_written() {
    for (name, content) in TABLES.iter().chain(&JSON) {
        for content in [content.as_bytes().to_vec(), gzip(content.as_bytes())] {
            let traffic = read(&content).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(lengths(&traffic), EXPECTED, "{name}: {:?}", traffic.notes);
            assert!(!traffic.estimated && traffic.left_out == 0, "{name}: {:?}", traffic.notes);
            assert!(traffic.notes.iter().any(|note| note.starts_with("read as ")), "{name}");
        }
    }
}

/// Any beginning of a log is lengths or an error, and never other lengths.
#[test]
fn beginnings_of_logs() {
    for (name, content) in TABLES.iter().chain(&JSON) {
        for end in (0..content.len()).step_by(3).filter(|&end| content.is_char_boundary(end)) {
            if let Ok(traffic) = read(&content[..end]) {
                let first = lengths(&traffic)[0];
                // The last number may be cut.
                let is_begun = |whole: u32, cut: u32| whole.to_string().starts_with(&cut.to_string());
                assert!(
                    first.0 <= 374 && is_begun(44, first.1) || first == (74, 44),
                    "{name} to {end}: {first:?}"
                );
            }
        }
        let packed = gzip(content.as_bytes());
        for end in (0..packed.len()).step_by(17) {
            assert!(read(&packed[..end]).is_err(), "{name}");
        }
    }
}

fn notes(content: &str) -> (u64, String) {
    let traffic =
        read_with(content, &TrafficOptions { bad_rows: BadRows::LeaveOut, ..Default::default() }).unwrap();
    (traffic.left_out, traffic.notes.join("\n"))
}

#[test]
fn what_the_log_says_was_no_request_is_left_out() {
    let one = "\"prompt_tokens\":1,\"completion_tokens\":1";
    for (content, left_out, say) in [
        (r#"{"input_lens":[374,396,5],"output_lens":[44,0,3],"errors":["","","boom"]}"#.to_owned(), 2, "2 rows that failed"),
        (
            r#"{"benchmarks":[{"requests":{"successful":[{"prompt_tokens":1,"output_tokens":1}],"incomplete":[{"prompt_tokens":9,"output_tokens":2}],"errored":[{"prompt_tokens":9,"output_tokens":null},{"error":"x"}]}}]}"#.to_owned(),
            3,
            "3 rows that were not finished",
        ),
        (
            format!("{{\"response\":{{\"status_code\":200,\"body\":{{\"usage\":{{{one}}}}}}},\"error\":null}}\n{{\"response\":{{\"status_code\":429,\"body\":{{}}}},\"error\":null}}\n{{\"response\":null,\"error\":{{\"code\":\"x\",\"message\":\"y\"}}}}"),
            2,
            "2 rows that failed",
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"a","attributes":[{"key":"gen_ai.usage.input_tokens","value":{"intValue":"1"}},{"key":"gen_ai.usage.output_tokens","value":{"intValue":"1"}}]},{"spanId":"b","name":"GET /"},{"spanId":"c","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"invoke_agent"}},{"key":"gen_ai.usage.input_tokens","value":{"intValue":"9"}},{"key":"gen_ai.usage.output_tokens","value":{"intValue":"9"}}]}]}]}]}
{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"b","name":"GET /","links":[{"spanId":"x"}]}]}]}]}"#.to_owned(),
            3,
            "3 rows that are steps of a trace",
        ),
        (
            "type,promptTokens,completionTokens\nGENERATION,1,1\nSPAN,0,0\nEVENT,,\n".to_owned(),
            2,
            "2 rows that are steps of a trace",
        ),
        (format!("{{{one}}}\n{{\"status\":\"failure\",\"prompt_tokens\":0,\"completion_tokens\":0}}"), 1, "1 rows that failed"),
        (format!("{{{one}}}\n{{\"hello\":1}}\n{{\"prompt_tokens\":5,\"completion_tokens\":0}}"), 2, "1 rows without lengths"),
    ] {
        let (found, notes) = notes(&content);
        assert!(found == left_out && notes.contains(say), "{content}: {found} {notes}");
    }
}

#[test]
fn what_was_assumed_is_said() {
    for (content, say) in [
        (
            "prompt_tokens,input_tokens,output_tokens\n10,10,1\n10,12,1\n",
            "`prompt_tokens` and `input_tokens` differ in 1 rows, the first at 3",
        ),
        (TABLES[13].1, "`input_tokens` + `cache_creation_input_tokens` + `cache_read_input_tokens`"),
        (TABLES[13].1, "part of the prompt"),
        ("timestamp,prompt_tokens,output_tokens\n5,1,1\n3,1,1\n4,1,1\n", "1 rows are earlier by `timestamp`"),
        (
            "timestamp,prompt_tokens,output_tokens\n2024-01-02T00:00:00Z,1,1\n2024-01-01T00:00:00Z,1,1\n",
            "earlier",
        ),
        ("prompt_tokens;output_tokens\n1;1\n", "`;` between columns"),
        (
            "{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}",
            "prompt from `usage.prompt_tokens`, output from `usage.completion_tokens`",
        ),
        ("[{\"instruction\": \"12345678\", \"output\": \"12345678\"}]", "estimated"),
        (
            "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"12345678\"}]},{\"role\":\"assistant\",\"content\":\"1234\"}]}",
            "estimated",
        ),
    ] {
        let (_, notes) = notes(content);
        assert!(notes.contains(say), "{content}: {notes}");
    }
    let (_, quiet) = notes("timestamp,prompt_tokens,input_tokens,output_tokens\n3,10,10,1\n3,11,11,1\n");
    assert!(!quiet.contains("differ") && !quiet.contains("earlier"), "{quiet}");
}

#[test]
fn columns_that_somebody_names() {
    let with = |columns: &str, content: &str| {
        let options = TrafficOptions { columns: columns.parse().unwrap(), ..Default::default() };
        read_with(content, &options).map(|traffic| lengths(&traffic)).map_err(|error| error.to_string())
    };
    assert_eq!(
        with("prompt=in,output=out", "in,out,prompt_tokens\n374,44,1\n396,109,1\n").unwrap(),
        EXPECTED
    );
    assert_eq!(
        with("output=out", "prompt_tokens,out,output_tokens\n374,44,1\n396,109,1\n").unwrap(),
        EXPECTED
    );
    assert_eq!(
        with(
            "prompt=a.b,output=x.y",
            "{\"a\":{\"b\":374},\"x.y\":44}\n{\"a\":{\"b\":396},\"x\":{\"y\":109}}"
        )
        .unwrap(),
        EXPECTED
    );
    let error = with("prompt=In,output=out", "in,out\n374,44\n").unwrap_err();
    assert!(error.contains("no column of prompt lengths") && error.contains("`in`, `out`"), "{error}");
}

#[test]
fn a_missing_column_is_data() {
    let error = read("{\"usage\":{\"promt_tokens\":3,\"total_tokens\":4}}").unwrap_err();
    let ReadError::NoColumns { line, lacking, .. } = &error else { panic!("{error}") };
    let LackingColumns { missing, found, advice } = &**lacking;
    assert_eq!((*line, missing.len(), found.len()), (1, 2, 2));
    assert_eq!(missing[0].meant, Some(("usage.promt_tokens".to_owned(), "prompt_tokens")));
    assert!(advice.as_ref().unwrap().contains("together"));
}

#[test]
fn hostile_lengths_and_hostile_objects() {
    for value in ["1e400", "-1", "18446744073709551615", "1e18", "null", "[]", "{}", "true", "\"\"", "0.5"] {
        let _ = read(format!("{{\"prompt_tokens\":{value},\"output_tokens\":1}}")).unwrap_err();
    }
    let deep = format!("{}1{}", "{\"usage\":".repeat(100_000), "}".repeat(100_000));
    assert!(read(deep).is_err());
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(read(deep).is_err());
    let wide = format!(
        "{{\"prompt_tokens\":1,{}\"output_tokens\":1}}",
        (0..50_000).map(|n| format!("\"k{n}\":1,")).collect::<String>()
    );
    assert_eq!(lengths(&read(wide).unwrap()), [(1, 1)]);
    // A line that is longer than what is held of one.
    let list = |number: &str| format!("[{}{number}]", format!("{number},").repeat(2_000_000));
    let long = format!("{{\"input_lens\":{},\"output_lens\":{}}}", list("1234"), list("1234"));
    assert_eq!(read(long).unwrap().requests.len(), 2_000_001);
    let bomb = gzip(&vec![b'\n'; 100 << 20]);
    assert!(matches!(read(bomb), Err(ReadError::ExpandsTooFar { .. }) | Err(ReadError::In { .. })));
    let line = format!("1,1,{}\n", "x".repeat(1 << 20));
    let bomb = [gzip(b"prompt_tokens,output_tokens,text\n"), gzip(line.as_bytes()).repeat(150)].concat();
    let error = read(bomb).unwrap_err();
    assert!(matches!(error, ReadError::ExpandsTooFar { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever a file holds, it is lengths or an error.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300), begin in prop::sample::select(vec![
        &b""[..], b"{", b"[", b"[{\"prompt_tokens\":", b"PAR1", b"\x1f\x8b\x08\0", b"\xef\xbb\xbf", b"prompt_tokens,output_tokens\n",
    ])) {
        let _ = read([begin, &bytes].concat());
    }

    /// Changed bytes of a log are lengths or an error.
    #[test]
    fn changed_logs(log in 0..TABLES.len() + JSON.len(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = TABLES.iter().chain(&JSON).nth(log).unwrap().1.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read(bytes);
    }

    /// Lengths that are written come back, whatever the format.
    #[test]
    fn written_lengths_come_back(written in prop::collection::vec((1u32..1 << 24, 1u32..1 << 24), 1..40)) {
        let join = |row: &dyn Fn(u32, u32) -> String, between: &str| {
            written.iter().map(|&(p, o)| row(p, o)).collect::<Vec<_>>().join(between)
        };
        let object = |p: u32, o: u32| format!("{{\"prompt_tokens\":{p},\"output_tokens\":{o}}}");
        let formats = [
            format!("prompt_tokens,output_tokens\n{}", join(&|p, o| format!("{p},{o}"), "\n")),
            format!("prompt_tokens\toutput_tokens\r\n{}", join(&|p, o| format!("{p}\t\"{o}\""), "\r\n")),
            join(&object, "\n"),
            format!("[{}]", join(&object, ",")),
            format!("{{\"rows\":[{}]}}", join(&object, ",\n")),
            format!("{{\"input_lens\":[{}],\"output_lens\":[{}]}}", join(&|p, _| p.to_string(), ","), join(&|_, o| o.to_string(), ",")),
            join(&|p, o| format!("{{\"usage\":{{\"input_tokens\":{p},\"output_tokens\":\"{o}\"}}}}"), " "),
        ];
        for format in formats {
            prop_assert_eq!(lengths(&read(gzip(format.as_bytes())).unwrap()), written.clone());
            prop_assert_eq!(lengths(&read(format).unwrap()), written.clone());
        }
    }
}
