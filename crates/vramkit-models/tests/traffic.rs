//! Logs of lengths: what real files look like, and what hostile ones do.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use vramkit_models::traffic::{BadRows, LoggedRequest, Traffic, read_traffic};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn read(name: &str, content: impl AsRef<[u8]>) -> Result<Traffic, String> {
    let folder = Folder::new();
    read_traffic(&folder.file(name, content), BadRows::Refuse).map_err(|error| error.to_string())
}

fn lengths(name: &str, content: &str) -> Vec<(u32, u32)> {
    read(name, content).unwrap().requests.iter().map(|r| (r.prompt, r.output)).collect()
}

#[test]
fn the_headers_that_logs_have() {
    let expected = [(374, 44), (396, 109)];
    assert_eq!(lengths("a.csv", "prompt_tokens,output_tokens\n374,44\n396,109\n"), expected);
    let azure =
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,374,44\n2023-11-16 18:15:50,396,109";
    assert_eq!(lengths("azure.csv", azure), expected);
    assert_eq!(
        lengths("b.CSV", "\u{feff}input_toks, output_toks ,arrival_ns\n374, 44,1\n396,109,2\n"),
        expected
    );
    let lines = "{\"request_id\": \"a\", \"input_toks\": 374, \"output_toks\": 44}\n\n{\"prompt_tokens\": 396.0, \"completion_tokens\": 109}\n";
    assert_eq!(lengths("a.jsonl", lines), expected);
    assert!(!read("a.jsonl", lines).unwrap().estimated);
    // Characters, four to a token.
    let text =
        read("c.csv", "prompt_words,prompt_chars,output_words,output_chars\n26,138,1,2\n8,43,3,7\n").unwrap();
    assert!(text.estimated);
    assert_eq!(
        text.requests,
        [LoggedRequest { prompt: 35, output: 1 }, LoggedRequest { prompt: 11, output: 2 }]
    );
}

#[test]
fn the_data_sets_of_experiments() {
    let alpaca = r#"[{"instruction": "12345678", "input": "1234", "output": "12345678"},
                     {"instruction": "say nothing", "input": "", "output": ""}]"#;
    let read_alpaca = read("alpaca.json", alpaca).unwrap();
    assert!(read_alpaca.estimated);
    assert_eq!(
        (read_alpaca.requests.as_slice(), read_alpaca.left_out),
        (&[LoggedRequest { prompt: 3, output: 2 }][..], 1)
    );
    // Each answer is a request, with all that was said before it as its prompt.
    let sharegpt = r#"[{"id": "x", "conversations": [{"from": "human", "value": "12345678"}, {"from": "gpt", "value": "1234"},
                       {"from": "human", "value": "1234"}, {"from": "gpt", "value": "123456789012"}]}]"#;
    assert_eq!(lengths("sharegpt.json", sharegpt), [(2, 1), (4, 3)]);
}

#[test]
fn a_row_that_is_no_request_is_named() {
    for (name, content, say) in [
        (
            "a.csv",
            "prompt_tokens,output_tokens\n1,1\n5,0\n",
            "line 3: a request of 5 prompt and 0 output tokens",
        ),
        ("a.csv", "prompt_tokens,output_tokens\n1000000000,1\n", "line 2: a request of 1000000000 prompt"),
        ("a.csv", "prompt_tokens,output_tokens\n1,1\n1,x\n", "line 3: `x` is no whole number"),
        ("a.csv", "prompt_tokens,output_tokens\n1,NaN\n", "line 2: `NaN`"),
        ("a.csv", "prompt_tokens,output_tokens\n-4,1\n", "line 2"),
        ("a.csv", "prompt_tokens,output_tokens\n1.5,1\n", "line 2: `1.5`"),
        ("a.csv", "prompt_tokens,output_tokens\n1\n", "line 2"),
        ("a.csv", "prompt_tokens,output_chars\n1,1\n", "mixed units"),
        ("a.csv", "a,b\n1,1\n", "no columns of lengths among `a,b`"),
        ("a.csv", "prompt_tokens,output_tokens\n", "no requests"),
        ("a.csv", "", "line 1"),
        (
            "a.jsonl",
            "{\"prompt_tokens\": 1, \"output_tokens\": 1}\n{\"prompt_tokens\": 1}\n",
            "line 2: no lengths",
        ),
        ("a.jsonl", "{\"prompt_tokens\": 1, \"output_tokens\": \"many\"}\n", "line 1"),
        ("a.jsonl", "[1, 2]\n", "line 1: no JSON object"),
        ("a.jsonl", "", "no requests"),
        ("a.json", "{}", "entry 1: neither Alpaca's"),
        ("a.json", "", "an empty file"),
        ("a.json", "prompt_tokens,output_tokens\n1,1\n", "a table (CSV)"),
        ("a.json", "[{\"text\": 1}]", "entry 1: neither Alpaca's"),
        ("a.json", "[", "line 1"),
        ("a.txt", "1,1", "no known kind"),
    ] {
        let error = read(name, content).unwrap_err();
        assert!(error.contains(say) && error.contains(name), "{content}: {error}");
    }
    let folder = Folder::new();
    let path = folder.file("a.csv", "prompt_tokens,output_tokens\n1,1\n5,0\n");
    let kept = read_traffic(&path, BadRows::LeaveOut).unwrap();
    assert_eq!((kept.requests.len(), kept.left_out), (1, 1));
}

proptest! {
    /// Whatever a file holds, it is lengths or an error.
    #[test]
    fn any_text_is_lengths_or_an_error(content in "\\PC{0,200}", ending in prop::sample::select(vec!["csv", "jsonl", "json"])) {
        let _ = read(&format!("a.{ending}"), &content);
        let _ = read(&format!("a.{ending}"), format!("prompt_tokens,output_tokens\n{content}"));
    }
}
