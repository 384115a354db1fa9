//! The picture of a replayed trace: operations across, addresses up, a box an allocation in its owner's colour; at the
//! right the memory as it is at one moment, with who holds it and the largest free block.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::draw::{byte_ticks, colour, escape, n, open_svg, ticks};
use vramkit_units::ByteSize;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 640.0;
const LEFT: f64 = 96.0;
/// Where the picture over time ends, and the bar of the peak begins and ends.
const RIGHT: f64 = 846.0;
const BAR: (f64, f64) = (866.0, 926.0);
const TOP: f64 = 76.0;
const BOTTOM: f64 = 60.0;
/// More boxes than this are more than a picture shows: the largest ones are drawn.
const MOST_BOXES: usize = 20_000;
/// Owners with a colour of their own.
const OWNERS: usize = 7;

/// An allocation in the picture. Times are operations, counted from 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TraceBox {
    /// The operations between which it is live.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// From the start of the arena.
    pub offset_bytes: u64,
    /// Its size.
    pub size_bytes: u64,
    /// Who holds it; empty when that is not known.
    pub owner: String,
}

/// What is drawn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TracePicture {
    /// The file and the policy.
    pub title: String,
    /// How many operations.
    pub operations: usize,
    /// The operation after which what is held is shown at the right.
    pub at: usize,
    /// The same in words: `at the peak`.
    pub moment: String,
    /// Most bytes live.
    pub peak_live_bytes: u64,
    /// The allocations.
    pub boxes: Vec<TraceBox>,
}

impl TraceBox {
    /// Where it ends.
    fn top(&self) -> u64 {
        self.offset_bytes + self.size_bytes
    }
}

/// Draws a replayed trace, as a standalone SVG.
///
/// ```
/// use vramkit_report::{TraceBox, TracePicture, trace_svg};
///
/// let one = TraceBox { start: 0, end: 2, offset_bytes: 0, size_bytes: 1 << 20, owner: "llama".to_owned() };
/// let picture = TracePicture {
///     title: "one.trace, best-fit".to_owned(), operations: 2, at: 0, moment: "at the peak".to_owned(), peak_live_bytes: 1 << 20, boxes: vec![one],
/// };
/// assert!(trace_svg(&picture).contains("arena 1 MiB"));
/// ```
pub fn trace_svg(picture: &TracePicture) -> String {
    let arena = ByteSize::new(picture.boxes.iter().map(TraceBox::top).max().unwrap_or_default());
    let peak_live = ByteSize::new(picture.peak_live_bytes);
    let x = |step: usize| LEFT + step as f64 / picture.operations.max(1) as f64 * (RIGHT - LEFT);
    let most = arena.bytes().max(1) as f64;
    let y = |bytes: u64| HEIGHT - BOTTOM - bytes as f64 / most * (HEIGHT - TOP - BOTTOM);
    let mut peak: Vec<&TraceBox> =
        picture.boxes.iter().filter(|b| b.start <= picture.at && picture.at < b.end).collect();
    peak.sort_by_key(|b| b.offset_bytes);
    let owners = top_owners(&peak);
    let colours: HashMap<&str, &str> =
        owners.iter().take(OWNERS).enumerate().map(|(i, (owner, ..))| (*owner, colour(i))).collect();
    let fill = |owner: &str| colours.get(owner).copied().unwrap_or("#999999");

    let mut svg = open_svg(WIDTH, HEIGHT, "addresses over time");
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"30\" font-size=\"18\" font-weight=\"600\">{}</text>\n\
         <text x=\"{LEFT}\" y=\"52\" fill=\"#555555\">arena {arena}, most live {} (arena / live {:.3})</text>",
        escape(&picture.title),
        peak_live,
        arena.ratio_of(peak_live),
    );
    for tick in byte_ticks(arena, 7.0).into_iter().filter(|tick| *tick <= arena) {
        let at = n(y(tick.bytes()));
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\" stroke=\"#dddddd\"/>\n\
             <text x=\"{}\" y=\"{at}\" text-anchor=\"end\" dominant-baseline=\"middle\" fill=\"#555555\">{tick}</text>",
            BAR.1,
            LEFT - 8.0,
        );
    }
    for step in ticks(picture.operations as f64, 8.0).into_iter().filter(|s| *s <= picture.operations as f64)
    {
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555555\">{step}</text>",
            n(x(step as usize)),
            HEIGHT - BOTTOM + 18.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555555\">operation</text>",
        n((LEFT + RIGHT) / 2.0),
        HEIGHT - 14.0
    );
    for b in largest(&picture.boxes) {
        rectangle(&mut svg, (x(b.start), x(b.end)), (y(b.offset_bytes), y(b.top())), fill(&b.owner));
    }
    let at = n(x(picture.at));
    let _ = writeln!(
        svg,
        "<line x1=\"{at}\" x2=\"{at}\" y1=\"{TOP}\" y2=\"{}\" stroke=\"#000000\" stroke-dasharray=\"4 3\"/>",
        HEIGHT - BOTTOM
    );
    for b in &peak {
        rectangle(&mut svg, BAR, (y(b.offset_bytes), y(b.top())), fill(&b.owner));
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">memory</text>",
        n(f64::midpoint(BAR.0, BAR.1)),
        TOP - 8.0
    );
    let free = largest_free(&mut svg, &peak, arena, y);
    legend(&mut svg, &picture.moment, &owners, &free, fill);
    svg.push_str("</svg>\n");
    svg
}

fn rectangle(svg: &mut String, (left, right): (f64, f64), (bottom, top): (f64, f64), fill: &str) {
    let _ = writeln!(
        svg,
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{fill}\" fill-opacity=\"0.8\" stroke=\"#ffffff\" \
         stroke-width=\"0.2\"/>",
        n(left),
        n(top),
        n((right - left).max(0.3)),
        n((bottom - top).max(0.2)),
    );
}

/// The boxes that are worth drawing, in order.
fn largest(boxes: &[TraceBox]) -> Vec<&TraceBox> {
    let mut drawn: Vec<&TraceBox> = boxes.iter().collect();
    if drawn.len() > MOST_BOXES {
        let area = |b: &&TraceBox| std::cmp::Reverse(b.size_bytes as u128 * (b.end - b.start) as u128);
        drawn.sort_by_key(area);
        drawn.truncate(MOST_BOXES);
    }
    drawn.sort_by_key(|b| (b.start, b.offset_bytes));
    drawn
}

/// Who holds what at the peak, most first: name, bytes, allocations.
fn top_owners<'a>(peak: &[&'a TraceBox]) -> Vec<(&'a str, ByteSize, usize)> {
    let mut held: HashMap<&str, (ByteSize, usize)> = HashMap::new();
    for b in peak {
        let entry = held.entry(&b.owner).or_default();
        *entry = (entry.0 + ByteSize::new(b.size_bytes), entry.1 + 1);
    }
    let mut held: Vec<_> = held.into_iter().map(|(owner, (bytes, count))| (owner, bytes, count)).collect();
    held.sort_by_key(|&(owner, bytes, _)| (std::cmp::Reverse(bytes), owner));
    held
}

/// Marks the largest gap between what is live; says how large it is.
fn largest_free(svg: &mut String, peak: &[&TraceBox], arena: ByteSize, y: impl Fn(u64) -> f64) -> String {
    let (mut end, mut gap) = (0, (0, 0));
    let ends = peak.iter().map(|b| (b.offset_bytes, b.top()));
    for (from, to) in ends.chain([(arena.bytes(), arena.bytes())]) {
        if from.saturating_sub(end) > gap.1 - gap.0 {
            gap = (end, from);
        }
        end = end.max(to);
    }
    let size = ByteSize::new(gap.1 - gap.0);
    if size.is_zero() {
        return "no free block".to_owned();
    }
    let _ = writeln!(
        svg,
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"#ffffff\" stroke=\"#000000\" stroke-dasharray=\"3 2\"/>",
        BAR.0,
        n(y(gap.1)),
        BAR.1 - BAR.0,
        n((y(gap.0) - y(gap.1)).max(1.0)),
    );
    format!("largest free block {size}")
}

fn legend(
    svg: &mut String,
    moment: &str,
    owners: &[(&str, ByteSize, usize)],
    free: &str,
    fill: impl Fn(&str) -> &'static str,
) {
    let mut y = TOP + 4.0;
    let left = BAR.1 + 22.0;
    let _ = writeln!(svg, "<text x=\"{left}\" y=\"{}\">held {}</text>", n(TOP - 8.0), escape(moment));
    for &(owner, bytes, count) in owners.iter().take(OWNERS) {
        // Of a stack the innermost frame, without its folders.
        let inner = owner.rsplit(';').next().unwrap_or(owner);
        let inner = if inner.len() < owner.len() { inner.rsplit('/').next().unwrap_or(inner) } else { inner };
        let name: String =
            if owner.is_empty() { "nobody named".to_owned() } else { inner.chars().take(36).collect() };
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{}\" width=\"11\" height=\"11\" fill=\"{}\"/>\n\
             <text x=\"{}\" y=\"{}\">{}</text>\n<text x=\"{}\" y=\"{}\" fill=\"#555555\">{bytes} in {count}</text>",
            n(y),
            fill(owner),
            left + 17.0,
            n(y + 10.0),
            escape(&name),
            left + 17.0,
            n(y + 25.0),
        );
        y += 38.0;
    }
    if owners.len() > OWNERS {
        let rest: ByteSize = owners[OWNERS..].iter().map(|owner| owner.1).sum();
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{}\" width=\"11\" height=\"11\" fill=\"#999999\"/>\n\
             <text x=\"{}\" y=\"{}\">{} others, {rest}</text>",
            n(y),
            left + 17.0,
            n(y + 10.0),
            owners.len() - OWNERS
        );
        y += 38.0;
    }
    let _ = writeln!(
        svg,
        "<rect x=\"{left}\" y=\"{}\" width=\"11\" height=\"11\" fill=\"#ffffff\" stroke=\"#000000\" \
         stroke-dasharray=\"3 2\"/>\n<text x=\"{}\" y=\"{}\" font-weight=\"600\">{free}</text>",
        n(y),
        left + 17.0,
        n(y + 10.0)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_and_the_largest_gap_are_named() {
        let mib = |n: u64| n << 20;
        let a_box = |start, end, offset, size, owner: &str| TraceBox {
            start,
            end,
            offset_bytes: mib(offset),
            size_bytes: mib(size),
            owner: owner.to_owned(),
        };
        let picture = TracePicture {
            title: "t <1>".to_owned(),
            operations: 10,
            at: 5,
            moment: "at the peak".to_owned(),
            peak_live_bytes: mib(5),
            boxes: vec![
                a_box(0, 9, 0, 2, "llama"),
                a_box(1, 3, 2, 4, "gone"),
                a_box(2, 9, 6, 3, "bert & co"),
            ],
        };
        let svg = trace_svg(&picture);
        assert!(svg.contains("largest free block 4 MiB") && svg.contains("3 MiB in 1"), "{svg}");
        assert!(svg.contains("bert &amp; co") && svg.contains("t &lt;1&gt;"));
        assert!(!svg.contains(">gone<"), "it holds nothing at the peak");
        let none = TracePicture { boxes: Vec::new(), ..picture };
        assert!(trace_svg(&none).contains("no free block"));
    }
}
