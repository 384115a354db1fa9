//! A flame graph of what stacks of code hold: the outermost frame on top, a frame as wide as what is held through it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use vramkit_units::ByteSize;

use crate::draw::{escape, n, open_svg};

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 12.0;
const TOP: f64 = 64.0;
const ROW: f64 = 18.0;
/// Narrower frames are not drawn.
const NARROWEST: f64 = 0.4;
/// Frames further in are not drawn.
const DEEPEST: usize = 200;
/// The width of a letter, about.
const LETTER: f64 = 6.4;

/// A frame under the frames that lead to it.
#[derive(Default)]
struct Node<'a> {
    bytes: u64,
    inner: BTreeMap<&'a str, usize>,
}

/// Draws stacks with the bytes that they hold, as a standalone SVG. A stack is its frames, outermost first, with `;` between them; an empty
/// one is what nothing is known of. A viewer that shows titles tells each frame whole.
///
/// ```
/// use vramkit_report::flame_svg;
///
/// let stacks = [("train.py:3 main;model.py:9 forward".to_owned(), 3 << 20), ("train.py:3 main".to_owned(), 1 << 20)];
/// let svg = flame_svg("snapshot.pickle, held at the peak", &stacks);
/// assert!(svg.contains("model.py:9 forward: 3 MiB (75.0 %)"));
/// ```
pub fn flame_svg(title: &str, stacks: &[(String, u64)]) -> String {
    let mut nodes = vec![Node::default()];
    let mut cut = false;
    for (stack, bytes) in stacks {
        let mut at = 0;
        nodes[at].bytes += bytes;
        let stack = if stack.is_empty() { "not recorded" } else { stack };
        for (depth, frame) in stack.split(';').enumerate() {
            if depth == DEEPEST {
                cut = true;
                break;
            }
            let next = nodes.len();
            let found = *nodes[at].inner.entry(frame).or_insert(next);
            if found == next {
                nodes.push(Node::default());
            }
            nodes[found].bytes += bytes;
            at = found;
        }
    }
    let total = nodes[0].bytes;
    let (mut frames, mut deepest) = (String::new(), 0);
    // Frame, node, row, left end.
    let mut open: Vec<(&str, usize, usize, f64)> = vec![("everything", 0, 0, LEFT)];
    while let Some((name, node, row, left)) = open.pop() {
        let share = nodes[node].bytes as f64 / total.max(1) as f64;
        let width = share * (WIDTH - 2.0 * LEFT);
        if width < NARROWEST {
            continue;
        }
        deepest = deepest.max(row);
        draw_frame(&mut frames, name, nodes[node].bytes, share, (left, TOP + row as f64 * ROW, width));
        let mut left = left;
        let mut inner: Vec<(&str, usize)> =
            nodes[node].inner.iter().map(|(name, node)| (*name, *node)).collect();
        inner.sort_by_key(|&(_, node)| std::cmp::Reverse(nodes[node].bytes));
        for (name, node) in inner {
            open.push((name, node, row + 1, left));
            left += nodes[node].bytes as f64 / total.max(1) as f64 * (WIDTH - 2.0 * LEFT);
        }
    }
    let height = TOP + (deepest + 1) as f64 * ROW + 12.0;
    let mut svg = open_svg(WIDTH, height, "a flame graph of memory");
    let cut = if cut { format!("; frames beyond {DEEPEST} are left out") } else { String::new() };
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"26\" font-size=\"18\" font-weight=\"600\">{}</text>\n\
         <text x=\"{LEFT}\" y=\"48\" fill=\"#555555\">{} in {} stacks; outermost frame on top, as wide as what is held through it{cut}</text>",
        escape(title),
        ByteSize::new(total),
        stacks.len(),
    );
    svg + &frames + "</svg>\n"
}

fn draw_frame(svg: &mut String, name: &str, bytes: u64, share: f64, (left, top, width): (f64, f64, f64)) {
    let whole = format!("{name}: {} ({:.1} %)", ByteSize::new(bytes), 100.0 * share);
    let _ = write!(
        svg,
        "<g><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\" stroke=\"#ffffff\" stroke-width=\"0.5\"/>",
        escape(&whole),
        n(left),
        n(top),
        n(width),
        n(ROW - 1.0),
        fill(name),
    );
    let letters = ((width - 8.0) / LETTER) as usize;
    if width > 8.0 && letters >= 4 {
        // Where the whole does not fit, the folders go first.
        let file = name.split(' ').next().unwrap_or(name);
        let short = file.rfind('/').map_or(name, |folders| &name[folders + 1..]);
        let shown = if whole.chars().count() <= letters { &whole } else { short };
        let mut text: String = shown.chars().take(letters).collect();
        if shown.chars().count() > letters {
            text.pop();
            text.push('…');
        }
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" font-size=\"11\">{}</text>",
            n(left + 4.0),
            n(top + 12.5),
            escape(&text)
        );
    }
    svg.push_str("</g>\n");
}

/// A light colour, the same for all frames of a file.
fn fill(name: &str) -> &'static str {
    const LIGHT: [&str; 6] = ["#f6d9a8", "#bfe3d5", "#c9def0", "#efd0e1", "#f4cdb4", "#e6e3b1"];
    let file = name.split(':').next().unwrap_or(name);
    // FNV-1a: the same in every run.
    let hash = file
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    LIGHT[(hash >> 32) as usize % LIGHT.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_wide_as_what_they_hold() {
        let stacks = [("a.py:1 f;b.py:2 <g>".to_owned(), 3), ("a.py:1 f".to_owned(), 1), (String::new(), 4)];
        let svg = flame_svg("t & u", &stacks);
        assert!(
            svg.contains("a.py:1 f: 4 B (50.0 %)") && svg.contains("b.py:2 &lt;g&gt;: 3 B (37.5 %)"),
            "{svg}"
        );
        assert!(
            svg.contains("not recorded: 4 B") && svg.contains("t &amp; u") && svg.contains("8 B in 3 stacks")
        );
        assert_eq!(svg.matches("<rect").count(), 5, "four frames and the ground");
    }

    #[test]
    fn nothing_and_very_deep_stacks_are_drawn() {
        assert!(flame_svg("t", &[]).ends_with("</svg>\n"));
        let deep = flame_svg("t", &[(vec!["f"; 5000].join(";"), 1)]);
        assert!(deep.contains("beyond 200") && deep.matches("<rect").count() == DEEPEST + 2);
    }
}
