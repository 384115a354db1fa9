//! The page of a run: one file without links to others, for a browser.

use std::fmt::Write as _;

use crate::chart::memory_svg;
use crate::document::{PlanDocument, RunDocument};
use crate::draw::escape;
use crate::plan::plan_svg;
use vramkit_units::ByteSize;

pub(crate) const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --soft: #777; --bar: #0072b2; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1240px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
p.lead { font-size: 1.1rem; margin: .2rem 0 1rem; } .soft { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: .8rem; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: .7rem .9rem; }
.card b { display: block; font-size: 1.25rem; } .good b { color: #00845f; } .bad b { color: #c00000; }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: .35rem .8rem; align-items: center; }
.bar { background: var(--bar); height: 1.1rem; border-radius: 3px; min-width: 2px; }
.bar.whole { background: #999; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
figure svg { display: block; width: 100%; height: auto; } .screen svg text { fill: currentColor; }
figure.paper { background: #fff; color: #111; } .grid { stroke: var(--line); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; }
.wide { overflow-x: auto; }
";

/// Most decisions in a page: more than anybody reads.
const MOST_DECISIONS: usize = 1000;

/// A decision of a run in words: a line of the page.
#[derive(Clone, Debug)]
pub struct DecisionRow {
    /// When, in seconds since the run began.
    pub at_seconds: f64,
    /// Whether it was done, and not only decided.
    pub done: bool,
    /// What kind of decision.
    pub kind: String,
    /// Its numbers.
    pub details: String,
}

/// A run as a self-contained page. `plan` is the run's plan with its tensors, to be drawn; `rows` are the run's decisions, in
/// order.
pub fn run_page(run: &RunDocument, plan: &PlanDocument, rows: &[DecisionRow]) -> String {
    let mut page = String::new();
    let title = escape(&run.name);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{title}: vramkit run</title>\n<style>{STYLE}</style>\n\
         </head>\n<body>\n<h1>{title}</h1>\n"
    );
    let how = if run.dry_run { "planned (dry run, no memory taken)" } else { "ran" };
    let alone = if run.weights_bytes.is_zero() { "live peaks" } else { "live peaks and weights" };
    let _ = writeln!(
        page,
        "<p class=\"lead\">{} model{} {how} in {} on {}: {}, what {} each for itself ({alone}).</p>",
        run.plan.models.len(),
        if run.plan.models.len() == 1 { "" } else { "s" },
        run.together_bytes,
        escape(&run.device.name),
        run.together_bytes.against(run.apart_bytes),
        if run.plan.models.len() == 1 { "it needs" } else { "they need" },
    );
    for unread in &run.weights_unread {
        let (model, reason) = (escape(&unread.model), escape(&unread.reason));
        let _ = writeln!(page, "<p>Weights of {model} were not read: {reason}.</p>");
    }
    cards(&mut page, run);
    savings(&mut page, run);
    let _ = write!(page, "<h2>Plan</h2>\n<figure class=\"paper\">{}</figure>\n", plan_svg(plan));
    let _ =
        write!(page, "<h2>Memory over time</h2>\n<figure class=\"screen\">{}</figure>\n", memory_svg(run));
    page.push_str("<p class=\"soft\">Behind the lines, the level of pressure: none is normal, orange elevated, red critical.</p>\n");
    violations(&mut page, run);
    models(&mut page, run);
    decisions(&mut page, run, rows);
    page.push_str("</body>\n</html>\n");
    page
}

fn cards(page: &mut String, run: &RunDocument) {
    page.push_str("<div class=\"cards\">\n");
    let mut card = |class: &str, value: String, label: &str| {
        let _ = writeln!(page, "<div class=\"card {class}\"><b>{}</b>{label}</div>", escape(&value));
    };
    let good = |yes: bool| if yes { "good" } else { "bad" };
    let verdict = if run.plan.proven_optimal {
        "proven optimal".to_owned()
    } else {
        format!("{:.2} % over the bound", run.plan.gap_ratio * 100.0)
    };
    card(
        if run.plan.proven_optimal { "good" } else { "" },
        run.plan.arena_bytes.to_string(),
        &format!("arena, {verdict}"),
    );
    card("", run.weights_bytes.to_string(), "weights, each model's own");
    if run.dry_run {
        card("", run.peak_used_bytes.to_string(), "most that would be in use");
    } else {
        card("", run.peak_committed_bytes.to_string(), "peak committed by the pool");
    }
    if let Some(bytes) = run.system_peak_bytes {
        card("", bytes.to_string(), "peak resident, as the system saw it");
    } else {
        let reason = run.system_peak_unavailable.as_deref().unwrap_or("the system does not tell");
        card("", "not known".to_owned(), &format!("resident: {}", escape(reason)));
    }
    card("", run.verified_tensors.to_string(), "tensors verified intact");
    card(good(run.aliasing_violations == 0), run.aliasing_violations.to_string(), "aliasing violations");
    card(
        good(run.used_after_release_bytes.is_zero()),
        run.used_after_release_bytes.to_string(),
        "in use after release",
    );
    card("", format!("{:.3} s", run.stall_seconds), "waiting for memory");
    card("", format!("{:.3} s", run.elapsed_seconds), "in all");
    page.push_str("</div>\n");
}

fn savings(page: &mut String, run: &RunDocument) {
    page.push_str("<h2>Savings</h2>\n<div class=\"bars\">\n");
    let plan = &run.plan;
    let widest = plan.sum_of_sizes_bytes.max(run.apart_bytes).max(run.together_bytes);
    let mut bar = |label: &str, bytes: ByteSize, class: &str, note: String| {
        let width = bytes.ratio_of(widest) * 100.0;
        let _ = writeln!(
            page,
            "<span>{label}</span><div class=\"bar {class}\" style=\"width:{width:.2}%\"></div><span>{bytes}{note}</span>"
        );
    };
    // Where a part is more than a whole, both bars say so.
    let less = |what: &str, part: ByteSize, whole: ByteSize| match part < whole {
        true => format!(" ({what} is {:.2} % less)", (1.0 - part.ratio_of(whole)) * 100.0),
        false => String::new(),
    };
    let apart = less("together", run.together_bytes, run.apart_bytes);
    bar("each model for itself: live peaks and weights", run.apart_bytes, "whole", apart);
    bar("together: one arena and all weights", run.together_bytes, "", String::new());
    let peaks = less("the arena", plan.arena_bytes, plan.sum_of_peaks_bytes);
    bar("without weights: live peaks", plan.sum_of_peaks_bytes, "whole", peaks);
    bar("one arena", plan.arena_bytes, "", String::new());
    let sizes = less("the arena", plan.arena_bytes, plan.sum_of_sizes_bytes);
    bar("every tensor in a place of its own", plan.sum_of_sizes_bytes, "whole", sizes);
    bar("lower bound", plan.lower_bound_bytes, "", String::new());
    page.push_str("</div>\n");
}

fn violations(page: &mut String, run: &RunDocument) {
    if run.violations.is_empty() {
        return;
    }
    page.push_str("<h2>Tensors that were not intact</h2>\n<div class=\"wide\"><table><tr><th>Model<th>Tensor<th class=\"number\">Step<th class=\"number\">First wrong byte</tr>\n");
    for v in &run.violations {
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td class=\"number\">{}<td class=\"number\">{}</tr>",
            escape(&v.model),
            escape(&v.tensor),
            v.step,
            v.at_bytes.grouped()
        );
    }
    page.push_str("</table></div>\n");
}

fn models(page: &mut String, run: &RunDocument) {
    page.push_str("<h2>Models</h2>\n<div class=\"wide\"><table><tr><th>Model<th class=\"number\">Tensors<th class=\"number\">Sum of sizes<th class=\"number\">Live peak<th class=\"number\">Weights</tr>\n");
    for model in &run.plan.models {
        let _ = writeln!(
            page,
            "<tr><td>{}<td class=\"number\">{}<td class=\"number\">{}<td class=\"number\">{}<td class=\"number\">{}</tr>",
            escape(&model.name),
            model.tensors,
            model.sum_of_sizes_bytes,
            model.live_peak_bytes,
            model.weights_bytes
        );
    }
    page.push_str("</table></div>\n");
}

fn decisions(page: &mut String, run: &RunDocument, rows: &[DecisionRow]) {
    page.push_str("<h2>Decisions</h2>\n");
    let first = rows.len().saturating_sub(MOST_DECISIONS);
    let older = run.dropped.events + first as u64;
    if older > 0 {
        let _ = writeln!(page, "<p class=\"soft\">The last ones; {older} older ones are not shown.</p>");
    }
    page.push_str("<div class=\"wide\"><table><tr><th class=\"number\">At<th>What<th>Numbers</tr>\n");
    for decision in &rows[first..] {
        let _ = writeln!(
            page,
            "<tr><td class=\"number\">{:.3} ms<td>{}{}<td>{}</tr>",
            decision.at_seconds * 1e3,
            escape(&decision.kind),
            if decision.done { "" } else { " (not done)" },
            escape(&decision.details)
        );
    }
    page.push_str("</table></div>\n");
}
