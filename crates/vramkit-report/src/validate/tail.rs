//! The panel of the tail: the share of cycles that grow by more than a threshold, beside the bounds, on a logarithmic scale.

use std::fmt::Write as _;

use super::axis::{Axis, Place};
use super::document::{Threshold, ValidateDocument};
use super::letters::width;
use super::panel::{Frame, KeyLine, Sample, Scale, empty, outline, scales};
use super::paper::{Face, Paper, Towards};
use super::series::{MEASURED, Pen, Prediction, Quantity, TAILS};
use super::words::judge;
use crate::draw::n;

/// How many powers of ten below the observed the panel may reach for the sake of a bound.
const DEEPER: i32 = 3;
/// Never deeper than this.
const DEEPEST: i32 = -12;
/// Between 100 % and the frame, so that a bound of 100 % is seen.
const HEADROOM: f64 = 8.0;
const SMALL: f64 = 11.0;

/// Draws the panel; `ticks` is about how many thresholds are written along it.
pub(crate) fn draw(paper: &mut Paper, frame: Frame, document: &ValidateDocument, ticks: f64) {
    let thresholds = document.tail.in_order();
    if thresholds.is_empty() {
        empty(paper, frame, "no threshold to show");
        return;
    }
    let at: Vec<f64> = thresholds.iter().map(|threshold| threshold.tokens).collect();
    let across = Axis::around(&at, &[], (frame.left, frame.right));
    let up = Axis::powers(depth(&thresholds), 0, (frame.bottom, frame.top + HEADROOM));
    let title = "threshold (tokens above X0)";
    let up_scale =
        Scale { axis: up, title: "share of cycles over it", ticks: 6.0, is_whole: false, least: 0.0 };
    let across_scale = Scale { axis: across, title, ticks, is_whole: true, least: f64::MIN };
    scales(paper, frame, &across_scale, &up_scale);
    let mut below = Vec::new();
    for prediction in TAILS {
        let points = points(&thresholds, prediction);
        let most = points.iter().map(|point| point.1).fold(0.0, f64::max);
        if !points.is_empty() && up.place(most) == Place::Below {
            below.push((prediction, most));
        }
        let places: Vec<(f64, f64)> =
            points.iter().map(|&(x, share)| (across.nearest(x), up.unbounded(share))).collect();
        let path = within(&places, up.nearest(1.0), frame.bottom);
        if !path.is_empty() {
            paper.path(&path, prediction.pen());
        }
        // A single threshold has no line.
        if let [(x, y)] = places.as_slice()
            && (up.nearest(1.0)..=frame.bottom).contains(y)
        {
            paper.line((x - 8.0, *y), (x + 8.0, *y), prediction.pen());
        }
    }
    observed(paper, &thresholds, &across, &up);
    outline(paper, frame);
    for (i, (prediction, most)) in below.iter().rev().enumerate() {
        let (x, y) = (frame.left + 14.0, frame.bottom - 12.0 - i as f64 * 17.0);
        let text = format!("{} ≤ {most:.1e}", prediction.short()).replace("e-", "e−");
        let end = (x + 12.0 + width(&text, SMALL)).min(frame.right - 1.0);
        paper.fill((x - 8.0, y - 9.0), (end, y + 7.0), "#ffffff");
        paper.arrow((x, y - 1.0), Towards::Down, prediction.pen().colour);
        paper.text((x + 9.0, y + 3.0), Face::PLAIN.sized(SMALL), &text);
    }
}

/// The lowest power of ten: below all that was observed, and as far down as the bounds begin if that is not far.
fn depth(thresholds: &[Threshold]) -> i32 {
    let power = |share: f64| share.log10().floor() as i32;
    let shares = thresholds.iter().filter_map(|threshold| threshold.observed).filter(|&share| share > 0.0);
    let least = power(shares.fold(0.2, f64::min) * 0.7).min(-1);
    let bounds = TAILS
        .into_iter()
        .map(|prediction| points(thresholds, prediction).iter().map(|point| point.1).fold(0.0, f64::max));
    let begins = bounds.filter(|&most| most > 0.0).map(power);
    let deepest = begins.filter(|&power| power >= least - DEEPER).fold(least, i32::min);
    deepest.clamp(DEEPEST, -1)
}

/// The thresholds for which a prediction has a share.
fn points(thresholds: &[Threshold], prediction: Prediction) -> Vec<(f64, f64)> {
    let shares = thresholds.iter().filter_map(|t| Some((t.tokens, t.predicted(prediction)?)));
    shares.filter(|&(_, share)| share > 0.0).collect()
}

fn observed(paper: &mut Paper, thresholds: &[Threshold], across: &Axis, up: &Axis) {
    let pen = Pen { width: 1.2, ..MEASURED };
    for threshold in thresholds {
        let Some(share) = threshold.observed.filter(|&share| share > 0.0) else { continue };
        let Place::At(y) = up.place(share) else { continue };
        let x = across.nearest(threshold.tokens);
        if let Some(error) = threshold.standard_error.filter(|&error| error > 0.0) {
            let (low, high) = (up.nearest(share - 2.0 * error), up.nearest(share + 2.0 * error));
            paper.line((x, low), (x, high), pen);
            // No cap where the bar goes on beyond the panel.
            let ends = [(low, share - 2.0 * error), (high, share + 2.0 * error)];
            for (end, _) in ends.into_iter().filter(|&(_, share)| matches!(up.place(share), Place::At(_))) {
                paper.line((x - 3.0, end), (x + 3.0, end), pen);
            }
        }
        paper.circle((x, y), 2.8, MEASURED.colour);
    }
}

/// A line through places, as far as it is between two heights.
fn within(places: &[(f64, f64)], top: f64, bottom: f64) -> String {
    let mut path = String::new();
    let mut end = None;
    for pair in places.windows(2) {
        let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
        // The part of the way at which the line passes a height.
        let passes = |height: f64| if y1 == y2 { 0.0 } else { ((height - y1) / (y2 - y1)).clamp(0.0, 1.0) };
        let (mut from, mut to) = (passes(top), passes(bottom));
        if y2 < y1 {
            (from, to) = (to, from);
        }
        if y1 == y2 {
            to = 1.0;
        }
        let is_outside = (y1 < top && y2 < top) || (y1 > bottom && y2 > bottom);
        if is_outside || to <= from {
            continue;
        }
        let place = |part: f64| (n(x1 + (x2 - x1) * part), n((y1 + (y2 - y1) * part).clamp(top, bottom)));
        let (first, last) = (place(from), place(to));
        if end.as_ref() != Some(&first) {
            let _ = write!(path, "M{},{}", first.0, first.1);
        }
        let _ = write!(path, "L{},{}", last.0, last.1);
        end = Some(last);
    }
    path
}

/// The lines under the panel.
pub(crate) fn key(document: &ValidateDocument) -> Vec<KeyLine> {
    let line = |prediction: Prediction| {
        let is_drawn = !points(&document.tail.thresholds, prediction).is_empty();
        let judgement = judge(document, prediction, Quantity::Tail);
        KeyLine {
            sample: is_drawn.then(|| Sample::Line(prediction.pen())),
            name: prediction.label().to_owned(),
            value: String::new(),
            figures: judgement.figures,
            verdict: judgement.verdict,
        }
    };
    TAILS.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_the_frame() {
        assert_eq!(within(&[(0.0, 5.0), (10.0, 5.0)], 0.0, 10.0), "M0,5L10,5");
        assert_eq!(within(&[(0.0, 5.0), (10.0, 25.0)], 0.0, 10.0), "M0,5L2.5,10");
        assert_eq!(within(&[(0.0, -10.0), (10.0, 30.0)], 0.0, 10.0), "M2.5,0L5,10");
        assert_eq!(within(&[(0.0, 30.0), (10.0, 5.0), (20.0, 5.0)], 0.0, 10.0), "M8,10L10,5L20,5");
        assert_eq!(within(&[(0.0, 30.0), (10.0, 40.0)], 0.0, 10.0), "");
        assert_eq!(within(&[(0.0, 5.0)], 0.0, 10.0), "");
    }
}
