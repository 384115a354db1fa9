//! What `transformers` gives a chat template beyond Jinja: functions, filters, Python's methods and ways to write values.

use std::fmt;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};

use super::clock;
use super::json;

/// Most values within a list that is written.
const LARGEST_LIST: usize = 1 << 16;
/// Most lists within each other that are written.
const DEEPEST_LIST: usize = 64;

/// Why a template refuses messages, in its own words.
#[derive(Debug)]
pub(super) struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// The refusal that caused an error.
    pub fn within(error: &Error) -> Option<String> {
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            if let Some(Self(reason)) = error.downcast_ref() {
                return Some(reason.clone());
            }
            cause = error.source();
        }
        None
    }
}

/// Gives an environment what templates expect.
pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(write);
    environment.add_filter("tojson", to_json);
    // Python iterates over a text, and not over nothing.
    environment.add_test("iterable", is_sequence);
    environment.add_test("sequence", is_sequence);
    environment.add_function("raise_exception", |reason: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, "refused").with_source(Refusal(reason)))
    });
    environment.add_function("strftime_now", |format: String| {
        clock::format(&format, std::time::SystemTime::now())
            .map_err(|reason| Error::new(ErrorKind::InvalidOperation, reason))
    });
}

fn is_sequence(value: &Value) -> bool {
    use ValueKind::{Iterable, Map, Seq, String, Undefined};
    matches!(value.kind(), Iterable | Map | Seq | String | Undefined)
}

/// Writes a value, unless it is a list that holds itself so often that the engine, which counts what it writes of a list when it has
/// written it, would not end.
fn write(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if !is_small(value, DEEPEST_LIST, &mut { LARGEST_LIST }) {
        return Err(Error::from(ErrorKind::OutOfFuel));
    }
    minijinja::escape_formatter(output, state, value)
}

/// Whether a value holds no more values than `left`, each as often as it is held, and they hold others no deeper than `levels`.
fn is_small(value: &Value, levels: usize, left: &mut usize) -> bool {
    if *left == 0 || levels == 0 {
        return false;
    }
    *left -= 1;
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) {
        return true;
    }
    value.try_iter().is_ok_and(|mut values| {
        values.all(|held| match value.kind() {
            ValueKind::Map => value.get_item(&held).is_ok_and(|held| is_small(&held, levels - 1, left)),
            _ => is_small(&held, levels - 1, left),
        })
    })
}

/// Python's `json.dumps` with `ensure_ascii=False`, as `transformers` has it.
fn to_json(value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    json::write(&value, indent)
        .map(Value::from_safe_string)
        .map_err(|reason| Error::new(ErrorKind::InvalidOperation, reason))
}

/// The source with the marks around what the model is trained on made to blocks that do nothing: `{% generation %}` is a tag that
/// `transformers` adds to Jinja.
pub(super) fn without_generation_blocks(source: &str) -> String {
    let (mut written, mut rest) = (String::with_capacity(source.len()), source);
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        written.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |end| end + 2);
        let (tag, behind) = tag.split_at(end);
        let word = tag.trim_matches(['{', '}', '%', '-', '+', ' ', '\t', '\r', '\n']);
        match word {
            "generation" => written.push_str(&tag.replacen(word, "if true", 1)),
            "endgeneration" => written.push_str(&tag.replacen(word, "endif", 1)),
            _ => written.push_str(tag),
        }
        rest = behind;
    }
    written.push_str(rest);
    written
}
