//! Figures and verdicts in plain language, the same in every picture and page.

use super::document::{ValidateDocument, Verdict};
use super::series::{Prediction, Quantity};
use vramkit_units::grouped;

/// What is said where something is not known.
pub(crate) const UNKNOWN: &str = "cannot be said";

/// What is said of a prediction within its limit, and of another.
pub(crate) const HOLDS: &str = "holds";
pub(crate) const FAILS: &str = "does not hold";
pub(crate) const UNSURE: &str = "too few cycles to tell";

/// What is said of a prediction.
pub(crate) struct Judgement {
    /// How far it is off, and how far it may be.
    pub(crate) figures: String,
    /// Whether it holds; nothing where there is no verdict.
    pub(crate) verdict: Option<&'static str>,
}

/// How far a prediction of a mean is off, and whether that is within its limit.
pub(crate) fn judge(document: &ValidateDocument, prediction: Prediction, quantity: Quantity) -> Judgement {
    let verdict = document.verdict(prediction, quantity);
    let error = match quantity {
        Quantity::Tail => verdict.and_then(|verdict| verdict.error_ratio),
        _ => document.error(prediction, quantity),
    };
    let Some(error) = error else {
        let figures = if quantity == Quantity::Tail && prediction == Prediction::Exact {
            "what was simulated, not a bound".to_owned()
        } else {
            UNKNOWN.to_owned()
        };
        return Judgement { figures, verdict: None };
    };
    let error = match quantity {
        Quantity::Tail => format!("too low at {} of thresholds", percent(error)),
        _ => signed_percent(error),
    };
    let figures = match verdict.and_then(limit) {
        Some(limit) => format!("{error} ({limit})"),
        None => error,
    };
    Judgement { figures, verdict: verdict.and_then(outcome) }
}

/// Whether a prediction is within its limit, in words.
pub(crate) fn outcome(verdict: &Verdict) -> Option<&'static str> {
    verdict.error_ratio?;
    if verdict.outcome.as_deref() == Some("too_few_cycles") {
        return Some(UNSURE);
    }
    verdict.passed.map(|passed| if passed { HOLDS } else { FAILS })
}

/// How far a prediction may be off. One that is further off and holds is so within the error of what was measured.
fn limit(verdict: &Verdict) -> Option<String> {
    let limit = verdict.limit_ratio?;
    let is_over = verdict.error_ratio.is_some_and(|error| error > limit);
    let standard = verdict.standard_error_ratio.filter(|_| is_over && verdict.passed == Some(true));
    Some(match standard {
        Some(standard) => format!("limit {}, measured ± {}", percent(limit), percent(2.0 * standard)),
        None => format!("limit {}", percent(limit)),
    })
}

/// Tokens, as many digits as can be read: `3,840`, `58.8`, `5.98`, `1.2e300`.
pub(crate) fn tokens(value: f64) -> String {
    number(value, decimals(value))
}

fn decimals(value: f64) -> usize {
    let size = value.abs();
    if size >= 100.0 { 0 } else { usize::from(size < 10.0) + 1 }
}

/// A mean with twice its standard error: `3,840 ± 61`.
pub(crate) fn mean(mean: Option<f64>, standard_error: Option<f64>) -> String {
    let Some(mean) = mean else { return UNKNOWN.to_owned() };
    match standard_error {
        // As exact as the mean; what would be nothing then has digits of its own.
        Some(error) if 2.0 * error < 0.5 * 0.1_f64.powi(decimals(mean) as i32) => {
            format!("{} ± {}", tokens(mean), tokens(2.0 * error))
        }
        Some(error) => format!("{} ± {}", tokens(mean), number(2.0 * error, decimals(mean))),
        None => tokens(mean),
    }
}

/// A share: `12 %`, `0.5 %`.
pub(crate) fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    let rounded = (percent * 10.0).round() / 10.0;
    let decimals = usize::from(rounded.fract() != 0.0 && rounded.abs() < 1000.0);
    format!("{} %", number(percent, decimals))
}

/// A difference: `+1.2 %`, `−12.3 %`.
pub(crate) fn signed_percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    let sign = if ratio >= 0.0 { "+" } else { "" };
    format!("{sign}{} %", number(percent, usize::from(percent.abs() < 100.0)))
}

/// A number with thousands separated and a minus sign; the largest and those of many digits with a power of ten.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let size = value.abs();
    if size.is_infinite() {
        return if value < 0.0 { "−∞" } else { "∞" }.to_owned();
    }
    if size >= 1e9 {
        return format!("{}{size:.1e}", if value < 0.0 { "−" } else { "" });
    }
    let text = format!("{size:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    let sign = if value < 0.0 && !is_zero { "−" } else { "" };
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), grouped);
    match fraction {
        Some(fraction) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{whole}"),
    }
}

/// What was run, in short pieces with dots between them; lines break between the pieces alone.
pub(crate) fn parameters(document: &ValidateDocument) -> String {
    let of = &document.parameters;
    let known = |mean: Option<f64>| mean.map_or_else(|| "unknown".to_owned(), tokens);
    let mut said = [
        format!("N = {} sequences", grouped(of.batch_size)),
        format!("k = {} replaced together", grouped(of.switching_threshold)),
        format!("θ = {}", trimmed(of.theta)),
        match of.termination {
            Some(p) => format!("p = {} a token", trimmed(p)),
            None => format!("p {UNKNOWN}"),
        },
        format!(
            "mean prompt {}, output {} tokens",
            known(of.mean_prompt_tokens),
            known(of.mean_output_tokens)
        ),
        match of.max_output_tokens {
            Some(cap) => format!("outputs of at most {} tokens", grouped(cap)),
            None => "outputs of any length".to_owned(),
        },
        format!("{} {}", grouped(of.num_cycles), if of.num_cycles == 1 { "cycle" } else { "cycles" }),
    ];
    if let (Some(warm), Some(last)) = (of.warmup_cycles.filter(|&warm| warm > 0), said.last_mut()) {
        last.push_str(&format!(" after {} to warm up", grouped(warm)));
    }
    said.join(" ·\n").replace(' ', "\u{a0}")
}

/// A ratio with four digits behind the point at most.
pub(crate) fn trimmed(value: f64) -> String {
    let text = number(value, 4);
    if !text.contains('.') || text.contains('e') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([3840.13, 58.82, 5.98, 0.0].map(tokens), ["3,840", "58.8", "5.98", "0.00"]);
        assert_eq!([-13_744.6, 1e300].map(tokens), ["−13,745", "1.0e300"]);
        assert_eq!([0.1, 0.025, 0.95, 1.0].map(percent), ["10 %", "2.5 %", "95 %", "100 %"]);
        assert_eq!([-0.1234, 0.0, 12.5].map(signed_percent), ["−12.3 %", "+0.0 %", "+1,250 %"]);
        assert_eq!([0.1875, 0.0124910, 1.0].map(trimmed), ["0.1875", "0.0125", "1"]);
        assert_eq!(mean(Some(100.0), None), "100");
        assert_eq!(mean(Some(3840.1), Some(30.7)), "3,840 ± 61");
        assert_eq!(mean(Some(3840.1), Some(0.02)), "3,840 ± 0.04");
        assert_eq!(mean(None, Some(1.0)), UNKNOWN);
    }
}
