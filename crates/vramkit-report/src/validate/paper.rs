//! Lines, shapes and text as SVG. Whatever is written as text is escaped here.

use std::fmt::Write as _;

use super::series::Pen;
use crate::draw::{escape, n, open_svg_in};

/// A4 the long way across, four units a millimetre: a letter of 11 is one of 7.8 points on paper.
pub(crate) const WIDTH: f64 = 1188.0;
pub(crate) const HEIGHT: f64 = 840.0;
/// What is left free at each side.
pub(crate) const MARGIN: f64 = 36.0;
/// Of most text.
pub(crate) const SIZE: f64 = 11.5;
pub(crate) const INK: &str = "#1a1a1a";
pub(crate) const SOFT: &str = "#4a4a4a";
pub(crate) const FRAME: &str = "#666666";
pub(crate) const GRID: &str = "#e6e6e6";

/// What is drawn so far.
pub(crate) struct Paper {
    svg: String,
}

/// Which end of a text is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Face {
    pub(crate) size: f64,
    pub(crate) anchor: Anchor,
    pub(crate) is_bold: bool,
    pub(crate) fill: &'static str,
}

/// Where an arrow points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Towards {
    Up,
    Down,
    Left,
    Right,
}

impl Face {
    pub(crate) const PLAIN: Self = Self { size: SIZE, anchor: Anchor::Start, is_bold: false, fill: INK };
    pub(crate) const SOFT: Self = Self { fill: SOFT, ..Self::PLAIN };
    pub(crate) const BOLD: Self = Self { is_bold: true, ..Self::PLAIN };

    pub(crate) const fn at(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub(crate) const fn sized(self, size: f64) -> Self {
        Self { size, ..self }
    }

    fn attributes(self) -> String {
        let anchor = match self.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if self.is_bold { " font-weight=\"700\"" } else { "" };
        format!("font-size=\"{}\" fill=\"{}\"{anchor}{weight}", n(self.size), self.fill)
    }
}

impl Paper {
    /// A sheet of A4 with what it shows, for those who cannot see it.
    pub(crate) fn new(label: &str) -> Self {
        let fonts = "Noto Sans, Open Sans, Arial, Helvetica, sans-serif";
        Self { svg: open_svg_in(fonts, WIDTH, HEIGHT, &escape(label)) }
    }

    pub(crate) fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }

    pub(crate) fn text(&mut self, (x, y): (f64, f64), face: Face, text: &str) {
        let _ = writeln!(
            self.svg,
            "<text x=\"{}\" y=\"{}\" {}>{}</text>",
            n(x),
            n(y),
            face.attributes(),
            indexed(text, face.size)
        );
    }

    /// Text that is read from below.
    pub(crate) fn upward(&mut self, (x, y): (f64, f64), face: Face, text: &str) {
        let _ = writeln!(
            self.svg,
            "<text transform=\"translate({} {}) rotate(-90)\" {}>{}</text>",
            n(x),
            n(y),
            face.attributes(),
            indexed(text, face.size)
        );
    }

    pub(crate) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), pen: Pen) {
        self.path(&format!("M{},{}L{},{}", n(x1), n(y1), n(x2), n(y2)), pen);
    }

    /// A path without a fill.
    pub(crate) fn path(&mut self, path: &str, pen: Pen) {
        let dash = pen.dash.map(|dash| format!(" stroke-dasharray=\"{dash}\"")).unwrap_or_default();
        let _ = writeln!(
            self.svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"{dash}/>",
            pen.colour,
            n(pen.width)
        );
    }

    /// Round dots of this width, in one path: a tenth of what circles would take.
    pub(crate) fn dots(&mut self, places: &[(f64, f64)], colour: &str, width: f64) {
        let mut path = String::new();
        for (x, y) in places {
            let _ = write!(path, "M{x:.1},{y:.1}h0");
        }
        if !path.is_empty() {
            let _ = writeln!(
                self.svg,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{}\" stroke-linecap=\"round\"/>",
                n(width)
            );
        }
    }

    /// A box between two corners.
    pub(crate) fn fill(&mut self, from: (f64, f64), to: (f64, f64), colour: &str) {
        self.rectangle(from, to, &format!("fill=\"{colour}\""));
    }

    /// A grey box that lets through what is under it.
    pub(crate) fn shade(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.rectangle(from, to, "fill=\"#000000\" fill-opacity=\"0.17\"");
    }

    fn rectangle(&mut self, (left, top): (f64, f64), (right, bottom): (f64, f64), paint: &str) {
        let (width, height) = ((right - left).max(0.0), (bottom - top).max(0.0));
        let (left, top, width, height) = (n(left), n(top), n(width), n(height));
        let _ = writeln!(
            self.svg,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" {paint}/>"
        );
    }

    /// The outline of a box between two corners.
    pub(crate) fn outline(&mut self, (left, top): (f64, f64), (right, bottom): (f64, f64), pen: Pen) {
        let path = format!("M{},{}H{}V{}H{}Z", n(left), n(top), n(right), n(bottom), n(left));
        self.path(&path, pen);
    }

    /// A filled circle around a place.
    pub(crate) fn circle(&mut self, (x, y): (f64, f64), radius: f64, colour: &str) {
        let _ = writeln!(
            self.svg,
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{colour}\"/>",
            n(x),
            n(y),
            n(radius)
        );
    }

    /// A filled shape.
    pub(crate) fn area(&mut self, corners: &[(f64, f64)], colour: &str) {
        let mut points = String::new();
        for (x, y) in corners {
            let _ = write!(points, "{x:.1},{y:.1} ");
        }
        let _ = writeln!(self.svg, "<polygon points=\"{}\" fill=\"{colour}\"/>", points.trim_end());
    }

    /// A filled triangle whose middle is at a place.
    pub(crate) fn arrow(&mut self, (x, y): (f64, f64), towards: Towards, colour: &str) {
        let corners = match towards {
            Towards::Up => [(0.0, -4.0), (4.5, 4.0), (-4.5, 4.0)],
            Towards::Down => [(0.0, 4.0), (4.5, -4.0), (-4.5, -4.0)],
            Towards::Left => [(-4.0, 0.0), (4.0, 4.5), (4.0, -4.5)],
            Towards::Right => [(4.0, 0.0), (-4.0, 4.5), (-4.0, -4.5)],
        };
        self.area(&corners.map(|(dx, dy)| (x + dx, y + dy)), colour);
    }
}

/// Escaped, with the indices of X0 and Xmax set lower: both are names that no model or data set is called by.
fn indexed(text: &str, size: f64) -> String {
    let (down, small) = (n(size * 0.22), n(size * 0.74));
    let mut out = String::new();
    let mut rest = text;
    // Text behind an index has to come up again.
    let mut is_low = false;
    while !rest.is_empty() {
        let next = ["X0", "Xmax"].into_iter().filter_map(|name| Some((rest.find(name)?, name))).min();
        let (before, name) = next.map_or((rest, ""), |(at, name)| (&rest[..at], name));
        rest = &rest[before.len() + name.len()..];
        let letter = if name.is_empty() { "" } else { "X" };
        match (is_low, before.is_empty() && letter.is_empty()) {
            (true, false) => {
                let _ = write!(out, "<tspan dy=\"-{down}\">{}{letter}</tspan>", escape(before));
            }
            _ => {
                let _ = write!(out, "{}{letter}", escape(before));
            }
        }
        if !name.is_empty() {
            let _ = write!(out, "<tspan font-size=\"{small}\" dy=\"{down}\">{}</tspan>", &name[1..]);
            is_low = true;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_set_lower_and_text_stays_text() {
        assert_eq!(indexed("a < b", 10.0), "a &lt; b");
        assert_eq!(indexed("X0", 10.0), "X<tspan font-size=\"7.4\" dy=\"2.2\">0</tspan>");
        assert_eq!(
            indexed("Xmax − X0 &", 10.0),
            "X<tspan font-size=\"7.4\" dy=\"2.2\">max</tspan><tspan dy=\"-2.2\"> − X</tspan>\
             <tspan font-size=\"7.4\" dy=\"2.2\">0</tspan><tspan dy=\"-2.2\"> &amp;</tspan>"
        );
    }
}
