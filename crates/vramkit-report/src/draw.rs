//! What pictures have in common: colours, axes, escaping.

use vramkit_units::ByteSize;

/// Colours that people with any colour vision tell apart (Okabe and Ito, 2008), for up to eight models; more
/// start again.
pub(crate) const COLOURS: [&str; 8] =
    ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999"];

pub(crate) fn colour(model: usize) -> &'static str {
    COLOURS[model % COLOURS.len()]
}

/// The beginning of a standalone SVG on white.
pub(crate) fn open_svg(width: f64, height: f64, label: &str) -> String {
    open_svg_in("system-ui, sans-serif", width, height, label)
}

/// The same in other fonts: the first of these families that there is.
pub(crate) fn open_svg_in(fonts: &str, width: f64, height: f64, label: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"{fonts}\" font-size=\"12\" role=\"img\" \
         aria-label=\"{label}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    )
}

/// Text as it may stand in XML and HTML, in elements and in quoted attributes. Control characters, which XML
/// cannot hold, become a replacement character.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // What XML cannot hold.
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Round numbers from 0 to at least `most`, about `count` of them.
pub(crate) fn ticks(most: f64, count: f64) -> Vec<f64> {
    if most <= 0.0 || !most.is_finite() {
        return vec![0.0];
    }
    let rough = most / count;
    let magnitude = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * magnitude).find(|&step| step >= rough).unwrap_or(rough);
    (0..=(most / step) as u32).map(|i| f64::from(i) * step).collect()
}

/// Ticks of an axis of bytes: round in the unit that the largest is shown in.
pub(crate) fn byte_ticks(most: ByteSize, count: f64) -> Vec<ByteSize> {
    let base: f64 = if most.is_round_in_decimal() { 1000.0 } else { 1024.0 };
    let bytes = most.bytes() as f64;
    let unit = base.powf((bytes.max(1.0).ln() / base.ln()).floor());
    ticks(bytes / unit, count).into_iter().map(|tick| ByteSize::new((tick * unit) as u64)).collect()
}

/// A number with at most two decimals, as coordinates need.
pub(crate) fn n(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_axis() {
        assert_eq!(ticks(35.0, 7.0), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0]);
        assert_eq!(ticks(0.0, 5.0), [0.0]);
        let bytes = byte_ticks(ByteSize::new(350_000_000), 7.0);
        assert_eq!(
            (bytes[1], bytes[bytes.len() - 1]),
            (ByteSize::new(50_000_000), ByteSize::new(350_000_000))
        );
    }

    #[test]
    fn hostile_names_stay_text() {
        assert_eq!(
            escape("<b onclick=\"x('&')\">\u{0}"),
            "&lt;b onclick=&quot;x(&#39;&amp;&#39;)&quot;&gt;\u{fffd}"
        );
    }
}
