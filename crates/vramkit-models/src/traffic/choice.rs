//! Which of the names that are there hold the two lengths, and what a row of them says.
//!
//! ```text
//! fields (names with their meaning) ──► Choice ──┐
//! cells of a row ────────────────────────────────┴─► Found: lengths, or why there are none
//! ```

use super::columns::Columns;
use super::names::{CACHED, Length, LengthUnit, Meaning, THOUGHTS, normal};
use super::number::{Commas, Scalar, time, whole};

/// Characters that are taken to be one token where a file has text instead of counts: English text is near this with the
/// vocabularies of current models.
pub const CHARACTERS_A_TOKEN: f64 = 4.0;

/// A column, or a path in JSON.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) path: String,
    pub(super) normal: String,
    pub(super) meaning: Meaning,
}

impl Field {
    pub(super) fn new(path: &str, columns: &Columns) -> Self {
        Self { path: path.to_owned(), normal: normal(path), meaning: super::names::meaning(path, columns) }
    }
}

/// The columns of one length.
#[derive(Clone, Debug)]
pub(super) struct Pick {
    /// Places whose values are summed up.
    pub(super) sum: Vec<usize>,
    /// Places that claim to be the same length.
    pub(super) others: Vec<usize>,
    pub(super) unit: LengthUnit,
    /// The names of what is summed up.
    pub(super) says: String,
}

/// The columns that count.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) prompt: Option<Pick>,
    pub(super) output: Option<Pick>,
    pub(super) time: Option<usize>,
    status: Vec<usize>,
    errors: Vec<usize>,
    kind: Vec<usize>,
    pub(super) is_span: bool,
}

/// What a row says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// Tokens; both may be none at all, which no request has.
    Lengths { prompt: f64, output: f64 },
    /// One or both lengths are not there.
    Missing { has_prompt: bool, has_output: bool },
    /// A cell of a length is no whole number.
    NoNumber(Box<str>),
    /// The row says itself that it is no request that was served.
    LeftOut(Why),
    /// Text instead of counts: tokens of each answer and of what was said before it, and how many answers are empty.
    Texts(Box<(Vec<(f64, f64)>, u64)>),
}

/// Why a row is no request that was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    Failed,
    Unfinished,
    NoCall,
    NoAnswer,
}

impl Why {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Unfinished => "were not finished when the benchmark ended, or failed",
            Self::NoCall => "are steps of a trace that are no call of a model",
            Self::NoAnswer => "have no answer",
        }
    }
}

/// A row, and what else is known of it.
pub(super) struct Judged {
    pub(super) found: Found,
    pub(super) time: f64,
    /// The length, and the place of another column that has another value.
    pub(super) differs: Option<(Length, usize)>,
}

impl Choice {
    pub(super) fn of(fields: &[&Field], columns: &Columns) -> Self {
        let places = |meaning: Meaning| {
            let is_it = move |(_, field): &(usize, &&Field)| field.meaning == meaning;
            fields.iter().enumerate().filter(is_it).map(|(at, _)| at)
        };
        let times = fields.iter().enumerate().filter_map(|(at, field)| match field.meaning {
            Meaning::Time(rank) => Some((rank, at)),
            _ => None,
        });
        Self {
            prompt: pick(fields, Length::Prompt, columns.prompt.is_some()),
            output: pick(fields, Length::Output, columns.output.is_some()),
            time: times.min().map(|(_, at)| at),
            status: places(Meaning::Status).collect(),
            errors: places(Meaning::Error).collect(),
            kind: places(Meaning::Kind).collect(),
            is_span: places(Meaning::Span).next().is_some(),
        }
    }

    /// Both lengths are there.
    pub(super) fn is_whole(&self) -> bool {
        self.prompt.is_some() && self.output.is_some()
    }

    /// All places whose cells are looked at: only columns of Parquet can be read alone.
    #[cfg(feature = "parquet")]
    pub(super) fn places(&self) -> Vec<usize> {
        let picks = self.prompt.iter().chain(&self.output);
        let lengths = picks.flat_map(|pick| pick.sum.iter().chain(&pick.others));
        let others = self.time.iter().chain(&self.status).chain(&self.errors).chain(&self.kind);
        let mut places: Vec<usize> = lengths.chain(others).copied().collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Whether one length is counted in tokens and the other in characters.
    pub(super) fn is_mixed(&self) -> bool {
        matches!((&self.prompt, &self.output), (Some(prompt), Some(output)) if prompt.unit != output.unit)
    }

    /// What one row says.
    pub(super) fn judge(&self, cell: impl Fn(usize) -> Scalar, commas: Commas) -> Judged {
        let time = self.time.map_or(f64::NAN, |at| time(&cell(at)));
        let mut judged =
            Judged { found: Found::Missing { has_prompt: false, has_output: false }, time, differs: None };
        let length = |pick: &Option<Pick>| match pick {
            Some(pick) => sum(&pick.sum, &cell, commas).map(|sum| sum.map(|sum| tokens(sum, pick.unit))),
            None => Ok(None),
        };
        let (prompt, output) = match (length(&self.prompt), length(&self.output)) {
            (Ok(prompt), Ok(output)) => (prompt, output),
            (Err(text), _) | (_, Err(text)) => {
                judged.found = Found::NoNumber(text.into());
                return judged;
            }
        };
        for (which, pick, value) in
            [(Length::Prompt, &self.prompt, prompt), (Length::Output, &self.output, output)]
        {
            let (Some(pick), Some(value)) = (pick, value) else { continue };
            let differs =
                |&&at: &&usize| matches!(whole(&cell(at), commas), Ok(Some(other)) if other != value);
            if let Some(&other) = pick.others.iter().find(differs) {
                judged.differs = judged.differs.or(Some((which, other)));
            }
        }
        let kinds: Vec<String> = self.kind.iter().filter_map(|&at| word(&cell(at))).collect();
        let sums_up = kinds.iter().any(|kind| SUMS_UP.contains(&kind.as_str()));
        judged.found = match (prompt, output) {
            (Some(prompt), Some(output)) if prompt >= 1.0 && output >= 1.0 && !sums_up => {
                Found::Lengths { prompt, output }
            }
            _ if sums_up => Found::LeftOut(Why::NoCall),
            _ if self.failed(&cell) => Found::LeftOut(Why::Failed),
            _ if self.is_span || kinds.iter().any(|kind| NO_CALLS.contains(&kind.as_str())) => {
                Found::LeftOut(Why::NoCall)
            }
            (Some(prompt), Some(output)) => Found::Lengths { prompt, output },
            (prompt, output) => Found::Missing { has_prompt: prompt.is_some(), has_output: output.is_some() },
        };
        judged
    }

    fn failed(&self, cell: impl Fn(usize) -> Scalar) -> bool {
        let says_why = |&at: &usize| word(&cell(at)).is_some_and(|word| !word.is_empty() && word != "null");
        self.status.iter().any(|&at| is_failure(&cell(at))) || self.errors.iter().any(says_why)
    }
}

/// Steps that have the tokens of the calls within them, which are rows of their own.
const SUMS_UP: [&str; 3] = ["invokeagent", "createagent", "invokeworkflow"];

/// Steps that are no call of a model.
const NO_CALLS: [&str; 11] = [
    "span",
    "event",
    "tool",
    "agent",
    "chain",
    "retriever",
    "evaluator",
    "guardrail",
    "embedding",
    "embeddings",
    "executetool",
];

fn word(cell: &Scalar) -> Option<String> {
    match cell {
        Scalar::Text(text) => Some(normal(text)),
        _ => None,
    }
}

fn is_failure(cell: &Scalar) -> bool {
    match cell {
        Scalar::Number(code) => *code >= 400.0,
        Scalar::Text(text) => {
            let word = normal(text);
            let is_code = word.len() == 3 && (word.starts_with('4') || word.starts_with('5'));
            is_code || word.contains("fail") || word.contains("error") || word.contains("cancel")
        }
        Scalar::Null => false,
    }
}

fn sum(places: &[usize], cell: impl Fn(usize) -> Scalar, commas: Commas) -> Result<Option<f64>, String> {
    places.iter().try_fold(None, |sum: Option<f64>, &at| {
        let value = whole(&cell(at), commas)?;
        Ok(value.map(|value| sum.unwrap_or(0.0) + value).or(sum))
    })
}

/// A length in tokens.
pub(super) fn tokens(value: f64, unit: LengthUnit) -> f64 {
    match unit {
        LengthUnit::Tokens => value,
        // Some text is at least a token; none is none.
        LengthUnit::Characters => (value / CHARACTERS_A_TOKEN).round().max(value.min(1.0)),
    }
}

fn pick(fields: &[&Field], length: Length, is_given: bool) -> Option<Pick> {
    let names = |sum: &[usize]| {
        sum.iter().map(|&at| format!("`{}`", fields[at].path)).collect::<Vec<_>>().join(" + ")
    };
    if is_given {
        let at = fields.iter().position(|field| field.meaning == Meaning::Given(length))?;
        return Some(Pick {
            sum: vec![at],
            others: Vec::new(),
            unit: LengthUnit::Tokens,
            says: names(&[at]),
        });
    }
    let mut candidates: Vec<(usize, usize, usize, LengthUnit)> = fields
        .iter()
        .enumerate()
        .filter_map(|(at, field)| match field.meaning {
            Meaning::Length(of, rank, unit) if of == length => Some((rank, field.path.len(), at, unit)),
            _ => None,
        })
        .collect();
    candidates.sort_by_key(|&(rank, path, at, _)| (rank, path, at));
    let Some(&(_, _, first, unit)) = candidates.first() else {
        return parts(fields, length).map(|sum| Pick {
            says: names(&sum),
            sum,
            others: Vec::new(),
            unit: LengthUnit::Tokens,
        });
    };
    let mut sum = vec![first];
    sum.extend(added(fields, first));
    let same = |&&(_, _, _, other): &&(usize, usize, usize, LengthUnit)| other == unit;
    let others = candidates[1..].iter().filter(same).map(|&(_, _, at, _)| at).collect();
    Some(Pick { says: names(&sum), sum, others, unit })
}

/// What stands beside a length and is not in it.
fn added(fields: &[&Field], first: usize) -> Vec<usize> {
    let name = fields[first].normal.as_str();
    let beside = |ending: &str, extra: &[&str]| -> Vec<usize> {
        let Some(before) = name.strip_suffix(ending) else { return Vec::new() };
        let is_extra =
            |field: &&Field| field.normal.strip_prefix(before).is_some_and(|end| extra.contains(&end));
        (0..fields.len()).filter(|&at| is_extra(&fields[at])).collect()
    };
    // OpenTelemetry's count has the cached part in it.
    if name.contains("genai") {
        return Vec::new();
    }
    let mut added = beside("inputtokens", &CACHED);
    added.extend(beside("candidatestokencount", &[THOUGHTS]));
    added
}

/// The parts of one place that make up a length; of several places the first.
fn parts(fields: &[&Field], length: Length) -> Option<Vec<usize>> {
    let place = |field: &Field| field.path.rsplit_once('.').map_or(String::new(), |(place, _)| normal(place));
    let is_part = |field: &&Field| field.meaning == Meaning::Part(length);
    let first = place(fields.iter().find(|field| is_part(field))?);
    Some((0..fields.len()).filter(|&at| is_part(&fields[at]) && place(fields[at]) == first).collect())
}
