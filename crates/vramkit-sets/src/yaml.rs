//! YAML as a tree with lines: text in, nodes out.
//!
//! Aliases are copied and merge keys resolved, within limits on depth and size, so that a few lines of aliases of aliases
//! cannot fill memory. A key that is there twice is an error, as it is for the manager. Never here: what a key means.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Collections within collections; deeper ones are refused.
const MOST_DEPTH: usize = 100;
/// Nodes of a document, aliases counted each time that they are used.
const MOST_NODES: usize = 200_000;
/// Bytes of text of a document, aliases counted likewise.
const MOST_TEXT: usize = 16 << 20;

/// A value and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Counted from 1.
    pub line: usize,
    /// Columns before it.
    pub column: usize,
    /// The value.
    pub value: Value,
}

/// Values are equal when they say the same, wherever they stand.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Text, and whether it was written without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A mapping, and whether it was written in braces.
    Map { entries: Vec<(Node, Node)>, braces: bool },
}

/// What is wrong, and on which line.
pub(crate) type Fault = (usize, String);

impl Node {
    /// The value of a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.pairs().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// Keys and values of a mapping; nothing for others.
    pub fn pairs(&self) -> impl Iterator<Item = (&Node, &Node)> {
        let entries = match &self.value {
            Value::Map { entries, .. } => entries.as_slice(),
            Value::Scalar { .. } | Value::List(_) => &[],
        };
        entries.iter().map(|(key, value)| (key, value))
    }

    /// Items of a list; nothing for others.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Scalar { .. } | Value::Map { .. } => &[],
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map { .. } => None,
        }
    }

    /// Whether there is no value.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// A truth value.
    pub fn truth(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => None,
        }
    }
}

/// A stream's first document, and whether more follows it.
pub(crate) struct Document {
    /// `None` when it is empty.
    pub root: Option<Node>,
    /// Whether the document is ended explicitly or another one follows.
    pub followed: bool,
}

/// Reads the first document of a stream.
pub(crate) fn document(text: &str) -> Result<Document, Fault> {
    let mut builder = Builder { anchors: HashMap::new(), nodes: 0, text: 0 };
    let mut stack: Vec<Open> = Vec::new();
    let mut root = None;
    let mut followed = false;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| (error.marker().line(), error.info().to_owned()))?;
        let (line, column) = (span.start.line(), span.start.col());
        let done = match event {
            Event::DocumentStart(_) if root.is_some() => {
                followed = true;
                break;
            }
            Event::DocumentEnd => {
                followed = text.chars().skip(span.start.index()).take(3).eq("...".chars());
                continue;
            }
            Event::Scalar(scalar, style, anchor, _) => {
                let value = Value::Scalar { text: scalar.into_owned(), plain: style == ScalarStyle::Plain };
                builder.finish(Node { line, column, value }, anchor)?
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                if stack.len() >= MOST_DEPTH {
                    return Err((line, format!("more than {MOST_DEPTH} collections within each other")));
                }
                let map = matches!(event, Event::MappingStart(..));
                let braces = span.end.index() == span.start.index() + 1;
                stack.push(Open { line, column, anchor, map, braces, children: Vec::new() });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = stack.pop() else { continue };
                builder.close(open)?
            }
            Event::Alias(anchor) => builder.alias(anchor, line)?,
            _ => continue,
        };
        match stack.last_mut() {
            Some(open) => open.children.push(done),
            None => root = Some(done),
        }
    }
    Ok(Document { root, followed })
}

/// A collection whose end has not been seen.
struct Open {
    line: usize,
    column: usize,
    anchor: usize,
    map: bool,
    braces: bool,
    children: Vec<Node>,
}

struct Builder {
    anchors: HashMap<usize, Node>,
    nodes: usize,
    text: usize,
}

impl Builder {
    fn finish(&mut self, node: Node, anchor: usize) -> Result<Node, Fault> {
        let text = node.text().map_or(0, str::len);
        self.count(1, text, node.line)?;
        if anchor != 0 {
            self.count_tree(&node)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<Node, Fault> {
        let node = self.anchors.get(&anchor).cloned();
        let mut node = node.ok_or_else(|| (line, "an alias of something that is not finished".to_owned()))?;
        self.count_tree(&node)?;
        node.line = line;
        Ok(node)
    }

    fn close(&mut self, open: Open) -> Result<Node, Fault> {
        let Open { line, column, anchor, map, braces, children } = open;
        let value =
            if map { Value::Map { entries: self.entries(children)?, braces } } else { Value::List(children) };
        self.finish(Node { line, column, value }, anchor)
    }

    /// Pairs of a mapping, those that a merge key brings last and only where the mapping has no own.
    fn entries(&mut self, children: Vec<Node>) -> Result<Vec<(Node, Node)>, Fault> {
        let mut own: Vec<(Node, Node)> = Vec::new();
        let mut merged = Vec::new();
        let mut keys = HashSet::new();
        let mut children = children.into_iter();
        while let (Some(key), Some(value)) = (children.next(), children.next()) {
            if matches!(&key.value, Value::Scalar { text, plain: true } if text == "<<") {
                merged.push(value);
                continue;
            }
            if let Some(text) = key.text()
                && !keys.insert(text.to_owned())
            {
                return Err((key.line, format!("`{text}` is there twice")));
            }
            own.push((key, value));
        }
        for source in merged {
            let maps = if source.items().is_empty() { std::slice::from_ref(&source) } else { source.items() };
            for map in maps {
                if !matches!(map.value, Value::Map { .. }) {
                    return Err((map.line, "only mappings can be merged by `<<`".to_owned()));
                }
                for (key, value) in map.pairs() {
                    if key.text().is_some_and(|text| keys.insert(text.to_owned())) {
                        own.push((key.clone(), value.clone()));
                    }
                }
            }
        }
        Ok(own)
    }

    fn count_tree(&mut self, node: &Node) -> Result<(), Fault> {
        self.count(1, node.text().map_or(0, str::len), node.line)?;
        node.items().iter().try_for_each(|item| self.count_tree(item))?;
        node.pairs().try_for_each(|(key, value)| {
            self.count_tree(key)?;
            self.count_tree(value)
        })
    }

    fn count(&mut self, nodes: usize, text: usize, line: usize) -> Result<(), Fault> {
        self.nodes += nodes;
        self.text += text;
        if self.nodes > MOST_NODES || self.text > MOST_TEXT {
            return Err((
                line,
                format!("more than {MOST_NODES} values or {MOST_TEXT} bytes once aliases are resolved"),
            ));
        }
        Ok(())
    }
}
