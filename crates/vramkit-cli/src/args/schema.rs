//! Options of `vramkit schema`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use vramkit_ask::Document;

/// Print the JSON Schema of a result
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vramkit schema plan\n  vramkit schema run")]
pub struct SchemaOptions {
    /// The result's name
    #[arg(value_parser = document())]
    pub name: Document,
}

fn document() -> impl TypedValueParser<Value = Document> {
    let names = Document::ALL.iter().map(|document| document.name());
    PossibleValuesParser::new(names).try_map(|name| {
        let named = Document::ALL.iter().find(|document| document.name() == name);
        named.copied().ok_or("no such result")
    })
}
