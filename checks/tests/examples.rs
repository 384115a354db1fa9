//! Every public type that a user makes shows how: a type with a public function that makes one has an example in its
//! documentation, and so has the page of every crate and public module.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::{Attribute, FnArg, ImplItem, Item, ReturnType, Type, Visibility};

fn crates() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut crates: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the crates are there")
        .map(|entry| entry.expect("a folder").path())
        // A program, and a library that is only called through C.
        .filter(|path| !path.ends_with("vramkit-cli") && !path.ends_with("vramkit-standin"))
        .collect();
    crates.sort();
    crates
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => sources(&path, into),
            false if path.extension().is_some_and(|ending| ending == "rs") => into.push(path),
            false => {}
        }
    }
}

fn documentation(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).map(|attribute| {
        match &attribute.meta {
            syn::Meta::NameValue(value) => match &value.value {
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => text.value(),
                // `include_str!` of the crate's README.
                _ => "```".to_owned(),
            },
            _ => String::new(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a block of code is among the lines that is Rust: a drawing is marked as text.
fn shows_code(text: &str) -> bool {
    let fences = text.lines().map(str::trim).filter(|line| line.starts_with("```"));
    fences.step_by(2).any(|fence| !fence.starts_with("```text") && !fence.starts_with("```console"))
}

fn name_of(self_type: &Type) -> Option<String> {
    match self_type {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    }
}

/// Whether an implementation has a public function without `self` that gives the type, bare or in a result.
fn makes_one(item: &syn::ItemImpl, name: &str) -> bool {
    item.items.iter().any(|item| {
        let ImplItem::Fn(function) = item else { return false };
        let without_self = !matches!(function.sig.inputs.first(), Some(FnArg::Receiver(_)));
        let ReturnType::Type(_, output) = &function.sig.output else { return false };
        let output = format!("{output:?}");
        let is_safe = function.sig.unsafety.is_none();
        let gives =
            output.contains("ident: \"Self\"") || output.contains("Ident(Self)") || output.contains(name);
        matches!(function.vis, Visibility::Public(_)) && is_safe && without_self && gives
    })
}

/// Whether a module of a file of its own has a page: it is public, and not hidden.
fn is_page(item: &syn::ItemMod) -> bool {
    let hidden = item.attrs.iter().any(|attribute| {
        attribute.path().is_ident("doc")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "hidden")
    });
    item.content.is_none() && matches!(item.vis, Visibility::Public(_)) && !hidden
}

#[test]
fn types_that_a_user_makes_show_how() {
    let mut missing = BTreeSet::new();
    for folder in crates() {
        let krate = folder.file_name().expect("a name").to_string_lossy().into_owned();
        // Nobody makes its types in Rust; what Python sees of them has examples that its own tests run.
        if krate == "vramkit-python" {
            continue;
        }
        let mut files = Vec::new();
        sources(&folder.join("src"), &mut files);
        let (mut shown, mut made) = (BTreeMap::new(), BTreeSet::new());
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a source file");
            let parsed = syn::parse_file(&text).expect("sources are Rust");
            if file.ends_with("src/lib.rs") && !shows_code(&documentation(&parsed.attrs)) {
                missing.insert(format!("{krate}: its first page"));
            }
            for item in &parsed.items {
                match item {
                    Item::Mod(item) if is_page(item) => {
                        let pages = [format!("{}.rs", item.ident), format!("{}/mod.rs", item.ident)];
                        let pages = pages.map(|page| file.parent().expect("in a folder").join(page));
                        let page = pages.iter().find(|page| page.exists()).expect("a module has a file");
                        let parsed = syn::parse_file(&std::fs::read_to_string(page).expect("a source file"));
                        if !shows_code(&documentation(&parsed.expect("sources are Rust").attrs)) {
                            missing.insert(format!("{krate}: the page of {}", item.ident));
                        }
                    }
                    Item::Struct(item) if matches!(item.vis, Visibility::Public(_)) => {
                        shown.insert(item.ident.to_string(), shows_code(&documentation(&item.attrs)));
                    }
                    Item::Enum(item) if matches!(item.vis, Visibility::Public(_)) => {
                        shown.insert(item.ident.to_string(), shows_code(&documentation(&item.attrs)));
                    }
                    Item::Impl(item) if item.trait_.is_none() => {
                        if let Some(name) = name_of(&item.self_ty).filter(|name| makes_one(item, name)) {
                            made.insert(name);
                        }
                    }
                    _ => {}
                }
            }
        }
        missing.extend(
            made.iter()
                .filter(|name| shown.get(*name) == Some(&false))
                .map(|name| format!("{krate}: {name}")),
        );
    }
    assert!(missing.is_empty(), "without an example: {missing:#?}");
}
