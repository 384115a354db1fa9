//! Data sets of experiments: what real files look like, and what hostile ones do.

#![allow(clippy::unwrap_used)]

use std::fs;

use proptest::prelude::*;
use vramkit_models::chats::{Entry, Speaker, Turn, read_chats};

fn read(content: impl AsRef<[u8]>) -> Result<Vec<Entry>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.json");
    fs::write(&path, content).unwrap();
    read_chats(&path).map_err(|error| error.to_string())
}

fn turn(speaker: Speaker, text: &str) -> Turn {
    Turn { speaker, text: text.to_owned() }
}

#[test]
fn both_data_sets_and_their_kin() {
    let alpaca = r#"{"instruction": "Add.", "input": "1, 2", "output": "3"}"#;
    let expected =
        Entry::Instruction { instruction: "Add.".into(), input: "1, 2".into(), output: "3".into() };
    let one = vec![expected];
    assert_eq!(read(format!("[{alpaca}]")).unwrap(), one);
    // A mark of byte order, an object a line, no input.
    assert_eq!(read(format!("\u{feff}[{alpaca}]")).unwrap(), one);
    assert_eq!(read(format!("{alpaca}\n\n{alpaca}\n")).unwrap(), [&one[..], &one].concat());
    assert!(read(r#"[{"instruction": "a", "input": null, "output": "b"}]"#).is_ok());

    let said = r#"[{"id": 7, "conversations": [{"from": "system", "value": "Be kind."}, {"from": "human", "value": "Hi"},
        {"from": "function_call", "value": "f()"}, {"from": "observation", "value": "1"}, {"from": "gpt", "value": "One"},
        {"from": "narrator", "value": "…"}]}]"#;
    let expected = [
        turn(Speaker::System, "Be kind."),
        turn(Speaker::User, "Hi"),
        turn(Speaker::Assistant, "f()"),
        turn(Speaker::User, "1"),
        turn(Speaker::Assistant, "One"),
        turn(Speaker::Other("narrator".into()), "…"),
    ];
    assert_eq!(read(said).unwrap(), [Entry::Conversation(expected.to_vec())]);
    let openai = r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": null, "tool_calls": []}]}"#;
    let expected = vec![turn(Speaker::User, "Hi"), turn(Speaker::Assistant, "")];
    assert_eq!(read(openai).unwrap(), [Entry::Conversation(expected)]);
    assert_eq!(read(r#"[{"conversations": []}]"#).unwrap(), [Entry::Conversation(Vec::new())]);
}

#[test]
fn what_is_wrong_is_named() {
    for (content, say) in [
        (&b""[..], "an empty file"),
        (b"[]", "no entries"),
        (b"PAR1\0\0", "a Parquet file"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"prompt_tokens,output_tokens\n1,2\n", "a table (CSV)"),
        (b"[1, 2", "line 1"),
        (b"[1, 2]", "entry 1: neither"),
        (b"[{\"instruction\": \"a\", \"output\": \"b\"}, {\"instruction\": 3}]", "entry 2: neither"),
        (b"{\"instruction\": \"a\", \"output\": \"b\"}\n{\"instr", "line 2: object 2"),
        (b"[{\"instruction\": \"\xff\"}]", "line 1"),
    ] {
        let error = read(content).unwrap_err();
        assert!(error.contains(say) && error.contains("chats.json"), "{error}");
    }
    assert!(read_chats("nowhere.json".as_ref()).unwrap_err().to_string().contains("nowhere.json"));
}

proptest! {
    #[test]
    fn no_file_is_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), json in "[\\[{\"a-z:, }\\]]{0,80}") {
        let _ = read(&bytes);
        let _ = read(json);
    }
}
