//! The page of one or more experiments: one file without links to others, for a browser and for paper.

use std::fmt::Write as _;

use super::comparison::validations_svg;
use super::document::ValidateDocument;
use super::picture::validation_svg;
use super::series::{PREDICTIONS, Prediction, Quantity, TAILS};
use super::words::{FAILS, HOLDS, UNKNOWN, UNSURE, judge, mean, percent, tokens, trimmed};
use crate::draw::escape;
use crate::page::STYLE;
use vramkit_units::{ByteSize, grouped};

/// What the page has beside the style of all pages.
const MORE_STYLE: &str = "
td.bad { color: #c00000; font-weight: 600; } @media (prefers-color-scheme: dark) { td.bad { color: #ff7b72; } }
th[scope=row] { white-space: nowrap; } th .soft { font-weight: 400; } tr.figures td { white-space: nowrap; }
section figure { margin-top: 1rem; } h1, h2 { overflow-wrap: anywhere; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 0 2rem; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0; } dl.facts dd { margin: 0; }
@page { size: A4 landscape; margin: 10mm; }
@media print {
body { max-width: none; margin: 0; padding: 0; font-size: 10px; } h1 { font-size: 16px; } h2 { font-size: 12px; margin: .8rem 0 .3rem; }
p.lead { font-size: 11px; } section { break-before: page; }
figure { border: 0; } figure svg { max-height: 160mm; } section figure svg { max-height: 185mm; } figure, table, dl { break-inside: avoid; } th, td { padding: .12rem .5rem; }
}
";

/// The quantities of the table, with what they are.
const MEANS: [(Quantity, &str, &str); 3] = [
    (Quantity::X0, "X<sub>0</sub>", "held as decoding starts"),
    (Quantity::Xmax, "X<sub>max</sub>", "most held in the cycle"),
    (Quantity::Kappa, "κ", "mean of sup Y = X<sub>max</sub> − X<sub>0</sub>"),
];

/// Experiments beside their predictions as a self-contained page: for each what was run, the figures with verdicts, the tail, the
/// memory and the picture; of several the comparison first. The cycles are in the pictures alone.
pub fn validation_page(documents: &[ValidateDocument]) -> String {
    let mut page = String::new();
    let names: Vec<String> = documents.iter().map(|document| escape(&document.dataset)).collect();
    let title = format!("Tokens held, measured and predicted: {}", names.join(", "));
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n<style>{STYLE}{MORE_STYLE}</style>\n\
         </head>\n<body>\n<h1>{title}</h1>\n"
    );
    if documents.len() > 1 {
        for document in documents {
            let _ = writeln!(page, "<p><b>{}</b>: {}</p>", escape(&document.dataset), headline(document));
        }
        let _ = writeln!(page, "<figure class=\"paper\">{}</figure>", validations_svg(documents));
    }
    for document in documents {
        section(&mut page, document);
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// How many verdicts there are, and which predictions do not hold.
fn headline(document: &ValidateDocument) -> String {
    let (mut held, mut unsure, mut all, mut failed) = (0, 0, 0, Vec::new());
    let quantities = MEANS.map(|(quantity, sign, _)| (quantity, sign));
    for (quantity, sign) in quantities.into_iter().chain([(Quantity::Tail, "tail")]) {
        let mut not_held = Vec::new();
        for prediction in TAILS {
            if let Some(verdict) = judge(document, prediction, quantity).verdict {
                all += 1;
                match verdict {
                    HOLDS => held += 1,
                    UNSURE => unsure += 1,
                    _ => not_held.push(prediction.label()),
                }
            }
        }
        if !not_held.is_empty() {
            failed.push(format!("{sign} ({})", not_held.join("; ")));
        }
    }
    match (all, failed.as_slice()) {
        (0, _) => format!("Whether a prediction holds {UNKNOWN}."),
        (_, []) if unsure == 0 => format!("All {all} predictions with a verdict hold."),
        (_, failed) => {
            let mut said = format!("{held} of {all} predictions hold");
            if unsure > 0 {
                said += &format!("; {unsure} cannot be told by so few cycles");
            }
            if !failed.is_empty() {
                said += &format!("; these do not: {}", failed.join(", "));
            }
            said + "."
        }
    }
}

fn section(page: &mut String, document: &ValidateDocument) {
    let (model, dataset) = (escape(document.model_name()), escape(&document.dataset));
    let _ = writeln!(
        page,
        "<section>\n<h2>{model} on {dataset}</h2>\n<p class=\"lead\">{}</p>",
        headline(document)
    );
    figures(page, document);
    tails(page, document);
    page.push_str("<div class=\"beside\">\n<div><h2>What was run</h2>\n");
    facts(page, &parameters(document));
    page.push_str("</div>\n<div><h2>Memory</h2>\n");
    facts(page, &memory(document));
    if !document.notes.is_empty() {
        page.push_str("<h2>Notes</h2>\n<ul>\n");
        for note in &document.notes {
            let _ = writeln!(page, "<li>{}</li>", escape(note));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("</div>\n</div>\n");
    let _ = writeln!(page, "<figure class=\"paper\">{}</figure>\n</section>", validation_svg(document));
}

/// The table of what has one number: measured and predicted.
fn figures(page: &mut String, document: &ValidateDocument) {
    page.push_str("<div class=\"wide\"><table>\n<tr><th>Tokens<th class=\"number\">measured, ± 2 standard errors<th>prediction\
        <th class=\"number\">predicted<th>off by<th>verdict</tr>\n");
    for (quantity, sign, what) in MEANS {
        let measured = document.measured(quantity);
        for (i, prediction) in PREDICTIONS.into_iter().enumerate() {
            page.push_str("<tr class=\"figures\">");
            if i == 0 {
                let bytes = measured.mean_bytes.filter(|&bytes| bytes >= 0.0);
                let bytes = bytes.map(|bytes| format!("<br>{}", ByteSize::new(bytes.round() as u64)));
                let _ = write!(
                    page,
                    "<th scope=\"row\" rowspan=\"{}\">{sign}<br><span class=\"soft\">{what}</span><td class=\"number\" rowspan=\"{}\">{}{}",
                    PREDICTIONS.len(),
                    PREDICTIONS.len(),
                    mean(measured.mean_tokens, measured.standard_error_tokens),
                    bytes.unwrap_or_default()
                );
            }
            let predicted = document.predicted(prediction, quantity).map_or_else(|| "—".to_owned(), tokens);
            judged(page, document, prediction, quantity, &format!("<td class=\"number\">{predicted}"));
        }
    }
    page.push_str("</table></div>\n");
}

/// The table of the tail's bounds.
fn tails(page: &mut String, document: &ValidateDocument) {
    let thresholds = document.tail.in_order();
    let range = match (thresholds.first(), thresholds.last()) {
        (Some(first), Some(last)) => format!(
            " (thresholds of {} to {} tokens above X<sub>0</sub>)",
            tokens(first.tokens),
            tokens(last.tokens)
        ),
        _ => String::new(),
    };
    let _ = writeln!(
        page,
        "<h2>Tail: bounds on the share of cycles whose growth is over a threshold{range}</h2>"
    );
    page.push_str("<div class=\"wide\"><table>\n<tr><th>bound<th class=\"number\">not under what was observed at<th>off by<th>verdict</tr>\n");
    for prediction in TAILS.into_iter().filter(|&prediction| prediction != Prediction::Exact) {
        let valid = document.tail.valid_ratio(prediction);
        let valid = valid.map_or_else(|| "—".to_owned(), |ratio| format!("{} of thresholds", percent(ratio)));
        page.push_str("<tr class=\"figures\">");
        judged(page, document, prediction, Quantity::Tail, &format!("<td class=\"number\">{valid}"));
    }
    page.push_str("</table></div>\n");
}

/// The end of a row: which prediction, a cell of its own, how far it is off, and its verdict.
fn judged(
    page: &mut String,
    document: &ValidateDocument,
    prediction: Prediction,
    quantity: Quantity,
    cell: &str,
) {
    let judgement = judge(document, prediction, quantity);
    let class = if judgement.verdict == Some(FAILS) { " class=\"bad\"" } else { "" };
    let _ = writeln!(
        page,
        "<td>{}{cell}<td>{}<td{class}>{}</tr>",
        prediction.label(),
        judgement.figures,
        judgement.verdict.unwrap_or("—")
    );
}

fn facts(page: &mut String, facts: &[(&str, Option<String>)]) {
    page.push_str("<dl class=\"facts\">\n");
    for (name, value) in facts {
        if let Some(value) = value {
            let _ = writeln!(page, "<dt class=\"soft\">{name}<dd>{value}");
        }
    }
    page.push_str("</dl>\n");
}

fn parameters(document: &ValidateDocument) -> Vec<(&'static str, Option<String>)> {
    let of = &document.parameters;
    let unknown = || UNKNOWN.to_owned();
    vec![
        ("sequences at once, N", Some(grouped(of.batch_size))),
        ("replaced together, k", Some(grouped(of.switching_threshold))),
        ("θ = k/N", Some(trimmed(of.theta))),
        ("chance that a token is the last, p", Some(of.termination.map_or_else(unknown, trimmed))),
        ("tokens of a prompt, on average", Some(of.mean_prompt_tokens.map_or_else(unknown, tokens))),
        ("tokens of an output, on average", Some(of.mean_output_tokens.map_or_else(unknown, tokens))),
        (
            "tokens of an output, at most",
            Some(of.max_output_tokens.map_or_else(|| "no limit".to_owned(), grouped)),
        ),
        ("cycles", Some(grouped(of.num_cycles))),
        ("cycles before them, to warm up", of.warmup_cycles.map(grouped)),
        ("requests whose lengths are known", of.requests.map(grouped)),
        ("of them cut off at the limit", of.cut_off.map(grouped)),
        ("requests that ended with their first token", of.ended_at_once.map(grouped)),
        ("requests in the data set", of.prompts.map(grouped)),
        ("requests that could not be used", of.left_out.map(grouped)),
        ("context, in tokens", of.context_tokens.map(grouped)),
        ("bytes of a token", of.bytes_per_token.map(|bytes| bytes.to_string())),
        ("seed", of.seed.map(|seed| seed.to_string())),
    ]
}

fn memory(document: &ValidateDocument) -> Vec<(&'static str, Option<String>)> {
    let of = &document.memory;
    let size = |bytes: Option<ByteSize>| bytes.map(|bytes| bytes.to_string());
    vec![
        ("weights", size(of.weights_bytes)),
        ("most that the cache held", size(of.peak_kv_bytes)),
        ("most that the pool had committed", size(of.peak_committed_bytes)),
        ("most on the device", size(of.device_peak_bytes)),
        ("in use after unloading", size(of.used_after_unload_bytes)),
    ]
}
