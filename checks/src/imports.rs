//! Which file of a crate takes a name from which other one, through re-exports to where the name is defined.
//!
//! Files are parsed, not searched: `use` declarations and paths in code that start at `crate`, `self` or `super`. What is
//! compiled for tests alone is left out. Methods are not followed: to call one is not to import it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

/// A source file cannot be read.
#[derive(Debug)]
pub struct SourceError {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub reason: String,
}

/// Which file takes names from which, of one crate.
#[derive(Debug, Default)]
pub struct Imports {
    /// By importing file, relative to `src`: the files whose names it uses, with the names.
    pub edges: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

/// The path of a module: `["pool", "core"]` is `crate::pool::core`.
type ModulePath = Vec<String>;

/// What is known of one module.
#[derive(Default)]
struct Module {
    file: String,
    /// Names that are defined in it.
    items: BTreeSet<String>,
    /// Names that it takes from elsewhere in the crate: the module that the path starts from, and the path.
    uses: BTreeMap<String, Vec<String>>,
    /// Paths of which every name is taken.
    globs: Vec<Vec<String>>,
    /// Every path that the file mentions, those of `uses` included.
    mentioned: BTreeSet<Vec<String>>,
}

impl Imports {
    /// Of the crate whose root file this is (`src/lib.rs` or `src/main.rs`).
    pub fn of_crate(root: &Path) -> Result<Self, SourceError> {
        let mut modules = BTreeMap::new();
        let source = root.parent().unwrap_or(Path::new("."));
        load(source, root, Vec::new(), &mut modules)?;
        let mut imports = Self::default();
        for (path, module) in &modules {
            for mentioned in &module.mentioned {
                let Some((file, name)) = resolve(&modules, path, mentioned, 0) else { continue };
                if file != module.file {
                    let edges = imports.edges.entry(module.file.clone()).or_default();
                    edges.entry(file).or_default().insert(name);
                }
            }
        }
        Ok(imports)
    }

    /// Groups of files that import each other, directly or by way of others.
    pub fn circles(&self) -> Vec<BTreeSet<String>> {
        let reached = |from: &String| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(file) = open.pop() {
                for to in self.edges.get(&file).into_iter().flat_map(BTreeMap::keys) {
                    if seen.insert(to.clone()) {
                        open.push(to.clone());
                    }
                }
            }
            seen
        };
        let reach: BTreeMap<&String, BTreeSet<String>> =
            self.edges.keys().map(|file| (file, reached(file))).collect();
        let circle = |file: &String| -> BTreeSet<String> {
            let back = |other: &&String| reach.get(*other).is_some_and(|seen| seen.contains(file));
            reach[file].iter().filter(back).cloned().collect()
        };
        let circles: BTreeSet<BTreeSet<String>> = reach.keys().map(|file| circle(file)).collect();
        circles.into_iter().filter(|circle| !circle.is_empty()).collect()
    }
}

fn load(
    source: &Path,
    file: &Path,
    path: ModulePath,
    modules: &mut BTreeMap<ModulePath, Module>,
) -> Result<(), SourceError> {
    let fault = |reason: String| SourceError { file: file.to_owned(), reason };
    let text = std::fs::read_to_string(file).map_err(|error| fault(error.to_string()))?;
    let parsed = syn::parse_file(&text).map_err(|error| fault(error.to_string()))?;
    let name = file.strip_prefix(source).unwrap_or(file).to_string_lossy().into_owned();
    let folder = match file.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs" | "main.rs") => file.parent().unwrap_or(source).to_owned(),
        _ => file.with_extension(""),
    };
    add(source, &name, &folder, path, &parsed.items, modules)
}

fn add(
    source: &Path,
    file: &str,
    folder: &Path,
    path: ModulePath,
    items: &[Item],
    modules: &mut BTreeMap<ModulePath, Module>,
) -> Result<(), SourceError> {
    let mut module = Module { file: file.to_owned(), ..Module::default() };
    for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
        match item {
            Item::Mod(inner) => {
                let child = inner.ident.to_string();
                let path: ModulePath = path.iter().cloned().chain([child.clone()]).collect();
                match &inner.content {
                    Some((_, items)) => add(source, file, &folder.join(&child), path, items, modules)?,
                    None => {
                        let flat = folder.join(format!("{child}.rs"));
                        let nested = folder.join(&child).join("mod.rs");
                        load(source, if flat.exists() { &flat } else { &nested }, path, modules)?;
                    }
                }
            }
            Item::Use(used) => flatten(&used.tree, &mut Vec::new(), &mut module),
            item => {
                module.items.extend(defined(item));
                let mut paths = Paths(&mut module.mentioned);
                paths.visit_item(item);
            }
        }
    }
    module.mentioned.extend(module.uses.values().cloned());
    module.mentioned.extend(module.globs.iter().cloned());
    modules.insert(path, module);
    Ok(())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| {
                let condition = list.tokens.to_string();
                ["test", "doctest", "loom"].contains(&condition.as_str())
            })
    })
}

fn defined(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Union(item) => item.ident.to_string(),
        Item::Macro(item) => item.ident.as_ref()?.to_string(),
        _ => return None,
    })
}

fn flatten(tree: &UseTree, prefix: &mut Vec<String>, module: &mut Module) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, module);
            prefix.pop();
        }
        UseTree::Name(name) => {
            let (ident, mut path) = (name.ident.to_string(), prefix.clone());
            if ident == "self" {
                if let Some(last) = prefix.last() {
                    module.uses.insert(last.clone(), path);
                }
            } else {
                path.push(ident.clone());
                module.uses.insert(ident, path);
            }
        }
        UseTree::Rename(rename) => {
            let mut path = prefix.clone();
            if rename.ident != "self" {
                path.push(rename.ident.to_string());
            }
            module.uses.insert(rename.rename.to_string(), path);
        }
        UseTree::Glob(_) => module.globs.push(prefix.clone()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, module)),
    }
}

/// Collects the paths in an item's code that name a place in the crate, or a name that the file has taken.
struct Paths<'a>(&'a mut BTreeSet<Vec<String>>);

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.0.insert(segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_use_path(&mut self, _: &'ast syn::UsePath) {}

    // Who may see a thing is not who uses it.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

/// The file in which a path's name is defined, and the name; `None` when it is not of this crate.
fn resolve(
    modules: &BTreeMap<ModulePath, Module>,
    from: &ModulePath,
    path: &[String],
    depth: usize,
) -> Option<(String, String)> {
    // Two modules may take all names of each other.
    if depth > 12 {
        return None;
    }
    let mut at = from.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            at.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|segment| segment == "super") {
                at.pop()?;
                rest = &rest[1..];
            }
        }
        first => {
            let child = at.iter().cloned().chain([first.to_owned()]).collect::<ModulePath>();
            let module = modules.get(&at)?;
            let known = modules.contains_key(&child)
                || module.items.contains(first)
                || module.uses.get(first).is_some_and(|used| used.as_slice() != path);
            if !known {
                return None;
            }
        }
    }
    loop {
        let module = modules.get(&at)?;
        let Some(first) = rest.first() else {
            return Some((module.file.clone(), at.last().cloned().unwrap_or_default()));
        };
        let child: ModulePath = at.iter().cloned().chain([first.clone()]).collect();
        if modules.contains_key(&child) {
            at = child;
            rest = &rest[1..];
            continue;
        }
        if module.items.contains(first) {
            return Some((module.file.clone(), first.clone()));
        }
        if let Some(used) = module.uses.get(first) {
            let onward: Vec<String> = used.iter().chain(&rest[1..]).cloned().collect();
            return resolve(modules, &at, &onward, depth + 1);
        }
        let through = |glob: &Vec<String>| {
            let onward: Vec<String> = glob.iter().chain(rest).cloned().collect();
            resolve(modules, &at, &onward, depth + 1)
        };
        return module.globs.iter().find_map(through);
    }
}
