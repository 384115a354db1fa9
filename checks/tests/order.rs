//! The order of the house: crates import as drawn, and no files of a crate import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use checks::Imports;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn crates() -> Vec<PathBuf> {
    let folders = std::fs::read_dir(root().join("crates")).expect("the crates are there");
    let mut crates: Vec<PathBuf> = folders.map(|entry| entry.expect("a folder").path()).collect();
    crates.sort();
    crates
}

fn name(folder: &Path) -> String {
    folder.file_name().expect("a crate has a name").to_string_lossy().into_owned()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut circles = String::new();
    for folder in crates() {
        let source = folder.join("src");
        let file = ["lib.rs", "main.rs"].map(|name| source.join(name)).into_iter().find(|file| file.exists());
        let imports = Imports::of_crate(&file.expect("a crate has a root")).expect("sources are Rust");
        for circle in imports.circles() {
            circles += &format!("{}: {circle:?}\n", name(&folder));
            for (from, edges) in imports.edges.iter().filter(|(from, _)| circle.contains(*from)) {
                for (to, names) in edges.iter().filter(|(to, _)| circle.contains(*to)) {
                    circles += &format!("    {from} takes {names:?} from {to}\n");
                }
            }
        }
    }
    assert!(circles.is_empty(), "files that import each other:\n{circles}");
}

/// The drawing in `docs/architecture.md`: a line for each crate, with those that it may import after an arrow.
fn drawn() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).expect("the document is there");
    let lines = text.lines().filter_map(|line| {
        let (left, right) = line.split_once('→')?;
        let name = left.split_whitespace().next().filter(|name| name.starts_with("vramkit"))?;
        let full = |word: &str| if word == "vramkit" { word.to_owned() } else { format!("vramkit-{word}") };
        let right = right.split_whitespace().filter(|word| *word != "nothing").map(full);
        Some((name.to_owned(), right.collect()))
    });
    lines.collect()
}

#[test]
fn crates_import_as_drawn() {
    let drawn = drawn();
    let mut found = BTreeMap::new();
    for folder in crates() {
        let text = std::fs::read_to_string(folder.join("Cargo.toml")).expect("a crate has a manifest");
        let manifest: toml::Table = text.parse().expect("a manifest is TOML");
        let targets = manifest.get("target").and_then(toml::Value::as_table);
        let roots = targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table);
        let tables = roots.chain([&manifest]).flat_map(|root| {
            ["dependencies", "build-dependencies"].into_iter().filter_map(|table| root.get(table)?.as_table())
        });
        let own = tables;
        let own = own.flat_map(toml::Table::keys).filter(|name| name.starts_with("vramkit")).cloned();
        found.insert(name(&folder), own.collect::<BTreeSet<String>>());
    }
    assert_eq!(found, drawn, "dependencies as they are, and as docs/architecture.md draws them");
    let product = |name: &&String| !["vramkit-testing", "vramkit-standin"].contains(&name.as_str());
    // `vramkit-stress` is itself a test, of a user's model: it makes models, and devices that fail.
    for (name, own) in found.iter().filter(|(name, _)| product(name) && *name != "vramkit-stress") {
        assert!(own.iter().all(|name| product(&name)), "{name} needs what is for tests alone");
    }
}
