//! Risk against batch: what each model says, and what was simulated.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::draw::{COLOURS, escape, n, open_svg, ticks};

/// The picture of one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RiskPicture {
    /// What stands above it.
    pub title: String,
    /// What the risk is of, beside the axis.
    pub risk_of: String,
    /// Curves, in the order of the legend.
    pub curves: Vec<RiskCurve>,
    /// The batch asked about.
    pub batch: f64,
    /// The risk that would do, 0..1.
    pub risk: f64,
}

/// One model's risks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RiskCurve {
    /// Whose.
    pub name: String,
    /// Batch, risk (0..1), and between what it lies within two standard errors.
    pub points: Vec<(f64, f64, f64, f64)>,
    /// Points with bars instead of a line.
    pub bars: bool,
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 72.0;
const BOTTOM: f64 = 56.0;
/// Decades shown at most.
const DEPTH: f64 = 12.0;

/// Draws risk, on a logarithmic scale, against the batch, as a standalone SVG.
///
/// ```
/// use vramkit_report::{RiskCurve, RiskPicture, risk_svg};
///
/// let points = vec![(10.0, 1e-6, 1e-7, 1e-5), (20.0, 1e-2, 0.9e-2, 1.1e-2)];
/// let exact = RiskCurve { name: "exact".to_owned(), points, bars: false };
/// let (title, risk_of) = ("1000 tokens".to_owned(), "risk of running out".to_owned());
/// let picture = RiskPicture { title, risk_of, curves: vec![exact], batch: 15.0, risk: 0.01 };
/// assert!(risk_svg(&picture).contains("1e-6"));
/// ```
pub fn risk_svg(picture: &RiskPicture) -> String {
    let points = || picture.curves.iter().flat_map(|curve| &curve.points);
    let first = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let last = points().map(|point| point.0).fold(first + 1.0, f64::max);
    // As deep as the first curve goes.
    let least = picture.curves.iter().take(1).flat_map(|curve| &curve.points).map(|point| point.1);
    let least = least.filter(|&risk| risk > 0.0).fold(0.1, f64::min);
    let floor = least.log10().floor().max(-DEPTH);
    let x = |batch: f64| LEFT + (batch - first) / (last - first) * (WIDTH - LEFT - RIGHT);
    let y = |risk: f64| TOP + risk.max(1e-300).log10().max(floor) / floor * (HEIGHT - TOP - BOTTOM);
    let mut svg = open_svg(WIDTH, HEIGHT, "risk of running out against batch");
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"24\" font-size=\"15\" font-weight=\"600\">{}</text>",
        escape(&picture.title)
    );
    for decade in 0..=(-floor) as i32 {
        let at = n(y(10f64.powi(-decade)));
        let label = match decade {
            0 => "1".to_owned(),
            1 | 2 => format!("{} %", 100 / 10i32.pow(decade as u32)),
            _ => format!("1e-{decade}"),
        };
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{at}\" x2=\"{}\" y2=\"{at}\" stroke=\"#e4e4e4\"/>",
            WIDTH - RIGHT
        );
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{at}\" dy=\"4\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0
        );
    }
    for tick in ticks(last, 12.0 * last / (last - first)).into_iter().filter(|&tick| tick >= first) {
        let (at, base) = (n(x(tick)), HEIGHT - BOTTOM);
        let _ = writeln!(
            svg,
            "<line x1=\"{at}\" y1=\"{base}\" x2=\"{at}\" y2=\"{}\" stroke=\"#888\"/>",
            base + 5.0
        );
        let _ =
            writeln!(svg, "<text x=\"{at}\" y=\"{}\" text-anchor=\"middle\">{}</text>", base + 20.0, n(tick));
    }
    let middle = TOP + (HEIGHT - TOP - BOTTOM) / 2.0;
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">sequences in the batch</text>\n<text transform=\"translate(22 {middle}) \
         rotate(-90)\" text-anchor=\"middle\">{}</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 12.0,
        escape(&picture.risk_of)
    );
    // What was asked about: a cross of two thin lines.
    for (x1, y1, x2, y2) in [
        (LEFT, y(picture.risk), WIDTH - RIGHT, y(picture.risk)),
        (x(picture.batch), TOP, x(picture.batch), HEIGHT - BOTTOM),
    ] {
        let _ = writeln!(
            svg,
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"#555\" stroke-dasharray=\"2 4\"/>",
            n(x1),
            n(y1),
            n(x2),
            n(y2)
        );
    }
    let mut legend = LEFT;
    for (curve, colour) in picture.curves.iter().zip(COLOURS.iter().cycle()) {
        if curve.bars {
            for &(batch, risk, low, high) in &curve.points {
                let (at, top, bottom) = (n(x(batch)), n(y(high)), n(y(low)));
                let _ = writeln!(
                    svg,
                    "<line x1=\"{at}\" y1=\"{top}\" x2=\"{at}\" y2=\"{bottom}\" stroke=\"{colour}\" stroke-width=\"2\"/>"
                );
                let _ =
                    writeln!(svg, "<circle cx=\"{at}\" cy=\"{}\" r=\"4\" fill=\"{colour}\"/>", n(y(risk)));
            }
            let _ =
                writeln!(svg, "<circle cx=\"{}\" cy=\"46\" r=\"4\" fill=\"{colour}\"/>", n(legend + 10.0));
        } else {
            let shown: Vec<_> =
                curve.points.iter().filter(|point| point.1 > 0.0 && point.1.log10() >= floor).collect();
            let there = |value: fn(&(f64, f64, f64, f64)) -> f64| {
                shown
                    .iter()
                    .map(move |point| format!("{},{}", n(x(point.0)), n(y(value(point)))))
                    .collect::<Vec<_>>()
            };
            let mut band = there(|point| point.2);
            band.extend(there(|point| point.3).into_iter().rev());
            let _ = writeln!(
                svg,
                "<polygon points=\"{}\" fill=\"{colour}\" fill-opacity=\".15\"/>",
                band.join(" ")
            );
            let line = there(|point| point.1).join(" ");
            let _ = writeln!(
                svg,
                "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\"/>"
            );
            let _ = writeln!(
                svg,
                "<line x1=\"{}\" y1=\"46\" x2=\"{}\" y2=\"46\" stroke=\"{colour}\" stroke-width=\"2.5\"/>",
                n(legend),
                n(legend + 20.0)
            );
        }
        let _ = writeln!(svg, "<text x=\"{}\" y=\"50\">{}</text>", n(legend + 26.0), escape(&curve.name));
        legend += 52.0 + curve.name.len() as f64 * 6.6;
    }
    svg.push_str("</svg>\n");
    svg
}
