//! The picture of a plan: time across, addresses up, a box a tensor in its model's colour, the live bytes as a
//! line, and the lower bound drawn across.

use std::fmt::Write as _;

use crate::document::{PlanDocument, TensorBox};
use crate::draw::{byte_ticks, colour, escape, n, open_svg, ticks};
use vramkit_units::ByteSize;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 640.0;
const LEFT: f64 = 96.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 92.0;
/// About the width of a letter of the labels.
const LETTER: f64 = 6.4;

/// Draws a plan that was reported with its tensors, as a standalone SVG.
pub fn plan_svg(plan: &PlanDocument) -> String {
    let tensors = &plan.tensors;
    let picture = Picture::new(plan, tensors);
    let mut svg = open_svg(WIDTH, HEIGHT, "memory plan");
    picture.heading(&mut svg);
    picture.axes(&mut svg);
    for tensor in tensors {
        picture.tensor(&mut svg, tensor);
    }
    picture.load(&mut svg, tensors);
    picture.bound(&mut svg);
    picture.legend(&mut svg);
    svg.push_str("</svg>\n");
    svg
}

struct Picture<'a> {
    plan: &'a PlanDocument,
    first: u64,
    steps: f64,
    bytes: f64,
}

impl<'a> Picture<'a> {
    fn new(plan: &'a PlanDocument, tensors: &[TensorBox]) -> Self {
        let first = tensors.iter().map(|tensor| tensor.start).min().unwrap_or(0);
        let last = tensors.iter().map(|tensor| tensor.end).max().unwrap_or(1);
        let most = plan.arena_bytes.max(plan.lower_bound_bytes);
        Self { plan, first, steps: (last - first).max(1) as f64, bytes: most.bytes().max(1) as f64 * 1.06 }
    }

    fn x(&self, step: u64) -> f64 {
        LEFT + (step - self.first) as f64 / self.steps * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, bytes: u64) -> f64 {
        HEIGHT - BOTTOM - bytes as f64 / self.bytes * (HEIGHT - TOP - BOTTOM)
    }

    /// Under the concurrent schedule each model has its own.
    fn has_one_clock(&self) -> bool {
        self.plan.schedule != "concurrent"
    }

    fn model(&self, name: &str) -> usize {
        self.plan.models.iter().position(|model| model.name == name).unwrap_or(0)
    }

    fn heading(&self, svg: &mut String) {
        let plan = self.plan;
        let verdict = if plan.proven_optimal {
            "proven optimal".to_owned()
        } else {
            format!("{:.2} % over the bound", plan.gap_ratio * 100.0)
        };
        let title = format!("{} arena, {verdict}", plan.arena_bytes);
        let subtitle = format!(
            "{} bytes, {} schedule; {}, the live peaks; {} tensors at once are {}",
            plan.arena_bytes.grouped(),
            plan.schedule,
            plan.arena_bytes.against(plan.sum_of_peaks_bytes),
            plan.models.iter().map(|model| model.tensors).sum::<usize>(),
            plan.sum_of_sizes_bytes,
        );
        let _ =
            writeln!(svg, "<text x=\"{LEFT}\" y=\"30\" font-size=\"20\" font-weight=\"600\">{title}</text>");
        let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"52\" fill=\"#444444\">{subtitle}</text>");
    }

    fn axes(&self, svg: &mut String) {
        let (left, right, bottom) = (LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in byte_ticks(self.plan.arena_bytes, 7.0) {
            let y = n(self.y(tick.bytes()));
            let _ = writeln!(
                svg,
                "<line x1=\"{left}\" y1=\"{y}\" x2=\"{right}\" y2=\"{y}\" stroke=\"#e4e4e4\"/>"
            );
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{y}\" dy=\"4\" text-anchor=\"end\">{tick}</text>",
                left - 8.0
            );
        }
        for tick in ticks(self.steps, 10.0) {
            let step = self.first + tick as u64;
            let x = n(self.x(step));
            let _ = writeln!(
                svg,
                "<line x1=\"{x}\" y1=\"{bottom}\" x2=\"{x}\" y2=\"{}\" stroke=\"#888888\"/>",
                bottom + 5.0
            );
            let _ =
                writeln!(svg, "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{step}</text>", bottom + 19.0);
        }
        let _ = writeln!(
            svg,
            "<line x1=\"{left}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\" stroke=\"#888888\"/>"
        );
        let clock = if self.has_one_clock() { "step" } else { "step of each model's own clock" };
        let _ = writeln!(
            svg,
            "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\" fill=\"#444444\">{clock}</text>",
            bottom + 36.0
        );
        let middle = (TOP + bottom) / 2.0;
        let _ = writeln!(
            svg,
            "<text transform=\"rotate(-90 18 {middle})\" x=\"18\" y=\"{middle}\" text-anchor=\"middle\" \
             fill=\"#444444\">offset in the arena</text>"
        );
    }

    fn tensor(&self, svg: &mut String, tensor: &TensorBox) {
        // What takes no room may be pinned anywhere, beyond the arena and all numbers too.
        if tensor.size_bytes.is_zero() || tensor.end <= tensor.start {
            return;
        }
        let (x, y) = (self.x(tensor.start), self.y(tensor.offset_bytes.bytes() + tensor.size_bytes.bytes()));
        let width = self.x(tensor.end) - x;
        let height = self.y(tensor.offset_bytes.bytes()) - y;
        if width <= 0.0 || height <= 0.0 {
            return;
        }
        let fill = colour(self.model(&tensor.model));
        // Outlines would fill a thin box.
        let outline = if width > 4.0 && height > 4.0 { " stroke=\"#ffffff\"" } else { "" };
        let _ = write!(
            svg,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{fill}\" fill-opacity=\"0.8\"{outline}>",
            n(x),
            n(y),
            n(width.max(0.3)),
            n(height.max(0.3))
        );
        let _ = writeln!(
            svg,
            "<title>{} of {}: {}, steps {} to {}, at {}</title></rect>",
            escape(&tensor.id),
            escape(&tensor.model),
            tensor.size_bytes,
            tensor.start,
            tensor.end,
            tensor.offset_bytes.grouped()
        );
        let full = format!("{} ({})", tensor.id, tensor.size_bytes);
        let fitting = [full, tensor.id.clone()]
            .into_iter()
            .find(|label| label.chars().count() as f64 * LETTER < width - 8.0);
        if let Some(label) = fitting.filter(|_| height > 15.0) {
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" dy=\"4\" text-anchor=\"middle\" pointer-events=\"none\" stroke=\"#ffffff\" \
                 stroke-width=\"3\" paint-order=\"stroke\">{}</text>",
                n(x + width / 2.0),
                n(y + height / 2.0),
                escape(&label)
            );
        }
    }

    /// Live bytes at each step; models on clocks of their own have no common load.
    fn load(&self, svg: &mut String, tensors: &[TensorBox]) {
        if !self.has_one_clock() || tensors.is_empty() {
            return;
        }
        let mut changes: Vec<(u64, i128)> = Vec::with_capacity(tensors.len() * 2);
        for tensor in tensors {
            changes.push((tensor.start, i128::from(tensor.size_bytes.bytes())));
            changes.push((tensor.end, -i128::from(tensor.size_bytes.bytes())));
        }
        changes.sort_unstable();
        let mut path = format!("M{},{}", n(self.x(self.first)), n(self.y(0)));
        let mut live = 0i128;
        for step in changes.chunk_by(|a, b| a.0 == b.0) {
            live += step.iter().map(|(_, change)| change).sum::<i128>();
            let _ = write!(path, "H{}V{}", n(self.x(step[0].0)), n(self.y(live.max(0) as u64)));
        }
        let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"#111111\" stroke-width=\"1.5\"/>");
    }

    fn bound(&self, svg: &mut String) {
        let mut line = |bytes: ByteSize, colour: &str, dash: &str, label: &str, anchor: &str, x: f64| {
            let y = self.y(bytes.bytes());
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{colour}\" stroke-width=\"1.5\"{dash}/>",
                n(y),
                WIDTH - RIGHT,
                n(y)
            );
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{label} {bytes}</text>",
                n(y - 6.0)
            );
        };
        line(self.plan.arena_bytes, "#111111", "", "arena", "start", LEFT + 6.0);
        line(
            self.plan.lower_bound_bytes,
            "#c00000",
            " stroke-dasharray=\"6 4\"",
            "lower bound",
            "end",
            WIDTH - RIGHT - 6.0,
        );
    }

    fn legend(&self, svg: &mut String) {
        let y = HEIGHT - 24.0;
        let mut x = LEFT;
        for (i, model) in self.plan.models.iter().enumerate() {
            let label = format!("{} (peak {})", model.name, model.live_peak_bytes);
            let width = 24.0 + label.chars().count() as f64 * (LETTER + 0.4);
            if x + width > WIDTH - 200.0 {
                let _ = writeln!(
                    svg,
                    "<text x=\"{}\" y=\"{y}\">and {} more</text>",
                    n(x),
                    self.plan.models.len() - i
                );
                x += 90.0;
                break;
            }
            let _ = writeln!(
                svg,
                "<rect x=\"{}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{}\"/>",
                n(x),
                y - 10.0,
                colour(i)
            );
            let _ = writeln!(svg, "<text x=\"{}\" y=\"{y}\">{}</text>", n(x + 17.0), escape(&label));
            x += width;
        }
        if self.has_one_clock() {
            let _ = writeln!(
                svg,
                "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"#111111\" stroke-width=\"1.5\"/>\
                 <text x=\"{}\" y=\"{y}\">live bytes</text>",
                n(x),
                y - 4.0,
                n(x + 16.0),
                y - 4.0,
                n(x + 22.0)
            );
        }
    }
}
