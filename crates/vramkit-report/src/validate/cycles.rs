//! The panel of one quantity over the cycles: what each held, the mean with its error, and the predictions across.

use super::axis::Axis;
use super::document::{Measurement, ValidateDocument};
use super::panel::{BESIDE, Frame, KeyLine, Mark, Sample, Scale, empty, lines_across, outline, scales};
use super::paper::Paper;
use super::series::{CYCLE, MEASURED, PREDICTIONS, Quantity, RANGE};
use super::words::{UNKNOWN, judge, mean, tokens};

/// More cycles than this are drawn as stretches, each from its lowest to its highest.
const MOST_DOTS: usize = 1500;
const STRETCHES: usize = 400;

/// How many cycles are in one mark of the panel.
pub(crate) fn cycles_a_mark(document: &ValidateDocument) -> usize {
    let count = document.cycles.len();
    if count <= MOST_DOTS { 1 } else { count.div_ceil(STRETCHES) }
}

/// Draws the panel; `frame` is what it may take, its labels beside it included.
pub(crate) fn draw(paper: &mut Paper, frame: Frame, document: &ValidateDocument, quantity: Quantity) {
    let frame = Frame { right: frame.right - BESIDE, ..frame };
    let values: Vec<f64> = document
        .cycles
        .iter()
        .map(|cycle| if quantity == Quantity::X0 { cycle.x0_tokens } else { cycle.xmax_tokens })
        .collect();
    let measured = document.measured(quantity);
    let marks = marks(document, quantity);
    if values.is_empty() && marks.is_empty() {
        empty(paper, frame, "no cycle was measured");
        return;
    }
    let mut others: Vec<f64> = marks.iter().map(|mark| mark.value).collect();
    others.extend(band(measured).into_iter().flatten());
    let up = Axis::around(&values, &others, (frame.bottom, frame.top));
    // The first and the last stand a little inside.
    let last = values.len().max(1) as f64;
    let room = (last * 0.015).max(0.5);
    let across = Axis::linear(1.0 - room, last + room, (frame.left, frame.right));
    let title = format!("{} (tokens)", quantity.sign());
    let up_scale = Scale { axis: up, title: &title, ticks: 5.0, is_whole: true, least: f64::MIN };
    let across_scale = Scale { axis: across, title: "cycle", ticks: 7.0, is_whole: true, least: 1.0 };
    scales(paper, frame, &across_scale, &up_scale);
    let stretch = cycles_a_mark(document);
    if stretch == 1 {
        let places = values.iter().enumerate();
        let places: Vec<(f64, f64)> =
            places.map(|(i, &value)| (across.nearest(i as f64 + 1.0), up.nearest(value))).collect();
        let width = match places.len() {
            ..=10 => 6.0,
            11..=200 => 3.4,
            _ => 2.2,
        };
        paper.dots(&places, CYCLE, width);
    } else {
        let (mut upper, mut lower) = (Vec::new(), Vec::new());
        for (i, part) in values.chunks(stretch).enumerate() {
            let x = across.nearest((i * stretch) as f64 + part.len() as f64 / 2.0 + 0.5);
            let low = part.iter().copied().fold(f64::INFINITY, f64::min);
            let high = part.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            upper.push((x, up.nearest(high)));
            lower.push((x, up.nearest(low)));
        }
        upper.extend(lower.into_iter().rev());
        paper.area(&upper, RANGE);
    }
    if let Some([low, high]) = band(measured) {
        paper.shade((frame.left, up.nearest(high)), (frame.right, up.nearest(low)));
    }
    outline(paper, frame);
    lines_across(paper, frame, &up, marks);
}

/// From two standard errors below the mean to two above.
pub(crate) fn band(measured: Measurement) -> Option<[f64; 2]> {
    let (mean, error) = (measured.mean_tokens?, measured.standard_error_tokens?);
    Some([mean - 2.0 * error, mean + 2.0 * error])
}

/// What was measured, and each prediction that there is.
pub(crate) fn marks(document: &ValidateDocument, quantity: Quantity) -> Vec<Mark> {
    let predicted = PREDICTIONS.into_iter().filter_map(|prediction| {
        let value = document.predicted(prediction, quantity)?;
        Some(Mark { name: prediction.label(), pen: prediction.pen(), value })
    });
    let measured = document.measured(quantity).mean_tokens;
    let measured = measured.map(|value| Mark { name: "measured", pen: MEASURED, value });
    measured.into_iter().chain(predicted).collect()
}

/// The lines under a panel of means.
pub(crate) fn key(document: &ValidateDocument, quantity: Quantity) -> Vec<KeyLine> {
    let measured = document.measured(quantity);
    let is_known = measured.mean_tokens.is_some();
    let first = KeyLine {
        sample: match band(measured) {
            Some(_) => Some(Sample::Mean),
            None => is_known.then_some(Sample::Line(MEASURED)),
        },
        name: "measured".to_owned(),
        value: if is_known {
            mean(measured.mean_tokens, measured.standard_error_tokens)
        } else {
            String::new()
        },
        figures: match (is_known, measured.standard_error_tokens) {
            (false, _) => UNKNOWN.to_owned(),
            (true, Some(_)) => "tokens on average, ± 2 standard errors".to_owned(),
            (true, None) => "tokens on average; its error cannot be said".to_owned(),
        },
        verdict: None,
    };
    let predicted = PREDICTIONS.into_iter().map(|prediction| {
        let value = document.predicted(prediction, quantity);
        let judgement = judge(document, prediction, quantity);
        KeyLine {
            sample: value.map(|_| Sample::Line(prediction.pen())),
            name: prediction.label().to_owned(),
            value: value.map(tokens).unwrap_or_default(),
            figures: judgement.figures,
            verdict: judgement.verdict,
        }
    });
    [first].into_iter().chain(predicted).collect()
}
