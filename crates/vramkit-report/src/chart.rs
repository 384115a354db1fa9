//! The chart of a run: granted, committed and system-reported memory over time, levels of pressure behind.

use std::fmt::Write as _;

use crate::document::{Level, RunDocument, Sample};
use crate::draw::{byte_ticks, n, ticks};
use vramkit_units::ByteSize;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 96.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 64.0;
/// Most samples that are drawn.
const MOST_SAMPLES: usize = 2000;

/// Memory over time as an SVG to stand in a page.
pub(crate) fn memory_svg(run: &RunDocument) -> String {
    // Of many, the highest of each stretch: more than the picture has room for.
    let stretch = run.samples.len().div_ceil(MOST_SAMPLES).max(1);
    let highest_of = |stretch: &[Sample]| stretch.iter().copied().max_by_key(|sample| sample.used_bytes);
    let samples: Vec<Sample> = run.samples.chunks(stretch).filter_map(highest_of).collect();
    let seconds = samples.last().map_or(1.0, |sample| sample.at_seconds).max(1e-6);
    let highest = samples
        .iter()
        .flat_map(|s| [Some(s.used_bytes), Some(s.committed_bytes), s.system_bytes])
        .flatten()
        .max();
    let most = highest.unwrap_or_default().max(ByteSize::new(1));
    let x = |at: f64| LEFT + at / seconds * (WIDTH - LEFT - RIGHT);
    let y = |bytes: ByteSize| {
        HEIGHT - BOTTOM - bytes.bytes() as f64 / (most.bytes() as f64 * 1.08) * (HEIGHT - TOP - BOTTOM)
    };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-size=\"12\" role=\"img\" aria-label=\"memory over time\">\n"
    );
    for pair in samples.windows(2) {
        let fill = level_colour(pair[0].level);
        let (from, to) = (x(pair[0].at_seconds), x(pair[1].at_seconds));
        let _ = writeln!(
            svg,
            "<rect x=\"{}\" y=\"{TOP}\" width=\"{}\" height=\"{}\" fill=\"{fill}\"/>",
            n(from),
            n(to - from),
            n(HEIGHT - TOP - BOTTOM)
        );
    }
    for tick in byte_ticks(most, 5.0) {
        let at = n(y(tick));
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{at}\" x2=\"{}\" y2=\"{at}\" class=\"grid\"/>",
            WIDTH - RIGHT
        );
        let _ =
            writeln!(svg, "<text x=\"{}\" y=\"{at}\" dy=\"4\" text-anchor=\"end\">{tick}</text>", LEFT - 8.0);
    }
    for tick in ticks(seconds, 8.0) {
        let label = if seconds < 1.0 { format!("{} ms", n(tick * 1e3)) } else { format!("{} s", n(tick)) };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            n(x(tick)),
            HEIGHT - BOTTOM + 18.0
        );
    }
    type Series = (&'static str, &'static str, &'static str, fn(&Sample) -> Option<ByteSize>);
    let series: [Series; 3] = [
        ("committed by the pool", "#0072b2", "", |s| Some(s.committed_bytes)),
        ("granted", "#e69f00", "", |s| Some(s.used_bytes)),
        ("resident, as the system says", "#c00000", " stroke-dasharray=\"5 4\"", |s| s.system_bytes),
    ];
    let mut legend = LEFT;
    for (label, colour, dash, value) in series {
        let points = samples.iter().filter_map(|sample| Some((sample.at_seconds, value(sample)?)));
        // A value holds until the next is read.
        let mut path = String::new();
        for (i, (at, bytes)) in points.enumerate() {
            let (px, py) = (n(x(at)), n(y(bytes)));
            let _ = if i == 0 { write!(path, "M{px},{py}") } else { write!(path, "H{px}V{py}") };
        }
        if path.is_empty() {
            continue;
        }
        let _ =
            writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>");
        let base = HEIGHT - 14.0;
        let _ = writeln!(
            svg,
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/><text x=\"{}\" \
             y=\"{base}\">{label}</text>",
            n(legend),
            base - 4.0,
            n(legend + 20.0),
            base - 4.0,
            n(legend + 26.0)
        );
        legend += 46.0 + label.len() as f64 * 6.8;
    }
    svg.push_str("</svg>\n");
    svg
}

/// Faint, to stand behind lines.
fn level_colour(level: Level) -> &'static str {
    match level {
        Level::Normal => "none",
        Level::Elevated => "rgba(230,159,0,.12)",
        Level::High => "rgba(213,94,0,.16)",
        Level::Critical => "rgba(192,0,0,.20)",
    }
}
