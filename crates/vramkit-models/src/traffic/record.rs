//! One JSON object as far as lengths are concerned, and what it says in the end.
//!
//! ```text
//! leaves (path, value) ─► fields with a meaning ─┐
//! arrays of numbers ────► a benchmark's requests ┼─► Settled: rows of this object, or groups of rows from arrays in it
//! arrays of objects ────► groups, turns ─────────┘
//! ```
//!
//! An object that has lengths is a request, whatever is in it; one that has none is what the arrays in it hold.

use std::collections::HashMap;
use std::rc::Rc;

use crate::chats::Speaker;

use super::choice::{Choice, Field, Found, Judged, Why, tokens};
use super::columns::Columns;
use super::names::{LengthUnit, Meaning, normal};
use super::number::{Commas, Scalar};

/// Text that is longer is no number and no time.
const LONGEST_TEXT: usize = 64;
/// Most different paths that are remembered: a log has some dozens.
const MOST_PATHS: usize = 1 << 14;
const MOST_CHOICES: usize = 1 << 10;
/// Most names of one object that an error lists.
const MOST_SEEN: usize = 40;

/// What is known of paths, over all objects of a file.
pub(super) struct Paths<'a> {
    columns: &'a Columns,
    ids: HashMap<String, usize>,
    fields: Vec<Field>,
    choices: HashMap<Vec<usize>, Rc<Choice>>,
}

impl<'a> Paths<'a> {
    pub(super) fn new(columns: &'a Columns) -> Self {
        Self { columns, ids: HashMap::new(), fields: Vec::new(), choices: HashMap::new() }
    }

    fn id(&mut self, path: &str) -> Option<usize> {
        if let Some(&id) = self.ids.get(path) {
            return Some(id);
        }
        let field = Field::new(path, self.columns);
        let is_full = self.fields.len() >= MOST_PATHS;
        if is_full && (field.meaning == Meaning::Nothing || self.fields.len() >= 2 * MOST_PATHS) {
            return None;
        }
        self.fields.push(field);
        self.ids.insert(path.to_owned(), self.fields.len() - 1);
        Some(self.fields.len() - 1)
    }

    pub(super) fn name(&self, id: usize) -> String {
        self.fields.get(id).map_or_else(String::new, |field| field.path.clone())
    }

    fn choice(&mut self, ids: &[usize]) -> Rc<Choice> {
        if let Some(choice) = self.choices.get(ids) {
            return Rc::clone(choice);
        }
        let fields: Vec<&Field> = ids.iter().filter_map(|&id| self.fields.get(id)).collect();
        let choice = Rc::new(Choice::of(&fields, self.columns));
        if self.choices.len() < MOST_CHOICES {
            self.choices.insert(ids.to_vec(), Rc::clone(&choice));
        }
        choice
    }
}

/// A value that has nothing in it.
pub(super) enum Leaf<'t> {
    Number(f64),
    Text(&'t str),
    Bool,
    Null,
}

/// A row of a group, with what its fields were.
pub(super) struct Row {
    /// Counted from 1, within its array.
    pub(super) entry: u64,
    pub(super) judged: Judged,
    pub(super) choice: Rc<Choice>,
    /// The ids of the fields that the choice was among.
    pub(super) ids: Rc<[usize]>,
    /// The ids of all paths, for a row without lengths.
    pub(super) seen: Box<[usize]>,
}

/// The rows of the arrays that stand under one path.
pub(super) struct Group {
    pub(super) path: String,
    pub(super) rows: Vec<Row>,
}

impl Group {
    /// Whether it is GuideLLM's list of requests that were not served.
    pub(super) fn is_unserved(&self) -> bool {
        let names = ["incomplete", "errored", "incompleterequests", "erroredrequests"];
        let last = self.path.rsplit('.').next().map(normal).unwrap_or_default();
        names.contains(&last.as_str())
    }
}

/// What an object says in the end.
pub(super) enum Settled {
    Row(Row),
    /// A benchmark's result: a request of every pair of lengths, some of which failed.
    Benchmark(Vec<(f64, f64, bool)>),
    Uneven(usize, usize),
    Groups(Vec<Group>),
}

/// An object while it is read.
#[derive(Default)]
pub(super) struct Record {
    ids: Vec<usize>,
    cells: Vec<Scalar>,
    seen: Vec<usize>,
    prompts: Option<Vec<f64>>,
    outputs: Option<Vec<f64>>,
    failed: Vec<bool>,
    groups: Vec<Group>,
    key: Option<String>,
    value: Option<Scalar>,
    speaker: Option<Speaker>,
    said: f64,
    /// Of a part of what is said.
    part: f64,
    instruction: Option<f64>,
    input: f64,
    output: f64,
    turns: Vec<(bool, f64)>,
}

impl Record {
    pub(super) fn leaf(&mut self, paths: &mut Paths, path: &str, leaf: Leaf) {
        self.text(path, &leaf);
        let scalar = match leaf {
            Leaf::Number(number) => Scalar::Number(number),
            Leaf::Text(text) if text.len() <= LONGEST_TEXT => Scalar::Text(text.to_owned()),
            Leaf::Text(_) | Leaf::Bool | Leaf::Null => Scalar::Null,
        };
        if path == "key" {
            if let Scalar::Text(key) = &scalar {
                self.key = Some(key.clone());
            }
        } else if (path == "value" || path.starts_with("value.")) && scalar != Scalar::Null {
            self.value = Some(scalar.clone());
        }
        self.field(paths, path, scalar);
    }

    fn field(&mut self, paths: &mut Paths, path: &str, scalar: Scalar) {
        let Some(id) = paths.id(path) else { return };
        if self.seen.len() < MOST_SEEN {
            self.seen.push(id);
        }
        if paths.fields[id].meaning != Meaning::Nothing {
            self.ids.push(id);
            self.cells.push(scalar);
        }
    }

    /// What Alpaca and ShareGPT have instead of counts.
    fn text(&mut self, path: &str, leaf: &Leaf) {
        let Leaf::Text(text) = leaf else { return };
        let count = || tokens(text.chars().count() as f64, LengthUnit::Characters);
        match path {
            "from" | "role" => self.speaker = Some(Speaker::named(text)),
            "value" | "content" => self.said = count(),
            "text" => self.part = count(),
            "instruction" => self.instruction = Some(count()),
            "input" => self.input = count(),
            "output" => self.output = count(),
            _ => {}
        }
    }

    /// A list of a benchmark's lengths, or of how its requests ended.
    pub(super) fn list(&mut self, path: &str, list: Vec<Item>) {
        let numbers =
            || list.iter().map(|item| if let Item::Number(n) = item { *n } else { f64::NAN }).collect();
        match normal(path).as_str() {
            "inputlens" | "promptlens" | "inputlengths" => self.prompts = Some(numbers()),
            "outputlens" | "completionlens" | "outputlengths" => self.outputs = Some(numbers()),
            "errors" => self.failed = list.iter().map(|item| matches!(item, Item::Text)).collect(),
            "successes" => self.failed = list.iter().map(|item| matches!(item, Item::False)).collect(),
            _ => {}
        }
    }

    /// Whether an array of this name is one of those that [`list`](Self::list) wants.
    pub(super) fn wants(path: &str) -> bool {
        let known = [
            "inputlens",
            "promptlens",
            "inputlengths",
            "outputlens",
            "completionlens",
            "outputlengths",
            "errors",
            "successes",
        ];
        known.contains(&normal(path).as_str())
    }

    /// Takes in an object of an array that stands in this one.
    pub(super) fn element(&mut self, paths: &mut Paths, path: &str, entry: u64, element: Self) {
        let has_length = element.ids.iter().any(|&id| is_length(paths.fields[id].meaning));
        // OpenTelemetry's attributes, Jaeger's tags.
        if let (Some(key), Some(value), false) = (&element.key, &element.value, has_length) {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            return self.field(paths, &path, value.clone());
        }
        if let (Some(speaker), "conversations" | "conversation" | "messages") = (&element.speaker, path) {
            self.turns.push((*speaker == Speaker::Assistant, element.said));
            return;
        }
        if path == "content" && element.part > 0.0 {
            self.said += element.part;
            return;
        }
        match element.settle(paths, entry) {
            Settled::Row(row) => self.group(path.to_owned()).rows.push(row),
            Settled::Groups(groups) => {
                for group in groups {
                    let into = self.group(format!("{path}.{}", group.path));
                    let before = into.rows.len() as u64;
                    into.rows
                        .extend(group.rows.into_iter().map(|row| Row { entry: before + row.entry, ..row }));
                }
            }
            Settled::Benchmark(requests) => {
                self.prompts.get_or_insert_default().extend(requests.iter().map(|request| request.0));
                self.outputs.get_or_insert_default().extend(requests.iter().map(|request| request.1));
                self.failed.extend(requests.iter().map(|request| request.2));
            }
            Settled::Uneven(..) => {}
        }
    }

    fn group(&mut self, path: String) -> &mut Group {
        let at = match self.groups.iter().position(|group| group.path == path) {
            Some(at) => at,
            None => {
                self.groups.push(Group { path, rows: Vec::new() });
                self.groups.len() - 1
            }
        };
        &mut self.groups[at]
    }

    pub(super) fn settle(mut self, paths: &mut Paths, entry: u64) -> Settled {
        let choice = paths.choice(&self.ids);
        if !choice.is_whole() {
            if let (Some(prompts), Some(outputs)) = (&self.prompts, &self.outputs) {
                if prompts.len() != outputs.len() {
                    return Settled::Uneven(prompts.len(), outputs.len());
                }
                let failed = |at: usize| self.failed.get(at).copied().unwrap_or(false);
                let pairs = prompts.iter().zip(outputs).enumerate();
                return Settled::Benchmark(pairs.map(|(at, (&p, &o))| (p, o, failed(at))).collect());
            }
            let has_log = |group: &Group| group.rows.iter().any(|row| is_row(&row.judged.found));
            if self.groups.iter().any(|group| has_log(group) && !group.is_unserved()) {
                self.groups.retain(|group| has_log(group) || group.is_unserved());
                return Settled::Groups(self.groups);
            }
            // A trace without a call of a model in it; a step of one may have links to other steps.
            let has_steps =
                |group: &Group| group.rows.iter().any(|row| row.judged.found == Found::LeftOut(Why::NoCall));
            if !choice.is_span && self.groups.iter().any(has_steps) {
                self.groups.retain(has_steps);
                return Settled::Groups(self.groups);
            }
        }
        let cells = std::mem::take(&mut self.cells);
        let cell = |at: usize| cells.get(at).cloned().unwrap_or(Scalar::Null);
        let mut judged = choice.judge(cell, Commas::Thousands);
        if let Found::Missing { has_prompt: false, has_output: false } = judged.found
            && let Some(texts) = self.texts()
        {
            judged.found = Found::Texts(Box::new(texts));
        }
        let seen = match judged.found {
            Found::Missing { .. } | Found::Texts(_) => self.seen.into_boxed_slice(),
            _ => Box::default(),
        };
        Settled::Row(Row { entry, judged, choice, ids: self.ids.into(), seen })
    }

    /// Each answer's tokens with those of all that was said before it, and how many answers say nothing.
    fn texts(&self) -> Option<(Vec<(f64, f64)>, u64)> {
        if let Some(instruction) = self.instruction {
            // The data set has a few entries without an answer.
            return Some(match self.output >= 1.0 {
                true => (vec![(instruction + self.input, self.output)], 0),
                false => (Vec::new(), 1),
            });
        }
        if self.turns.is_empty() {
            return None;
        }
        let (mut requests, mut without, mut said) = (Vec::new(), 0, 0.0);
        for &(answers, tokens) in &self.turns {
            if answers && said >= 1.0 && tokens >= 1.0 {
                requests.push((said, tokens));
            } else if answers {
                without += 1;
            }
            said += tokens;
        }
        Some((requests, without))
    }
}

/// An item of a list.
pub(super) enum Item {
    Number(f64),
    /// Text that is not empty.
    Text,
    False,
    Other,
}

fn is_length(meaning: Meaning) -> bool {
    matches!(meaning, Meaning::Given(_) | Meaning::Length(..) | Meaning::Part(_))
}

/// Whether a row of an array is one of a log, so that the array may be one.
fn is_row(found: &Found) -> bool {
    match found {
        Found::Lengths { .. } | Found::NoNumber(_) | Found::Texts(_) => true,
        Found::Missing { has_prompt, has_output } => *has_prompt || *has_output,
        Found::LeftOut(_) => false,
    }
}
