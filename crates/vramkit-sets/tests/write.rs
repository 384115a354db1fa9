//! llama-swap's file given back with sets in it.

mod common;

use std::path::Path;

use common::{anywhere, nobody, read};
use proptest::prelude::*;
use vramkit_sets::{
    Kind, MaximalSets, Reading, SetsError, SetsFile, check_promises, maximal_sets, read_text,
    write_llama_swap,
};
use vramkit_units::ByteSize;

fn parse(text: &str) -> SetsFile {
    let reading = Reading { locate: &anywhere, variable: &nobody, ..Reading::default() };
    read_text(Path::new("config.yaml"), text.to_owned(), &reading).expect("a configuration")
}

fn sizes(file: &SetsFile, mib: impl Iterator<Item = u64>) -> Vec<(String, ByteSize)> {
    file.entries.iter().map(|entry| entry.name.clone()).zip(mib.map(ByteSize::mib)).collect()
}

fn source(name: &str) -> String {
    std::fs::read_to_string(common::data(name)).expect("a file of the tests")
}

fn promised(file: &SetsFile) -> Vec<Vec<String>> {
    let written = file.promised.iter().filter(|set| set.line.is_some());
    let of = |set: &vramkit_sets::PromisedSet| -> Vec<String> {
        let all = set.together.combinations(1).expect("one");
        all[0].iter().map(|name| (*name).to_owned()).collect()
    };
    written.map(of).collect()
}

fn listed(sets: &MaximalSets) -> Vec<Vec<String>> {
    let sorted = |models: &Vec<String>| {
        let mut models = models.clone();
        models.sort();
        models
    };
    sets.sets.iter().map(|set| sorted(&set.models)).collect()
}

#[test]
fn eight_models_on_24_gib() {
    let file = read("eight-models.yaml");
    // Whisper's is not known.
    let sizes = sizes(&file, [11_050, 15_400, 10_900, 5_700, 1_150, 1_020, 8_602].into_iter());
    let sets = maximal_sets(&sizes, ByteSize::gib(24));
    assert!(sets.sets.len() > 3 && !sets.truncated);
    let written = write_llama_swap(&file, &sets).expect("a file");
    let text = source("eight-models.yaml");
    assert!(written.starts_with(&text), "nothing before the block changes");
    assert!(
        written.contains("\"gemma3-12b\": \"gemma3:12b\"")
            && written.contains("\"org-embed-v1.5\": \"org/embed v1.5\"")
    );
    assert!(written.contains("what \"whisper\" takes is not known"));
    let again = parse(&written);
    assert_eq!(promised(&again), listed(&sets));
    let fits = |promise: &vramkit_sets::Promise| promise.fits == Some(true);
    let promises = check_promises(&again.promised, &sizes, ByteSize::gib(24));
    assert!(promises.iter().filter(|promise| promise.line.is_some()).all(fits));
    // On a smaller card, what the file now promises does not fit.
    assert!(
        check_promises(&again.promised, &sizes, ByteSize::gib(16))
            .iter()
            .any(|promise| promise.fits == Some(false))
    );
}

#[test]
fn written_again_the_block_is_replaced_where_it_is() {
    let file = read("eight-models.yaml");
    let sizes = sizes(&file, [11_050, 15_400, 10_900, 5_700, 1_150, 1_020, 8_602].into_iter());
    let [large, small] = [24, 16].map(|gib| maximal_sets(&sizes, ByteSize::gib(gib)));
    let written = write_llama_swap(&file, &large).expect("a file") + "# a comment after it\npeers: {}\n";
    assert_eq!(write_llama_swap(&parse(&written), &large).expect("a file"), written);
    let smaller = write_llama_swap(&parse(&written), &small).expect("a file");
    assert!(smaller.ends_with("# vramkit: end\n# a comment after it\npeers: {}\n"));
    assert_eq!(promised(&parse(&smaller)), listed(&small));
    assert_eq!(smaller.matches("# vramkit: begin").count(), 1);
}

#[test]
fn what_is_written_by_hand_is_left_alone() {
    for (name, key, line) in [("groups.yaml", "groups", 1), ("matrix.yaml", "routing.router", 10)] {
        let file = read(name);
        let sets = maximal_sets(&sizes(&file, 1..), ByteSize::gib(1));
        match write_llama_swap(&file, &sets) {
            Err(SetsError::HandWritten { key: found, line: at, .. }) => {
                assert_eq!((found.as_str(), at), (key, line))
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

const TWO: &str = "models:\n  a: {cmd: llama-server -m a}\n  b: {cmd: llama-server -m b}\n";

fn two(text: &str) -> Result<String, SetsError> {
    let file = parse(text);
    write_llama_swap(&file, &maximal_sets(&sizes(&file, 1..), ByteSize::mib(10)))
}

#[test]
fn a_scheduler_beside_it_stays() {
    let text = format!("routing: # how\n    # first come\n    scheduler:\n        use: fifo\n{TWO}");
    let written = two(&text).expect("a file");
    assert!(written.starts_with("routing: # how\n    # vramkit: begin"));
    assert!(written.contains("    # vramkit: end\n    # first come\n    scheduler:\n        use: fifo\n"));
    assert_eq!(two(&written).expect("again"), written);
    assert!(two(&format!("{TWO}routing:\n")).is_ok());
}

#[test]
fn ends_of_lines_and_of_the_file_are_kept() {
    let windows = TWO.replace('\n', "\r\n");
    let written = two(&windows).expect("a file");
    assert!(
        written.starts_with(&windows) && written.matches('\n').count() == written.matches("\r\n").count()
    );
    let without = two(TWO.trim_end()).expect("a file");
    assert!(without.starts_with(&format!("{TWO}# vramkit: begin")));
    let kept = format!("{TWO}  c:\n    cmd: |+\n      llama-server -m c\n\n");
    assert!(two(&kept).expect("a file").starts_with(&kept));
}

#[test]
fn files_that_cannot_be_written_are_refused() {
    let reason = |text: &str| match two(text) {
        Err(SetsError::CannotWrite { reason, .. }) => reason,
        other => panic!("{text}: {other:?}"),
    };
    assert!(reason("{models: {a: {cmd: x}}}").contains("braces"));
    assert!(reason(&format!("{TWO}routing: {{scheduler: {{use: fifo}}}}\n")).contains("as a block"));
    assert!(reason(&format!("{TWO}...\n")).contains("single"));
    assert!(reason(&format!("{TWO}---\na: b\n")).contains("single"));
    assert!(reason(&format!("{TWO}# vramkit: begin\n")).contains("do not match"));
    assert!(reason("models:\n  \"a\\tb\": {cmd: x}\n").contains("cannot be written"));
    let file = parse(TWO);
    assert!(
        write_llama_swap(&file, &maximal_sets(&sizes(&file, 20..), ByteSize::mib(10))).is_err(),
        "nothing fits"
    );
    let toml = read("models.toml");
    assert_eq!(toml.kind, Kind::Vramkit);
    assert!(write_llama_swap(&toml, &maximal_sets(&sizes(&toml, 1..), ByteSize::gib(1))).is_err());
}

#[test]
fn a_model_that_is_too_large_is_said() {
    let file = parse(TWO);
    let written =
        write_llama_swap(&file, &maximal_sets(&sizes(&file, [1, 99].into_iter()), ByteSize::mib(10)));
    let written = written.expect("a file");
    assert!(written.contains("# Not in a set: \"b\" takes 99"));
    // llama-swap would still start it, alone: that is a promise that does not hold.
    let again = parse(&written);
    let promises = check_promises(&again.promised, &sizes(&file, [1, 99].into_iter()), ByteSize::mib(10));
    assert_eq!(promises.iter().filter(|promise| promise.fits == Some(false)).count(), 1);
}

proptest! {
    #[test]
    fn written_sets_are_read_as_they_were(
        names in prop::collection::btree_set("[ -#%-~äé]{1,40}", 1..8),
        mib in prop::collection::vec(1..60u64, 8),
        capacity in 60..120u64,
    ) {
        let mut text = "models:\n".to_owned();
        for name in &names {
            text += &format!("  \"{}\":\n    cmd: llama-server -m a.gguf\n", name.replace('\\', "\\\\").replace('"', "\\\""));
        }
        let file = parse(&text);
        let sets = maximal_sets(&sizes(&file, mib.into_iter()), ByteSize::mib(capacity));
        let written = write_llama_swap(&file, &sets).expect("a file");
        prop_assert!(written.starts_with(&text));
        prop_assert_eq!(promised(&parse(&written)), listed(&sets));
    }
}
