//! Several experiments side by side on one page: the figures as a table, a column for each, and their tails under it.

use super::document::ValidateDocument;
use super::letters::{cut, width, wrap};
use super::panel::{Frame, SAMPLE, Sample, sample};
use super::paper::{Anchor, FRAME, Face, GRID, HEIGHT, MARGIN, Paper, SIZE, WIDTH};
use super::picture::SCALE_LEFT;
use super::series::{PREDICTIONS, Pen, Prediction, Quantity, TAILS};
use super::tail;
use super::words::{FAILS, UNKNOWN, mean, outcome, parameters, percent, signed_percent, tokens};

/// More have no room beside each other.
const MOST: usize = 4;
/// The names of the rows.
const NAMES: f64 = 140.0;
const TITLE: f64 = 20.0;
const LINE: f64 = 15.5;
/// Where a cell's parts end or begin, in sizes of its letters.
const VALUE: f64 = 7.0;
const ERROR: f64 = 11.8;
const LIMIT: f64 = 15.4;
const VERDICT: f64 = 16.2;

/// A cell: what is said of one quantity of one experiment.
struct Cell {
    value: String,
    error: String,
    limit: String,
    verdict: &'static str,
}

/// Draws several experiments beside each other as a standalone SVG: a page of A4 across.
///
/// X0, Xmax, κ and the bounds of the tail by rows, an experiment a column, with what was measured, each prediction, how far it
/// is off, its limit and its verdict; below them each one's tail. At most four are drawn, and a line says how many more there are.
pub fn validations_svg(documents: &[ValidateDocument]) -> String {
    let title = "Tokens held, measured and predicted, by data set";
    let mut paper = Paper::new(title);
    paper.text((MARGIN, 42.0), Face::BOLD.sized(TITLE), title);
    let shown = &documents[..documents.len().min(MOST)];
    let column = (WIDTH - 2.0 * MARGIN - NAMES) / shown.len().max(1) as f64;
    let size = if shown.len() < MOST { SIZE } else { 10.0 };
    let left = |i: usize| MARGIN + NAMES + column * i as f64;
    let mut lowest = 62.0_f64;
    for (i, document) in shown.iter().enumerate() {
        let (x, room) = (left(i), column - 16.0);
        paper.text((x, 68.0), Face::BOLD.sized(14.0), &cut(&document.dataset, 14.0, room / 1.2));
        let mut y = 72.0;
        let model = cut(document.model_name(), size, room);
        for line in [model].into_iter().chain(wrap(&parameters(document), size, room, 6)) {
            y += size + 3.5;
            paper.text((x, y), Face::SOFT.sized(size), &line);
        }
        lowest = lowest.max(y);
    }
    let mut y = lowest + 24.0;
    for i in 0..shown.len() {
        let face = Face::SOFT.sized(size - 0.5);
        for (name, at) in [("tokens", VALUE), ("off by", ERROR), ("limit", LIMIT)] {
            paper.text((left(i) + at * size, y), face.at(Anchor::End), name);
        }
        paper.text((left(i) + VERDICT * size, y), face, "verdict");
    }
    y += 7.0;
    for (quantity, what) in [
        (Quantity::X0, "tokens held as decoding starts"),
        (Quantity::Xmax, "most tokens held in a cycle"),
        (Quantity::Kappa, "mean growth within a cycle"),
        (
            Quantity::Tail,
            "bounds on the share of cycles whose growth is over a threshold; off by: the share of thresholds at which a bound is too low",
        ),
    ] {
        paper.line((MARGIN, y), (WIDTH - MARGIN, y), Pen { colour: GRID, width: 1.0, dash: None });
        y += LINE;
        let sign = quantity.sign();
        paper.text((MARGIN, y), Face::BOLD, sign);
        paper.text((MARGIN + width(sign, SIZE) * 1.08 + 10.0, y), Face::SOFT, what);
        for (kind, name, prediction) in rows(quantity) {
            y += LINE;
            sample(&mut paper, (MARGIN, y - 4.0), kind);
            paper.text((MARGIN + SAMPLE + 8.0, y), Face::PLAIN, name);
            for (i, document) in shown.iter().enumerate() {
                draw_cell(&mut paper, (left(i), y), size, &cell(document, quantity, prediction));
            }
        }
        y += 8.0;
    }
    paper.line((MARGIN, y), (WIDTH - MARGIN, y), Pen { colour: FRAME, width: 1.0, dash: None });
    let bottom = HEIGHT - 64.0;
    paper.text((MARGIN, y + 22.0), Face::BOLD, "Tail");
    let mut line = y + 24.0;
    let observed = (Sample::ErrorBar, "observed");
    let predictions = TAILS.map(|prediction| (Sample::Line(prediction.pen()), prediction.short()));
    for (kind, name) in [observed].into_iter().chain(predictions) {
        line += LINE + 1.0;
        sample(&mut paper, (MARGIN, line - 4.0), kind);
        paper.text((MARGIN + SAMPLE + 8.0, line), Face::PLAIN, name);
    }
    for (i, text) in ["± and bars are two", "standard errors"].into_iter().enumerate() {
        paper.text((MARGIN, line + (i + 1) as f64 * LINE + 8.0), Face::SOFT, text);
    }
    for (i, document) in shown.iter().enumerate() {
        let frame =
            Frame { left: left(i) + SCALE_LEFT, right: left(i) + column - 16.0, top: y + 32.0, bottom };
        paper.text(
            (frame.left, y + 22.0),
            Face::BOLD,
            &cut(&document.dataset, SIZE, column - SCALE_LEFT - 16.0),
        );
        tail::draw(&mut paper, frame, document, (column / 75.0).min(6.0));
    }
    let more = documents.len() - shown.len();
    if more > 0 {
        paper.text(
            (MARGIN, HEIGHT - 14.0),
            Face::SOFT,
            &format!("and {more} more, for which there is no room"),
        );
    }
    paper.finish()
}

/// The rows of a quantity: how each looks, its name, and which prediction it is; without one, what was measured.
fn rows(quantity: Quantity) -> Vec<(Sample, &'static str, Option<Prediction>)> {
    let row = |prediction: Prediction| (Sample::Line(prediction.pen()), prediction.short(), Some(prediction));
    if quantity == Quantity::Tail {
        return TAILS.into_iter().filter(|&prediction| prediction != Prediction::Exact).map(row).collect();
    }
    [(Sample::Mean, "measured", None)].into_iter().chain(PREDICTIONS.map(row)).collect()
}

fn cell(document: &ValidateDocument, quantity: Quantity, prediction: Option<Prediction>) -> Cell {
    let measured = document.measured(quantity);
    let Some(prediction) = prediction else {
        let value = mean(measured.mean_tokens, measured.standard_error_tokens);
        return Cell { value, error: String::new(), limit: String::new(), verdict: "" };
    };
    let verdict = document.verdict(prediction, quantity);
    let (value, error) = match quantity {
        Quantity::Tail => (None, verdict.and_then(|verdict| verdict.error_ratio).map(percent)),
        _ => (
            document.predicted(prediction, quantity),
            document.error(prediction, quantity).map(signed_percent),
        ),
    };
    let limit = verdict.and_then(|verdict| verdict.limit_ratio).map(percent).unwrap_or_default();
    let verdict = match &error {
        Some(_) => verdict.and_then(outcome).unwrap_or_default(),
        None => UNKNOWN,
    };
    Cell { value: value.map(tokens).unwrap_or_default(), error: error.unwrap_or_default(), limit, verdict }
}

fn draw_cell(paper: &mut Paper, (x, y): (f64, f64), size: f64, cell: &Cell) {
    let face = Face::PLAIN.sized(size);
    for (text, at) in [(&cell.value, VALUE), (&cell.error, ERROR), (&cell.limit, LIMIT)] {
        if !text.is_empty() {
            paper.text((x + at * size, y), face.at(Anchor::End), text);
        }
    }
    if !cell.verdict.is_empty() {
        let is_bold = cell.verdict == FAILS;
        paper.text((x + VERDICT * size, y), Face { is_bold, ..face }, cell.verdict);
    }
}
