//! The picture of one experiment: X0 and Xmax over its cycles, the histogram of sup Y, the tail.

use super::cycles::{cycles_a_mark, key};
use super::document::ValidateDocument;
use super::letters::{cut, width, wrap};
use super::panel::{ABOVE, Frame, LINE, SAMPLE, SCALE, Sample, key as draw_key, sample};
use super::paper::{Face, HEIGHT, MARGIN, Paper, SIZE, WIDTH};
use super::series::{Quantity, TAILS};
use super::words::parameters;
use super::{cycles, histogram, tail};

const TITLE: f64 = 20.0;
/// How much wider bold letters may be, in whichever font there is.
const BOLD: f64 = 1.25;
const GAP: f64 = 34.0;
/// Left of a frame, for its scale.
pub(crate) const SCALE_LEFT: f64 = 78.0;
const NOTE_LINES: usize = 3;
const NOTE_LINE: f64 = 15.0;

/// Draws an experiment beside its predictions as a standalone SVG: a page of A4 across.
///
/// X0 and Xmax of every cycle, the growth within cycles as a histogram, and how often it is over a threshold, each with the mean
/// or share that was measured, its error, the predictions, how far each is off and whether its verdict holds. A prediction that is
/// far off is an arrow with its number, so that it does not squeeze the data. Of over 1,500 cycles, stretches are drawn from their
/// lowest to their highest.
pub fn validation_svg(document: &ValidateDocument) -> String {
    let title =
        format!("{} on {}: tokens held, measured and predicted", document.model_name(), document.dataset);
    let mut paper = Paper::new(&title);
    let room = WIDTH - 2.0 * MARGIN;
    let face = Face::BOLD.sized(TITLE);
    // The data set stays readable behind a long name of a model.
    let dataset = cut(&document.dataset, TITLE, room * 0.3);
    let rest = format!(" on {dataset}: tokens held, measured and predicted");
    let model = cut(document.model_name(), TITLE, room / BOLD - width(&rest, TITLE));
    paper.text((MARGIN, 42.0), face, &format!("{model}{rest}"));
    let mut y = 64.0;
    for line in wrap(&parameters(document), SIZE + 0.5, room, 2) {
        paper.text((MARGIN, y), Face::SOFT.sized(SIZE + 0.5), &line);
        y += 17.0;
    }
    y += 6.0;
    legend(&mut paper, y, document);
    let notes = match document.notes.as_slice() {
        [] => Vec::new(),
        notes => wrap(&format!("Notes: {}", notes.join("; ")), SIZE, room, NOTE_LINES),
    };
    let bottom = HEIGHT - 26.0 - notes.len() as f64 * NOTE_LINE;
    for (i, line) in notes.iter().enumerate() {
        paper.text((MARGIN, bottom + 4.0 + (i + 1) as f64 * NOTE_LINE), Face::SOFT, line);
    }
    // Two rows of title, frame, scale and key; the lower frames have labels above them.
    let (above, below) = (24.0, SCALE + 4.0 * LINE);
    let first = y + 18.0;
    let height = (bottom - first - 2.0 * (above + below) - ABOVE - 14.0) / 2.0;
    let middle = (WIDTH - GAP) / 2.0;
    let columns = [(MARGIN, middle), (middle + GAP, WIDTH - MARGIN)];
    let second = first + above + height + below + 14.0;
    let frame = |(left, right): (f64, f64), top: f64| Frame {
        left: left + SCALE_LEFT,
        right,
        top,
        bottom: top + height,
    };
    let titles = ["X0: tokens held as decoding starts", "Xmax: most tokens held in the cycle"];
    for (i, quantity) in [Quantity::X0, Quantity::Xmax].into_iter().enumerate() {
        let column = columns[i];
        heading(&mut paper, (column.0, first + 12.0), ["a", "b"][i], titles[i]);
        let frame = frame(column, first + above);
        cycles::draw(&mut paper, frame, document, quantity);
        draw_key(&mut paper, (column.0, frame.bottom + SCALE), (58.0, 104.0), &key(document, quantity));
    }
    let frames = columns.map(|column| frame(column, second + above + ABOVE));
    let title = "sup Y = Xmax − X0: growth within a cycle, whose mean is κ";
    heading(&mut paper, (columns[0].0, second + 12.0), "c", title);
    histogram::draw(&mut paper, frames[0], document);
    let lines = key(document, Quantity::Kappa);
    draw_key(&mut paper, (columns[0].0, frames[0].bottom + SCALE), (58.0, 104.0), &lines);
    heading(
        &mut paper,
        (columns[1].0, second + 12.0),
        "d",
        "Tail: share of cycles whose growth is over a threshold",
    );
    // It has no labels above it.
    let tall = Frame { top: second + above, ..frames[1] };
    tail::draw(&mut paper, tall, document, 8.0);
    draw_key(&mut paper, (columns[1].0, frames[1].bottom + SCALE), (154.0, 0.0), &tail::key(document));
    paper.finish()
}

/// A panel's letter and what it shows.
fn heading(paper: &mut Paper, (x, y): (f64, f64), letter: &str, title: &str) {
    let face = Face::BOLD.sized(13.5);
    paper.text((x, y), face, letter);
    paper.text((x + 20.0, y), face, title);
}

/// What looks how, for all panels.
fn legend(paper: &mut Paper, y: f64, document: &ValidateDocument) {
    let stretch = cycles_a_mark(document);
    let cycles = match stretch {
        1 => (Sample::Dots, "a cycle".to_owned()),
        _ => (Sample::Range, format!("range of {stretch} cycles")),
    };
    let mean = (Sample::Mean, "measured mean ± 2 standard errors".to_owned());
    let observed = (Sample::ErrorBar, "observed share ± 2 standard errors".to_owned());
    let predictions = TAILS.map(|prediction| (Sample::Line(prediction.pen()), prediction.label().to_owned()));
    let entries: Vec<(Sample, String)> = [cycles, mean, observed].into_iter().chain(predictions).collect();
    let taken: f64 = entries.iter().map(|(_, label)| SAMPLE + 7.0 + width(label, SIZE)).sum();
    let gap = ((WIDTH - 2.0 * MARGIN - taken) / (entries.len() - 1) as f64).clamp(4.0, 24.0);
    let mut x = MARGIN;
    for (kind, label) in entries {
        sample(paper, (x, y - 4.0), kind);
        paper.text((x + SAMPLE + 7.0, y), Face::PLAIN, &label);
        x += SAMPLE + 7.0 + width(&label, SIZE) + gap;
    }
}
