//! Plans in words: what `vramkit plan` and `vramkit run` say to people about a plan.
//!
//! A report comes in, lines go out; nothing is printed here.

use std::fmt::Write as _;

use vramkit::ByteSize;
use vramkit::plan::report::{ConflictReport, EngineReport, ModelReport, PlanReport};
use vramkit::plan::{AllocationPlan, LivePlace};

use crate::output::{self, BAD, BOLD, GOOD};
use crate::printable::printable;

/// The arena, and how far it can be from the optimum.
fn arena(report: &PlanReport) -> String {
    let mut pools = report.pools.iter().flatten();
    let verdict = match report.proven_optimal {
        true => format!("{GOOD}proven optimal{GOOD:#}"),
        // Where tensors go is decided by what they prefer, and one pool for all may well take less.
        false if report.pools.is_some() && pools.all(|pool| pool.arena_bytes == pool.lower_bound_bytes) => {
            "each pool's optimal for what is in it".to_owned()
        }
        false => {
            format!("{:.3} % over the lower bound of {}", report.gap_ratio * 100.0, report.lower_bound_bytes)
        }
    };
    let arena = report.arena_bytes;
    format!("{BOLD}{arena}{BOLD:#} arena ({} bytes), {verdict}\n", arena.grouped())
}

/// A plan in a few lines and a table, against what there would be without it: each model for itself, at its live peak and with its
/// weights. What all tensors are at once, which nobody needs, stands beside.
pub fn describe_plan(report: &PlanReport) -> String {
    let mut text = arena(report);
    if !report.sum_of_sizes_bytes.is_zero() {
        let (arena, peaks) = (report.arena_bytes, report.sum_of_peaks_bytes);
        let apart = match report.models.len() {
            1 => "the model's live peak".to_owned(),
            models => format!("the live peaks of {models} models, each for itself"),
        };
        if report.weights_bytes.is_zero() && report.derived_bytes.is_zero() {
            let _ = writeln!(text, "  {}, {apart}{}", arena.against(peaks), beyond_peaks(report));
        } else {
            let (planned, separate) = (report.planned_total_bytes, report.separate_total_bytes);
            let _ = writeln!(
                text,
                "  {planned} with weights: {}, {apart}, with weights",
                planned.against(separate)
            );
            let more = beyond_peaks(report);
            let _ = writeln!(text, "  the arena alone: {}, the live peaks{more}", arena.against(peaks));
        }
        let (sum, tensors) = (report.sum_of_sizes_bytes, tensors(report));
        let _ = writeln!(text, "  {sum} is every tensor at once ({tensors} tensors)");
    }
    text + &details(report)
}

fn tensors(report: &PlanReport) -> usize {
    report.models.iter().map(|model| model.tensors).sum()
}

/// Why an arena is more than the live peaks, which know nothing of alignment: as far as that is known.
pub fn beyond_peaks(report: &PlanReport) -> String {
    let (peaks, aligned) = (report.sum_of_peaks_bytes, report.sum_of_aligned_peaks_bytes);
    match aligned.saturating_sub(peaks) {
        _ if report.arena_bytes <= peaks => String::new(),
        added if !added.is_zero() => format!("; alignment alone adds {added}"),
        _ if report.proven_optimal && report.pools.is_none() => "; no arena is smaller".to_owned(),
        _ => String::new(),
    }
}

/// How the plan came about, what orders and starts saved, and the models.
pub fn details(report: &PlanReport) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "  {} schedule; {} in {:.3} ms; {} pairs of tensors share addresses",
        report.schedule,
        report.method,
        report.elapsed_seconds * 1e3,
        report.shared_pairs
    );
    for model in &report.models {
        let Some(order) = &model.order else { continue };
        let (before, after) = (order.file_peak_bytes, order.reordered_peak_bytes);
        let bound = order.bound_bytes;
        let proven = match after.bytes() as f64 / bound.bytes() as f64 - 1.0 {
            _ if order.proven => "proven: no order has less".to_owned(),
            above if above.is_finite() => {
                format!("at most {:.2} % above a bound: no order has less than {bound}", above * 100.0)
            }
            _ => "not proven: nothing is known of other orders".to_owned(),
        };
        let saved = less(after, before);
        let _ = writeln!(
            text,
            "  order of {}: {before} live at most become {after}, {saved:.2} % less; {proven}",
            model.name
        );
        if order.repeated_steps > 0 {
            let (steps, again) = (order.repeated_steps, order.recomputed_peak_bytes);
            let _ =
                writeln!(text, "    {again} with {steps} steps done again, {:.2} % less", less(again, after));
        }
    }
    if let Some(in_place) = &report.in_place {
        let shown =
            |bytes: Option<ByteSize>| bytes.map_or_else(|| "no plan".to_owned(), |bytes| bytes.to_string());
        let (with, without) = (shown(in_place.with_bytes), shown(in_place.without_bytes));
        let _ = match in_place.is_used {
            true => writeln!(text, "  operators work in place: {with}; {without} if they did not"),
            false => writeln!(text, "  no operator works in place: {without}; {with} if they did"),
        };
    }
    if let Some(starts) = &report.starts {
        let (before, after, bound) = (starts.given_peak_bytes, starts.chosen_peak_bytes, starts.bound_bytes);
        let makespan = starts.makespan;
        // Starts that end too late were never one of the choices.
        let given = match starts.given_end > makespan {
            true => format!(" in {} steps", starts.given_end.0),
            false => String::new(),
        };
        let within = format!("within {} steps; {bound} at least", makespan.0);
        let _ = writeln!(text, "  starts: {before} live at most{given} become {after} {within}");
        let own =
            report.models.iter().filter_map(|model| Some(format!("{} at {}", model.name, model.start?.0)));
        let _ = writeln!(text, "    {}", own.collect::<Vec<_>>().join(", "));
    }
    for model in &report.models {
        text += &graph(model);
        text += &engine(model);
    }
    let derives = !report.derived_bytes.is_zero();
    let mut heads = vec!["model", "tensors", "sum of sizes", "live peak", "weights"];
    heads.extend(derives.then_some("from weights"));
    let mut rows = vec![heads.into_iter().map(str::to_owned).collect()];
    for model in &report.models {
        let mut row = vec![
            model.name.clone(),
            model.tensors.to_string(),
            model.sum_of_sizes_bytes.to_string(),
            model.live_peak_bytes.to_string(),
            model.weights_bytes.to_string(),
        ];
        row.extend(derives.then(|| model.derived_bytes.to_string()));
        rows.push(row);
    }
    text + &output::table(&rows)
}

/// Lines of a kind that are shown of a graph; its JSON has all.
const SHOWN: usize = 3;

/// What a model's graph computes from its weights, and what the plan rests on where the graph does not decide.
fn graph(model: &ModelReport) -> String {
    let mut text = String::new();
    let Some(graph) = &model.graph else { return text };
    let name = printable(&model.name);
    if !model.derived_bytes.is_zero() {
        let _ = writeln!(text, "  {} computed from weights of {name} stay beside them:", model.derived_bytes);
        for one in graph.derived.iter().take(SHOWN) {
            let without =
                one.avoidable.as_ref().map_or_else(String::new, |how| format!("; not needed: {how}"));
            let _ = writeln!(
                text,
                "    {} {} ({}){without}",
                one.size_bytes,
                printable(&one.id),
                printable(&one.operator)
            );
        }
        text += &more(graph.derived.len());
    }
    let sources = graph.bounds.iter().filter(|one| one.is_source);
    if !graph.bounds.is_empty() {
        let _ = writeln!(
            text,
            "  sizes of {name} that depend on data are planned for the most that they can be ({} tensors), from:",
            graph.bounds.len()
        );
        for one in sources.clone().take(SHOWN) {
            let _ = writeln!(text, "    {} ({})", printable(&one.id), printable(&one.operator));
        }
        text += &more(sources.count());
    }
    for note in graph.notes.iter().take(SHOWN) {
        let _ = writeln!(text, "  {name}: {}", printable(note));
    }
    text + &more(graph.notes.len())
}

/// What an engine plans beside what the same tensors take here.
fn engine(model: &ModelReport) -> String {
    let Some(EngineReport { name, level, pattern_bytes, planned_bytes, doubts }) = &model.engine else {
        return String::new();
    };
    let against = planned_bytes.against(*pattern_bytes);
    let mut text = format!(
        "  {name} ({level}) plans {pattern_bytes} for what is between nodes of {}; here that takes {planned_bytes}: {against}\n",
        printable(&model.name)
    );
    if !doubts.is_empty() {
        let _ = writeln!(text, "    {name}'s may be another one, as the graph has {}", doubts.join(", "));
    }
    text
}

fn more(count: usize) -> String {
    if count > SHOWN { format!("    and {} more\n", count - SHOWN) } else { String::new() }
}

/// How much less one number is than another, in percent.
fn less(after: ByteSize, before: ByteSize) -> f64 {
    if before.is_zero() { 0.0 } else { 100.0 * (1.0 - after.ratio_of(before)) }
}

/// The pools of a plan over several.
pub fn pools(report: &PlanReport) -> String {
    let mut rows = vec![["pool", "tensors", "arena", "capacity", "live peak"].map(str::to_owned).to_vec()];
    for pool in report.pools.iter().flatten() {
        rows.push(vec![
            pool.name.clone(),
            pool.tensors.to_string(),
            pool.arena_bytes.to_string(),
            pool.capacity_bytes.to_string(),
            pool.live_peak_bytes.to_string(),
        ]);
    }
    let displaced = report.displaced_bytes.unwrap_or_default();
    format!("{}{displaced} are not in the pool that they prefer\n", output::table(&rows))
}

/// Whether the plan fits a capacity, and why not. `all` names every tensor that is to blame.
pub fn verdict(report: &PlanReport, capacity: ByteSize, all: bool) -> String {
    match report.feasible {
        Some(true) => format!("{GOOD}fits{GOOD:#} a capacity of {capacity}\n"),
        Some(false) => {
            let reason = report.conflict.as_ref().map_or_else(
                || {
                    let bound = report.proven_bound_bytes;
                    let of = if bound > report.live_peak_bytes {
                        "by alignment, pins or search"
                    } else {
                        "the live peak"
                    };
                    format!("at least {bound} are needed, {of}")
                },
                |conflict| because(conflict, all),
            );
            format!("{BAD}does not fit{BAD:#} a capacity of {capacity}: {reason}\n")
        }
        None => format!("{BAD}not found{BAD:#} within a capacity of {capacity}, nor proven impossible\n"),
    }
}

/// Why a capacity cannot be met, in words.
fn because(conflict: &ConflictReport, all: bool) -> String {
    let n = conflict.tensors.len();
    let needs = conflict.needs_bytes;
    let mut text = match (conflict.step, n) {
        (Some(step), 1) => format!("one tensor needs {needs} at {step}"),
        (Some(step), _) => format!("{n} tensors need {needs} at {step}"),
        (None, _) if conflict.irreducible => {
            format!("{n} tensors together need more, though any {} of them would fit", n - 1)
        }
        (None, _) => format!("{n} tensors together need more"),
    };
    let shown = if all { n } else { n.min(5) };
    text += &format!(" ({}", conflict.tensors[..shown].join(", "));
    text += if shown < n { ", ...; --explain names all)" } else { ")" };
    text
}

/// Pairs that are shown to people.
const SHARED_SHOWN: usize = 20;

/// Which tensors share addresses, and why they may.
pub fn shared(report: &PlanReport) -> String {
    if report.shared.is_empty() {
        return format!("{BOLD}shared addresses{BOLD:#}: none\n");
    }
    let shown = report.shared.len().min(SHARED_SHOWN);
    let all = report.shared_pairs;
    let of = if shown as u64 == all { String::new() } else { format!(", {shown} that share most of") };
    let mut text = format!("{BOLD}shared addresses{BOLD:#}{of} {all} pairs\n");
    let mut rows = vec![["shared", "first", "second", "why it is safe"].map(str::to_owned).to_vec()];
    for pair in &report.shared[..shown] {
        rows.push(vec![
            pair.shared_bytes.to_string(),
            format!("{} of {}", pair.first, pair.first_model),
            format!("{} of {}", pair.second, pair.second_model),
            pair.reason.clone(),
        ]);
    }
    text += &output::table(&rows);
    text
}

/// What lives in a place: a tensor, or a group's.
fn live_in(plan: &AllocationPlan, place: &LivePlace) -> String {
    let tensors = place.tensors.iter().map(|&i| &plan.tensors[i]);
    let ids: Vec<&str> = tensors.clone().map(|tensor| &*tensor.id).collect();
    let live = if ids.len() == 1 { "lives" } else { "live" };
    let ids = ids.join(", ");
    match tensors.clone().find_map(|tensor| Some((tensor, tensor.alias_group.as_deref()?))) {
        Some((tensor, group)) => format!("alias group {group} of {}, in which {ids} {live}", tensor.model),
        None => tensors.map(|tensor| format!("{} of {}", tensor.id, tensor.model)).collect(),
    }
}

/// Where the bound comes from, how planning got on, and what shares addresses.
pub fn explain(report: &PlanReport, plan: &AllocationPlan) -> String {
    let mut text = String::new();
    if let Some((step, live)) = plan.fullest_step() {
        let peak = report.live_peak_bytes;
        let what = if peak == report.lower_bound_bytes { "lower bound" } else { "live peak" };
        let mut live = live;
        live.sort_by_key(|place| std::cmp::Reverse(place.size));
        let is_grouped =
            live.iter().flat_map(|place| &place.tensors).any(|&i| plan.tensors[i].alias_group.is_some());
        let places = if is_grouped { "places" } else { "tensors" };
        let _ = writeln!(text, "{BOLD}{what}{BOLD:#}: {peak}, live at {step} in {} {places}", live.len());
        for place in live.iter().take(5) {
            let share = 100.0 * place.size.ratio_of(peak);
            let _ = writeln!(text, "  {} {share:.1} %: {}", place.size, live_in(plan, place));
        }
    }
    if report.lower_bound_bytes > report.live_peak_bytes {
        let bound = report.lower_bound_bytes;
        let _ = writeln!(text, "{BOLD}lower bound{BOLD:#}: {bound}, by alignment, pins or search");
    }
    let parts = report.steps.iter().map(|step| step.part + 1).max().unwrap_or(0);
    let _ = writeln!(text, "{BOLD}search{BOLD:#}: {parts} part{}", if parts == 1 { "" } else { "s" });
    let mut rows = vec![["part", "tensors", "time", "method", "arena", "bound"].map(str::to_owned).to_vec()];
    for step in &report.steps {
        rows.push(vec![
            step.part.to_string(),
            step.tensors.to_string(),
            format!("{:.3} ms", step.elapsed_seconds * 1e3),
            step.method.clone(),
            step.arena_bytes.grouped(),
            step.bound_bytes.grouped(),
        ]);
    }
    text + &output::table(&rows) + &shared(report)
}
