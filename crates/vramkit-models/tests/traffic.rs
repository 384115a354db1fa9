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
    let header = "prompt_tokens,output_tokens\n";
    for (name, content, say) in [
        ("a.csv", &format!("{header}1,1\n5,0\n"), "line 3: a request of 5 prompt and 0 output tokens"),
        ("a.csv", &format!("{header}1000000000,1\n"), "line 2: a request of 1000000000 prompt"),
        ("a.csv", &format!("{header}1,1\n1,x\n"), "line 3: `x` is no whole number"),
        ("a.csv", &format!("{header}1,NaN\n"), "line 2: `NaN`"),
        ("a.csv", &format!("{header}-4,1\n"), "line 2"),
        ("a.csv", &format!("{header}1.5,1\n"), "line 2: `1.5`"),
        ("a.csv", &format!("{header}1\n"), "line 2: 1 columns, where the first line has 2"),
        ("a.csv", &format!("{header}1,\n"), "line 2: no column of output lengths"),
        ("a.csv", &"prompt_tokens,output_chars\n1,1\n".to_owned(), "mixed units"),
        ("a.csv", &"a,b\n1,1\n".to_owned(), "among `a`, `b`"),
        ("a.csv", &"374,44\n1,1\n".to_owned(), "numbers where the names"),
        ("a.csv", &"promt_tokens,total_tokens\n1,1\n".to_owned(), "`promt_tokens` is near prompt_tokens"),
        ("a.csv", &"promt_tokens,total_tokens\n1,1\n".to_owned(), "`total_tokens` is prompt and output together"),
        ("a.csv", &"a;prompt_tokens;output_tokens\n1;12,000;3\n".to_owned(), "decimals or of thousands"),
        ("a.csv", &header.to_owned(), "no requests"),
        ("a.csv", &String::new(), "an empty file"),
        ("a.csv", &" \n \n".to_owned(), "an empty file"),
        (
            "a.jsonl",
            &"{\"prompt_tokens\": 1, \"output_tokens\": 1}\n\n{\"prompt_tokens\": 1}\n".to_owned(),
            "line 3: no column of output lengths",
        ),
        ("a.jsonl", &"{\"prompt_tokens\": 1, \"output_tokens\": \"many\"}\n".to_owned(), "line 1: `many`"),
        ("a.jsonl", &"[1, 2]\n".to_owned(), "line 1: an entry that is no JSON object"),
        ("a.jsonl", &"{\"prompt_tokens\": 1, \"output_tokens\": 1}\n7\n".to_owned(), "line 2: no JSON object"),
        ("a.json", &"{}".to_owned(), "line 1: no columns of lengths"),
        ("a.json", &"[{\"text\": 1}]".to_owned(), "among `text`"),
        ("a.json", &"[".to_owned(), "line 1"),
        ("a.json", &"[{\"prompt_tokens\": 1,\n\"output_tokens\": 1},\n{\"a\" 1}]".to_owned(), "line 3: no JSON"),
        (
            "a.json",
            &r#"{"a": [{"prompt_tokens": 1, "output_tokens": 1}], "b": [{"prompt_tokens": 1, "output_tokens": 1}]}"#.to_owned(),
            "lengths in more than one array: `a` (1 objects), `b` (1 objects)",
        ),
        (
            "a.json",
            &r#"{"completed": 3, "total_input_tokens": 12, "total_output_tokens": 4, "mean_ttft_ms": 1}"#.to_owned(),
            "without its requests",
        ),
        ("a.json", &r#"{"input_lens": [1, 2], "output_lens": [1]}"#.to_owned(), "2 prompt and 1 output lengths"),
        ("a.toml", &"# made by hand\nname = 1\n".to_owned(), "no known kind"),
        ("a.txt", &"1,1".to_owned(), "no columns of lengths"),
    ] {
        let error = read(name, content).unwrap_err();
        assert!(error.contains(say) && error.contains(name), "{content}: {error}");
    }
    for (content, say) in [
        (&b"\xff\xfep\0r\0"[..], "UTF-16"),
        (b"p\0r\0o\0m\0", "UTF-16"),
        (b"PK\x03\x04....", "spreadsheet"),
        (b"\x28\xb5\x2f\xfd", "Zstandard"),
        (b"PAR1 and nothing else", "Parquet"),
        (b"SQLite format 3\0", "SQLite"),
    ] {
        let error = read("a.csv", content).unwrap_err();
        assert!(error.contains(say), "{error}");
    }
    let folder = Folder::new();
    let path = folder.file("a.csv", "prompt_tokens,output_tokens\n1,1\n5,0\n,\n");
    let kept = read_traffic(&path, BadRows::LeaveOut).unwrap();
    assert_eq!((kept.requests.len(), kept.left_out), (1, 2));
}

proptest! {
    /// Whatever a file holds, it is lengths or an error.
    #[test]
    fn any_text_is_lengths_or_an_error(content in "\\PC{0,200}", ending in prop::sample::select(vec!["csv", "jsonl", "json"])) {
        let _ = read(&format!("a.{ending}"), &content);
        let _ = read(&format!("a.{ending}"), format!("prompt_tokens,output_tokens\n{content}"));
    }
}
