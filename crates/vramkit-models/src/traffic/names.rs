//! What the names of columns and of JSON paths mean: which are lengths, in which order they count, and what else says of a row
//! whether it is a request.
//!
//! Names are compared without case and without what stands between words: `Prompt Tokens`, `prompt_tokens`, `promptTokens` and
//! `prompt.tokens` are one. What lengths are often wrapped in (`response.body.usage.…`) is taken off first.

use crate::error::MissingLength;

use super::columns::Columns;

/// One of the two lengths of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Prompt,
    Output,
}

/// How a column of lengths is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LengthUnit {
    Tokens,
    Characters,
}

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The caller says that it is this length.
    Given(Length),
    /// A length; of several the one of the lowest rank counts.
    Length(Length, usize, LengthUnit),
    /// One of the parts that a length is the sum of, as Langfuse keeps them.
    Part(Length),
    /// What must be added to a length of another name: Anthropic's cached parts of a prompt, Gemini's thoughts.
    Added(Length),
    /// Prompt and output together.
    Total,
    /// When the request came; of several the one of the lowest rank counts.
    Time(usize),
    /// Whether it went well, in words or as HTTP says it.
    Status,
    /// Why it did not go well.
    Error,
    /// What kind of step it is.
    Kind,
    /// Only steps of a trace have it.
    Span,
    /// Nothing that counts here.
    Nothing,
}

/// Names of a prompt's length: those above win over those below.
const PROMPTS: [&str; 27] = [
    "prompt_tokens",
    "ContextTokens",
    "input_tokens",
    "input_toks",
    "prompt_toks",
    "prompt_len",
    "prompt_length",
    "input_len",
    "input_length",
    "num_prefill_tokens",
    "num_prompt_tokens",
    "num_input_tokens",
    "n_prompt_tokens",
    "request tokens",
    "request_length",
    // Gemini, Bedrock, Ollama, llama.cpp.
    "promptTokenCount",
    "inputTokenCount",
    "input.inputTokenCount",
    "prompt_eval_count",
    "tokens_evaluated",
    // OpenInference, Langfuse, GuideLLM.
    "token_count.prompt",
    "inputUsage",
    "usage.input",
    "usage.prompt",
    "input_metrics.total_tokens",
    "input_metrics.text_tokens",
    "prompt_chars",
];

/// Names of an output's length: those above win over those below. What a model reasons is in them.
const OUTPUTS: [&str; 30] = [
    "output_tokens",
    "GeneratedTokens",
    "completion_tokens",
    "output_toks",
    "completion_toks",
    "output_len",
    "output_length",
    "completion_len",
    "completion_length",
    "generation_tokens",
    "num_decode_tokens",
    "num_output_tokens",
    "num_generated_tokens",
    "num_completion_tokens",
    "n_output_tokens",
    "response tokens",
    "response_length",
    "response_len",
    "candidatesTokenCount",
    "outputTokenCount",
    "output.outputTokenCount",
    "eval_count",
    "tokens_predicted",
    "token_count.completion",
    "outputUsage",
    "usage.output",
    "usage.completion",
    "output_metrics.total_tokens",
    "output_metrics.text_tokens",
    "output_chars",
];

/// Cached parts of a prompt that `input_tokens` beside them does not have: so Anthropic counts.
pub(super) const CACHED: [&str; 2] = ["cachereadinputtokens", "cachecreationinputtokens"];

/// What `candidatesTokenCount` beside it does not have.
pub(super) const THOUGHTS: &str = "thoughtstokencount";

const TOTALS: [&str; 6] =
    ["totaltokens", "totaltokencount", "totalusage", "usagetotal", "totaltoks", "numtotaltokens"];

/// When a request came.
const TIMES: [&str; 14] = [
    "arrivaltime",
    "arrivedat",
    "arrival",
    "arrivalns",
    "arrivaltimestamp",
    "timestamp",
    "starttime",
    "starttimeunixnano",
    "requeststarttime",
    "starttimestamp",
    "createdat",
    "created",
    "time",
    "ts",
];

/// What lengths are wrapped in, longest first where one begins like another.
const WRAPPERS: [&str; 15] = [
    "response",
    "body",
    "usagemetadata",
    "usagedetails",
    "usage",
    "spanattributes",
    "attributes",
    "tags",
    "tokenusage",
    "genai",
    "llm",
    "ai",
    "message",
    "result",
    "data",
];

/// Letters and digits, in lower case.
pub(super) fn normal(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What a column's name, or a path in JSON, means.
pub(super) fn meaning(path: &str, columns: &Columns) -> Meaning {
    let given = |name: &Option<String>| name.as_deref() == Some(path);
    if given(&columns.prompt) {
        return Meaning::Given(Length::Prompt);
    }
    if given(&columns.output) {
        return Meaning::Given(Length::Output);
    }
    let whole = normal(path);
    let mut name = whole.as_str();
    loop {
        match known(name) {
            Meaning::Nothing => {}
            meaning => return meaning,
        }
        // What Langfuse sums up, it sums up by these words.
        if let Some(part) = name.strip_prefix("usagedetails") {
            match (part.contains("input"), part.contains("output")) {
                (true, false) => return Meaning::Part(Length::Prompt),
                (false, true) => return Meaning::Part(Length::Output),
                _ if part == "total" => return Meaning::Total,
                _ => {}
            }
        }
        match WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
            Some(inner) if !inner.is_empty() => name = inner,
            _ => return Meaning::Nothing,
        }
    }
}

fn known(name: &str) -> Meaning {
    let place = |names: &[&str]| names.iter().position(|known| is_named(name, known));
    let unit = || if name.ends_with("chars") { LengthUnit::Characters } else { LengthUnit::Tokens };
    if let Some(rank) = place(&PROMPTS) {
        return Meaning::Length(Length::Prompt, rank, unit());
    }
    if let Some(rank) = place(&OUTPUTS) {
        return Meaning::Length(Length::Output, rank, unit());
    }
    if CACHED.contains(&name) {
        return Meaning::Added(Length::Prompt);
    }
    if let Some(rank) = TIMES.iter().position(|known| *known == name) {
        return Meaning::Time(rank);
    }
    match name {
        THOUGHTS => Meaning::Added(Length::Output),
        "status" | "statuscode" => Meaning::Status,
        "error" | "errormessage" | "errorcode" | "errortype" => Meaning::Error,
        "type" | "observationtype" | "operationname" | "openinferencespankind" | "traceloopspankind" => {
            Meaning::Kind
        }
        "spanid" | "parentspanid" | "parentobservationid" => Meaning::Span,
        name if TOTALS.contains(&name) => Meaning::Total,
        _ => Meaning::Nothing,
    }
}

/// Whether a name without separators is this one, which may have them.
fn is_named(name: &str, known: &str) -> bool {
    let mut rest = name.chars();
    known.chars().filter(|c| c.is_alphanumeric()).all(|c| rest.next() == Some(c.to_ascii_lowercase()))
        && rest.next().is_none()
}

/// What to say where a length is not found among these names.
pub(super) fn missing(length: Length, found: &[String]) -> MissingLength {
    let (word, known) = match length {
        Length::Prompt => ("prompt", &PROMPTS[..]),
        Length::Output => ("output", &OUTPUTS[..]),
    };
    let names: Vec<String> = found.iter().map(|name| normal(last(name))).collect();
    let distance = |known: &str| {
        let known = normal(known);
        let distances = names.iter().map(|name| strsim::damerau_levenshtein(name, &known));
        distances.zip(found).min()
    };
    let mut nearest: Vec<_> = known.iter().map(|known| (distance(known), *known)).collect();
    // By distance alone, so that of equally near names the more common one is first.
    nearest.sort_by_key(|(distance, _)| distance.map_or(usize::MAX, |(distance, _)| distance));
    let meant = nearest.first().and_then(|&(distance, known)| {
        let (distance, name) = distance?;
        (distance <= 1 + known.len() / 4).then(|| (name.clone(), known))
    });
    let expected = match meant {
        Some(_) => nearest.iter().take(3).map(|&(_, known)| known).collect(),
        None => known.iter().take(3).copied().collect(),
    };
    MissingLength { length: word, expected, meant }
}

/// The last word of a path.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// What a file says beside that it has no lengths.
pub(super) fn advice(found: &[String]) -> Option<String> {
    let names: Vec<String> = found.iter().map(|name| normal(name)).collect();
    if names.iter().any(|name| name == "totalinputtokens") && names.iter().any(|name| name == "completed") {
        return Some(
            "it is a benchmark's result without its requests, which vLLM keeps with --save-detailed and SGLang with --output-details"
                .to_owned(),
        );
    }
    let columns = Columns::default();
    let total = found.iter().find(|name| meaning(name, &columns) == Meaning::Total);
    if let Some(total) = total {
        return Some(format!("`{total}` is prompt and output together"));
    }
    let numbers = !found.is_empty() && found.iter().all(|name| name.trim().parse::<f64>().is_ok());
    numbers.then(|| "the first line has numbers where the names of the columns should be".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_the_same_however_they_are_written() {
        let mean = |path: &str| meaning(path, &Columns::default());
        let prompt =
            |path: &str| matches!(mean(path), Meaning::Length(Length::Prompt, _, LengthUnit::Tokens));
        let output =
            |path: &str| matches!(mean(path), Meaning::Length(Length::Output, _, LengthUnit::Tokens));
        for path in [
            "prompt_tokens",
            "Prompt Tokens",
            "PROMPT-TOKENS",
            "promptTokens",
            "ContextTokens",
            "input_length",
            "Request tokens",
            "usage.prompt_tokens",
            "response.body.usage.prompt_tokens",
            "gen_ai.usage.input_tokens",
            "attributes.gen_ai.usage.prompt_tokens",
            "llm.usage.prompt_tokens",
            "llm.token_count.prompt",
            "ai.usage.promptTokens",
            "message.usage.input_tokens",
            "usageMetadata.promptTokenCount",
            "usage.input",
            "response.usage.input_tokens",
            "input_metrics.total_tokens",
            "input.inputTokenCount",
        ] {
            assert!(prompt(path), "{path}: {:?}", mean(path));
        }
        for path in [
            "output_tokens",
            "Response tokens",
            "response.usage.output_tokens",
            "GeneratedTokens",
            "eval_count",
            "usage.completion_tokens",
            "output_length",
            "num_decode_tokens",
            "llm.token_count.completion",
        ] {
            assert!(output(path), "{path}: {:?}", mean(path));
        }
        for path in [
            "total_input_tokens",
            "mean_output_tokens",
            "max_output_tokens",
            "usage.completion_tokens_details.reasoning_tokens",
            "usage.prompt_tokens_details.cached_tokens",
            "input",
            "output",
            "prompt",
            "request.max_tokens",
            "",
            "usage",
        ] {
            assert!(!prompt(path) && !output(path), "{path}: {:?}", mean(path));
        }
        assert_eq!(mean("usage.total_tokens"), Meaning::Total);
        assert_eq!(mean("usageDetails.input_cached_tokens"), Meaning::Part(Length::Prompt));
        assert_eq!(mean("usage_details.output"), Meaning::Part(Length::Output));
        assert!(matches!(mean("prompt_chars"), Meaning::Length(Length::Prompt, _, LengthUnit::Characters)));
    }

    #[test]
    fn what_is_missing_names_what_is_near() {
        let found = ["promt_tokens".to_owned(), "total_tokens".to_owned()];
        let missing = missing(Length::Prompt, &found);
        assert_eq!(missing.meant, Some(("promt_tokens".to_owned(), "prompt_tokens")));
        assert_eq!(missing.expected[0], "prompt_tokens");
        assert_eq!(advice(&found).unwrap(), "`total_tokens` is prompt and output together");
    }
}
