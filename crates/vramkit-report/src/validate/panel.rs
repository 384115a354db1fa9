//! What panels have in common: a frame with its scales, lines of predictions with labels that keep apart, and the lines under it
//! that say each prediction's figures.

use super::axis::{Axis, Place};
use super::letters::width;
use super::paper::{Anchor, FRAME, Face, GRID, Paper, SIZE, Towards};
use super::series::{CYCLE, MEASURED, Pen, RANGE};
use super::spread::spread;
use super::words::{FAILS, tokens};

/// The sides of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

/// A scale, what is along it, and about how many numbers stand beside it.
pub(crate) struct Scale<'a> {
    pub(crate) axis: Axis,
    pub(crate) title: &'a str,
    pub(crate) ticks: f64,
    pub(crate) is_whole: bool,
    /// No number below this one is written along it.
    pub(crate) least: f64,
}

/// A value with a line across the frame.
pub(crate) struct Mark {
    pub(crate) name: &'static str,
    pub(crate) pen: Pen,
    pub(crate) value: f64,
}

/// How what a line of a key is about looks in the panel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sample {
    Line(Pen),
    Mean,
    Dots,
    Range,
    ErrorBar,
}

/// A line of a key.
pub(crate) struct KeyLine {
    /// Nothing where nothing is drawn.
    pub(crate) sample: Option<Sample>,
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) figures: String,
    pub(crate) verdict: Option<&'static str>,
}

/// How long a sample is, and how high a line of a key.
pub(crate) const SAMPLE: f64 = 30.0;
pub(crate) const LINE: f64 = 15.5;
/// Between a frame's lower side and the key's first line.
pub(crate) const SCALE: f64 = 55.0;
/// Beside a frame, for labels of lines; above one, likewise.
pub(crate) const BESIDE: f64 = 78.0;
pub(crate) const ABOVE: f64 = 26.0;
const SMALL: f64 = 11.0;

/// What is behind the data: lines of the scales, and their numbers outside.
pub(crate) fn scales(paper: &mut Paper, frame: Frame, across: &Scale<'_>, up: &Scale<'_>) {
    let Frame { left, right, top, bottom } = frame;
    let (grid, tick) =
        (Pen { colour: GRID, width: 1.0, dash: None }, Pen { colour: FRAME, width: 1.0, dash: None });
    for (value, label) in up.axis.ticks(up.ticks, up.is_whole) {
        let y = up.axis.nearest(value);
        paper.line((left, y), (right, y), grid);
        paper.line((left - 4.0, y), (left, y), tick);
        paper.text((left - 8.0, y + 4.0), Face::PLAIN.sized(SMALL).at(Anchor::End), &label);
    }
    for (value, label) in across.axis.ticks(across.ticks, across.is_whole) {
        // There is no cycle 0.
        if value < across.least {
            continue;
        }
        let x = across.axis.nearest(value);
        paper.line((x, bottom), (x, bottom + 4.0), tick);
        paper.text((x, bottom + 17.0), Face::PLAIN.sized(SMALL).at(Anchor::Middle), &label);
    }
    let middle = ((left + right) / 2.0, (top + bottom) / 2.0);
    paper.text((middle.0, bottom + 33.0), Face::PLAIN.at(Anchor::Middle), across.title);
    paper.upward((left - 64.0, middle.1), Face::PLAIN.at(Anchor::Middle), up.title);
}

/// The frame itself, over the data's ends.
pub(crate) fn outline(paper: &mut Paper, frame: Frame) {
    let pen = Pen { colour: FRAME, width: 1.0, dash: None };
    paper.outline((frame.left, frame.top), (frame.right, frame.bottom), pen);
}

/// An empty frame that says why it is.
pub(crate) fn empty(paper: &mut Paper, frame: Frame, why: &str) {
    outline(paper, frame);
    let middle = ((frame.left + frame.right) / 2.0, (frame.top + frame.bottom) / 2.0);
    paper.text(middle, Face::SOFT.at(Anchor::Middle), why);
}

/// Lines across at these values, and their names beside the frame. One that lies outside is an arrow with its number.
pub(crate) fn lines_across(paper: &mut Paper, frame: Frame, axis: &Axis, mut marks: Vec<Mark>) {
    // Those at one edge in the order of their numbers.
    marks.sort_by(|a, b| b.value.total_cmp(&a.value));
    let labels: Vec<(f64, f64)> = marks
        .iter()
        .map(|mark| {
            let lines = if matches!(axis.place(mark.value), Place::At(_)) { 1.0 } else { 2.0 };
            (axis.nearest(mark.value), 13.5 + (lines - 1.0) * 17.0)
        })
        .collect();
    let places = spread(&labels, frame.top - 4.0, frame.bottom + 4.0);
    for (mark, y) in marks.iter().zip(places) {
        let face = Face::PLAIN.sized(SMALL);
        let x = frame.right + 16.0;
        let towards = match axis.place(mark.value) {
            Place::At(at) => {
                paper.line((frame.left, at), (frame.right, at), mark.pen);
                let leader = Pen { width: 1.0, dash: None, ..mark.pen };
                paper.line((frame.right, at), (x - 3.0, y), leader);
                paper.text((x, y + 4.0), face, mark.name);
                continue;
            }
            Place::Above => Towards::Up,
            Place::Below => Towards::Down,
        };
        let number = tokens(mark.value);
        paper.text((x, y - 2.5), face, mark.name);
        paper.text((x, y + 10.5), face, &number);
        paper.arrow((x + width(&number, SMALL) + 9.0, y + 6.5), towards, mark.pen.colour);
    }
}

/// Lines upward at these values, and their names above the frame.
pub(crate) fn lines_upward(paper: &mut Paper, frame: Frame, axis: &Axis, mut marks: Vec<Mark>) {
    marks.sort_by(|a, b| a.value.total_cmp(&b.value));
    let text = |mark: &Mark| match axis.place(mark.value) {
        Place::At(_) => mark.name.to_owned(),
        _ => format!("{} {}", mark.name, tokens(mark.value)),
    };
    let labels: Vec<(f64, f64)> = marks
        .iter()
        .map(|mark| {
            let arrow = if matches!(axis.place(mark.value), Place::At(_)) { 12.0 } else { 28.0 };
            (axis.nearest(mark.value), width(&text(mark), SMALL) + arrow)
        })
        .collect();
    let places = spread(&labels, frame.left, frame.right);
    let base = frame.top - ABOVE + 12.0;
    for ((mark, x), (_, length)) in marks.iter().zip(places).zip(labels) {
        let face = Face::PLAIN.sized(SMALL);
        match axis.place(mark.value) {
            Place::At(at) => {
                paper.line((at, frame.top), (at, frame.bottom), mark.pen);
                let leader = Pen { width: 1.0, dash: None, ..mark.pen };
                paper.line((at, frame.top), (x, base + 4.0), leader);
                paper.text((x, base), face.at(Anchor::Middle), mark.name);
            }
            Place::Below => {
                paper.arrow((x - length / 2.0 + 8.0, base - 4.0), Towards::Left, mark.pen.colour);
                paper.text((x + 7.0, base), face.at(Anchor::Middle), &text(mark));
            }
            Place::Above => {
                paper.arrow((x + length / 2.0 - 8.0, base - 4.0), Towards::Right, mark.pen.colour);
                paper.text((x - 7.0, base), face.at(Anchor::Middle), &text(mark));
            }
        }
    }
}

/// What a line of a key is about, as the panel shows it.
pub(crate) fn sample(paper: &mut Paper, (x, middle): (f64, f64), sample: Sample) {
    let end = x + SAMPLE;
    match sample {
        Sample::Line(pen) => paper.line((x, middle), (end, middle), pen),
        Sample::Mean => {
            paper.shade((x, middle - 4.5), (end, middle + 4.5));
            paper.line((x, middle), (end, middle), MEASURED);
        }
        Sample::Dots => {
            let dots = [(x + 4.0, middle + 2.0), (x + 15.0, middle - 3.0), (x + 26.0, middle + 1.0)];
            paper.dots(&dots, CYCLE, 3.4);
        }
        Sample::Range => paper.fill((x, middle - 5.0), (end, middle + 5.0), RANGE),
        Sample::ErrorBar => {
            let (at, pen) = (x + SAMPLE / 2.0, Pen { width: 1.2, ..MEASURED });
            paper.line((at, middle - 6.0), (at, middle + 6.0), pen);
            paper.circle((at, middle), 2.8, MEASURED.colour);
        }
    }
}

/// The lines under a panel. `names` and `values` are the widths of their columns.
pub(crate) fn key(
    paper: &mut Paper,
    (left, top): (f64, f64),
    (names, values): (f64, f64),
    lines: &[KeyLine],
) {
    let figures = left + SAMPLE + 8.0 + names + values + if values > 0.0 { 14.0 } else { 0.0 };
    let judged = lines.iter().filter(|line| line.verdict.is_some());
    let widest = judged.map(|line| width(&line.figures, SIZE)).fold(0.0, f64::max);
    for (i, line) in lines.iter().enumerate() {
        let y = top + i as f64 * LINE;
        if let Some(kind) = line.sample {
            sample(paper, (left, y - 4.0), kind);
        }
        paper.text((left + SAMPLE + 8.0, y), Face::PLAIN, &line.name);
        if !line.value.is_empty() {
            paper.text((left + SAMPLE + 8.0 + names + values, y), Face::PLAIN.at(Anchor::End), &line.value);
        }
        if !line.figures.is_empty() {
            paper.text((figures, y), Face::PLAIN, &line.figures);
        }
        if let Some(verdict) = line.verdict {
            let face = if verdict == FAILS { Face::BOLD } else { Face::PLAIN };
            paper.text((figures + widest + 26.0, y), face, verdict);
        }
    }
}
