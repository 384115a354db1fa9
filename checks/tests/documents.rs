//! What documents list is so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file under a folder with this ending, as a path from the root.
fn files(folder: &str, ending: &str) -> BTreeSet<String> {
    let (mut found, mut open) = (BTreeSet::new(), vec![root().join(folder)]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.insert(path.strip_prefix(root()).expect("inside").to_string_lossy().into_owned());
            }
        }
    }
    found
}

#[test]
fn unsafe_is_where_contributing_says() {
    let text = read(&root().join("CONTRIBUTING.md"));
    let list = text.split("`unsafe` is denied but for these files").nth(1).expect("the list is there");
    let list = list.split("\n\n").nth(1).expect("the list follows");
    let listed: BTreeSet<String> =
        list.split('`').skip(1).step_by(2).filter(|path| path.ends_with(".rs")).map(str::to_owned).collect();
    let allowed = |path: &String| {
        // Whatever lifts the lint, in however many lines.
        read(&root().join(path)).replace("forbid(unsafe_code)", "").contains("unsafe_code")
    };
    let found: BTreeSet<String> = files("crates", ".rs").into_iter().filter(allowed).collect();
    assert_eq!(found, listed, "files that allow `unsafe`, and those that CONTRIBUTING.md lists");
}

#[test]
fn every_document_is_in_the_index_and_every_link_leads_somewhere() {
    let index = read(&root().join("docs/index.md"));
    for file in files("docs", ".md").iter().filter(|file| *file != "docs/index.md") {
        let name = file.strip_prefix("docs/").expect("of that folder");
        assert!(index.contains(&format!("({name})")), "docs/index.md does not list {file}");
    }
    let documents = files("docs", ".md").into_iter().chain(["README.md".into(), "CONTRIBUTING.md".into()]);
    for file in documents {
        let text = read(&root().join(&file));
        let folder = root().join(&file).parent().expect("a file is in a folder").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") {
                assert!(folder.join(path).exists(), "{file} links to {link}");
            }
        }
    }
}

#[test]
fn what_is_deployed_is_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    for file in ["deploy/kubernetes.yaml", "deploy/Containerfile"] {
        let text = read(&root().join(file));
        let tags: Vec<&str> =
            text.split("vramkit:").skip(1).filter(|rest| rest.starts_with(char::is_numeric)).collect();
        assert!(!tags.is_empty(), "{file} names an image");
        assert!(
            tags.iter().all(|tag| tag.starts_with(version)),
            "{file} names another version than {version}"
        );
    }
}
