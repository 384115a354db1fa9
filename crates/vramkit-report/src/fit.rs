//! The picture of a fit: a bar of where the device's bytes go, one of the host's, and the memory that there is.

use std::fmt::Write as _;

use vramkit_units::ByteSize;

use crate::document::{FitDocument, FitPlace};
use crate::draw::{COLOURS, byte_ticks, escape, n, open_svg};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 92.0;
const BAR: f64 = 46.0;
const GAP: f64 = 18.0;
/// About the width of a letter of the labels.
const LETTER: f64 = 6.6;
/// The parts, in the order of a bar.
const PARTS: [&str; 5] = ["weights", "KV cache", "state", "workspace", "overhead"];
/// What can be read on each part's colour.
const INKS: [&str; 5] = ["#ffffff", "#1a1a1a", "#ffffff", "#1a1a1a", "#1a1a1a"];

/// Draws where the bytes go, as a standalone SVG.
pub fn fit_svg(document: &FitDocument) -> String {
    let (device, host) = (parts(&document.device, document.overhead_bytes), parts(&document.host, None));
    let sum = |parts: &[ByteSize; 5]| parts.iter().copied().fold(ByteSize::ZERO, ByteSize::saturating_add);
    let room = document.available_bytes.unwrap_or_default();
    let most = sum(&device).max(sum(&host)).max(room).max(ByteSize::new(1));
    let scale = (WIDTH - LEFT - RIGHT) / most.bytes() as f64 / 1.02;
    let x = |bytes: u64| LEFT + bytes as f64 * scale;
    let mut svg = open_svg(WIDTH, HEIGHT, "where the bytes go");
    heading(&mut svg, document, sum(&device));
    let base = TOP + 2.0 * BAR + GAP + 10.0;
    for tick in byte_ticks(most, 8.0).into_iter().filter(|tick| *tick <= most) {
        let at = n(x(tick.bytes()));
        let _ =
            writeln!(svg, "<line x1=\"{at}\" y1=\"{TOP}\" x2=\"{at}\" y2=\"{base}\" stroke=\"#e4e4e4\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{at}\" y=\"{}\" text-anchor=\"middle\" fill=\"#444444\">{tick}</text>",
            base + 16.0
        );
    }
    for (name, top, parts) in [("device", TOP, &device), ("host", TOP + BAR + GAP, &host)] {
        let middle = top + BAR / 2.0 + 4.0;
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{name}</text>", LEFT - 10.0);
        let mut start = 0_u64;
        for ((size, colour), ink) in parts.iter().zip(COLOURS).zip(INKS) {
            let end = start.saturating_add(size.bytes());
            let (from, width) = (x(start), (end - start) as f64 * scale);
            if width > 0.0 {
                let _ = writeln!(
                    svg,
                    "<rect x=\"{}\" y=\"{top}\" width=\"{}\" height=\"{BAR}\" fill=\"{colour}\"/>",
                    n(from),
                    n(width)
                );
            }
            let label = size.to_string();
            if width > LETTER * label.len() as f64 + 8.0 {
                let _ = writeln!(
                    svg,
                    "<text x=\"{}\" y=\"{middle}\" text-anchor=\"middle\" fill=\"{ink}\">{label}</text>",
                    n(from + width / 2.0)
                );
            }
            start = end;
        }
    }
    if let Some(room) = document.available_bytes {
        let at = n(x(room.bytes()));
        let (top, bottom) = (TOP - 12.0, TOP + BAR + 6.0);
        let anchor = if x(room.bytes()) < WIDTH / 2.0 { "start" } else { "end" };
        let _ = writeln!(
            svg,
            "<line x1=\"{at}\" y1=\"{top}\" x2=\"{at}\" y2=\"{bottom}\" stroke=\"#d00000\" stroke-width=\"2\" stroke-dasharray=\"6 4\"/>"
        );
        let _ = writeln!(
            svg,
            "<text x=\"{at}\" y=\"{}\" text-anchor=\"{anchor}\" fill=\"#d00000\">{room} available</text>",
            top - 4.0
        );
    }
    legend(&mut svg, &device, &host);
    svg.push_str("</svg>\n");
    svg
}

/// The sizes of the parts; those that nobody knows are not drawn.
fn parts(place: &FitPlace, overhead: Option<ByteSize>) -> [ByteSize; 5] {
    let known = Option::unwrap_or_default;
    [
        known(place.weights_bytes).saturating_add(place.repacked_weights_bytes),
        place.kv_bytes,
        place.state_bytes,
        known(place.workspace_bytes),
        known(overhead),
    ]
}

fn heading(svg: &mut String, document: &FitDocument, known: ByteSize) {
    let names: Vec<&str> = document.models.iter().map(|model| model.name.as_str()).collect();
    let verdict = match document.fits {
        Some(true) => ": fits",
        Some(false) => ": does not fit",
        None => "",
    };
    let title = format!("{}{verdict}", names.join(" + "));
    let is_whole = document.device.total_bytes.is_some();
    let mut subtitle = match is_whole {
        true => format!("{known} on the device"),
        false => format!("at least {known} on the device; a part is not known"),
    };
    if let Some(decides) = &document.decides {
        let _ = write!(subtitle, "; {decides}");
    }
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"30\" font-size=\"20\" font-weight=\"600\">{}</text>",
        escape(&title)
    );
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"52\" fill=\"#444444\">{}</text>", escape(&subtitle));
}

/// Each part that there is, with its sizes.
fn legend(svg: &mut String, device: &[ByteSize; 5], host: &[ByteSize; 5]) {
    let (mut at, y) = (LEFT, HEIGHT - 24.0);
    for (i, name) in PARTS.iter().enumerate() {
        let sizes = match (device[i].is_zero(), host[i].is_zero()) {
            (true, true) => continue,
            (false, true) => device[i].to_string(),
            (true, false) => format!("{} on the host", host[i]),
            (false, false) => format!("{} + {}", device[i], host[i]),
        };
        let label = format!("{name} {sizes}");
        let _ = writeln!(
            svg,
            "<rect x=\"{}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{}\"/>",
            n(at),
            y - 10.0,
            COLOURS[i]
        );
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{y}\">{label}</text>", n(at + 17.0));
        at += 36.0 + label.len() as f64 * LETTER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(weights: u64, available: Option<u64>) -> FitDocument {
        let place = serde_json::json!({
            "weights_bytes": 1 << 20, "kv_bytes": 0, "state_bytes": 0, "workspace_bytes": null, "total_bytes": null,
        });
        let json = serde_json::json!({
            "schema": "vramkit.fit/1", "fits": null, "models": [{"name": "<toy> & co"}], "decides": null,
            "weights_bytes": weights, "kv_bytes": u64::MAX / 4, "state_bytes": 0, "workspace_bytes": null,
            "overhead_bytes": null, "total_bytes": null, "available_bytes": available, "host": place,
        });
        FitDocument::from_json(&json).expect("a document")
    }

    #[test]
    fn any_numbers_and_names_make_a_picture() {
        for weights in [0, 1, 1 << 40, u64::MAX] {
            for available in [None, Some(0), Some(1), Some(u64::MAX)] {
                let svg = fit_svg(&document(weights, available));
                assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                assert!(svg.contains("&lt;toy&gt; &amp; co"), "{svg}");
                assert!(svg.contains("a part is not known"), "what is drawn is not all");
            }
        }
    }

    #[test]
    fn widths_are_in_proportion() {
        let svg = fit_svg(&document(u64::MAX / 4, Some(u64::MAX / 2)));
        let bar = |colour: &str| {
            let rect =
                svg.lines().find(|line| line.contains("<rect") && line.contains(colour)).expect("a bar");
            let after = rect.split("width=\"").nth(1).expect("a width");
            after.split('"').next().and_then(|width| width.parse::<f64>().ok()).expect("a number")
        };
        assert!((bar(COLOURS[0]) - bar(COLOURS[1])).abs() < 0.02, "{svg}");
    }
}
