//! No text makes a reader panic, and what is given back always says the same.

mod common;

use std::path::Path;

use common::{anywhere, nobody};
use proptest::prelude::*;
use vramkit_sets::{Reading, SetsError, maximal_sets, read_text, write_llama_swap};
use vramkit_units::ByteSize;

const NAMES: [&str; 5] = ["a.yaml", "a.ini", "a.toml", "Modelfile", "a.sh"];
const FILES: [&str; 5] = ["eight-models.yaml", "presets.ini", "models.toml", "Modelfile", "servers.sh"];

fn read(name: &str, text: String) {
    let reading = Reading { locate: &anywhere, variable: &nobody, ..Reading::default() };
    let Ok(file) = read_text(Path::new(name), text, &reading) else { return };
    let sizes: Vec<_> = file.entries.iter().map(|entry| (entry.name.clone(), ByteSize::mib(1))).collect();
    let _ = write_llama_swap(&file, &maximal_sets(&sizes, ByteSize::mib(3)));
}

#[test]
fn files_that_are_no_text_too_long_or_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    let error = |path: &Path| vramkit_sets::read_sets(path).expect_err("no configuration");
    assert!(matches!(error(&write("a.yaml", b"models:\n  a: \xff\n")), SetsError::Invalid { line: 2, .. }));
    assert!(matches!(error(&write("b.yaml", &vec![b'#'; 5 << 20])), SetsError::TooLarge { .. }));
    assert!(matches!(error(&folder.path().join("gone.yaml")), SetsError::Read { .. }));
    assert!(matches!(error(folder.path()), SetsError::Read { .. }));
    assert!(matches!(error(&write("empty", b"")), SetsError::UnknownKind { .. }));
}

#[cfg(unix)]
#[test]
fn a_pipe_or_a_device_is_refused_before_it_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe.yaml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
        let error = vramkit_sets::read_sets(path).expect_err("no configuration").to_string();
        assert!(error.contains("no regular file"), "{error}");
    }
}

#[test]
fn more_models_than_anybody_runs_are_refused() {
    let models: String = (0..1_001).map(|i| format!("  m{i}: {{cmd: llama-server -m a}}\n")).collect();
    let error = read_text(Path::new("a.yaml"), format!("models:\n{models}"), &Reading::default());
    assert!(error.expect_err("too many").to_string().contains("1000 models"));
}

proptest! {
    #[test]
    fn files_cut_and_spliced(which in 0..5usize, cuts in prop::collection::vec((0.0..1.0f64, "\\PC{0,6}|[ \n:&*!<>|{}\\[\\]'\"\\\\$-]{0,6}"), 1..4)) {
        let mut text = std::fs::read_to_string(common::data(FILES[which])).expect("a file of the tests");
        for (at, with) in cuts {
            let at = (0..=(at * text.len() as f64) as usize).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let end = (at + with.len()).min(text.len());
            let end = (end..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
            text.replace_range(at..end, &with);
        }
        read(NAMES[which], text);
    }

    #[test]
    fn cut_off_at_any_place(which in 0..5usize, at in 0.0..1.0f64) {
        let text = std::fs::read_to_string(common::data(FILES[which])).expect("a file of the tests");
        let at = (at * text.len() as f64) as usize;
        read(NAMES[which], text.get(..at).unwrap_or(&text).to_owned());
    }

    #[test]
    fn any_text(which in 0..5usize, text in "\\PC*|[a-c:\n -\\[\\]{}=#&*$|>'\"]{0,80}") {
        read(NAMES[which], text);
    }

    #[test]
    fn any_command(words in "(llama-server|vllm serve|docker run|sh -c|env|uv run|timeout)( (-[a-zé]{1,3}|--[a-z_-]{1,8}|[a-z0-9/:=,.'-]{1,6})){0,8}") {
        read("a.sh", words);
    }
}
