//! How wide text is, so that it can be broken, cut and kept apart without a font at hand.
//!
//! Widths are those of Noto Sans, which the pictures ask for first; another font is a little narrower or wider, for which
//! places leave room.

/// Advances of the letters from the space to `~`, in thousandths of the size.
const ADVANCES: [u16; 95] = [
    260, 269, 408, 646, 572, 831, 732, 225, 300, 300, 551, 572, 268, 322, 268, 372, 572, 572, 572, 572, 572,
    572, 572, 572, 572, 572, 268, 268, 572, 572, 572, 434, 899, 639, 650, 632, 730, 556, 519, 728, 741, 339,
    273, 619, 524, 907, 760, 781, 605, 781, 622, 549, 556, 731, 600, 930, 586, 566, 572, 329, 372, 329, 572,
    444, 580, 561, 615, 480, 615, 564, 344, 615, 618, 258, 258, 534, 258, 935, 618, 605, 615, 615, 413, 479,
    361, 618, 508, 786, 529, 510, 470, 380, 551, 380, 572,
];
/// A letter that is not among them: most are narrower, those of Chinese and Japanese are as wide as they are high.
const OTHER: u16 = 600;
const WIDE: u16 = 1000;

fn advance(letter: char) -> u16 {
    let ascii = (letter as usize).checked_sub(usize::from(b' ')).and_then(|i| ADVANCES.get(i));
    match letter {
        '\u{a0}' => ADVANCES[0],
        '·' => 268,
        '…' => 791,
        _ if letter >= '\u{1100}' && !('\u{2000}'..'\u{2e80}').contains(&letter) => WIDE,
        _ => ascii.copied().unwrap_or(OTHER),
    }
}

/// How wide a text is in this size.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(|letter| f64::from(advance(letter))).sum::<f64>() / 1000.0 * size
}

/// As much of a text as is at most so wide, with `…` where something is missing.
pub(crate) fn cut(text: &str, size: f64, most: f64) -> String {
    if width(text, size) <= most {
        return text.to_owned();
    }
    let mut left = most - width("…", size);
    let fits = |letter: &char| {
        left -= f64::from(advance(*letter)) / 1000.0 * size;
        left >= 0.0
    };
    let kept: String = text.chars().take_while(fits).collect();
    format!("{}…", kept.trim_end())
}

/// A text in at most `lines` lines of at most this width, broken between words; what has no room is cut off with `…`.
pub(crate) fn wrap(text: &str, size: f64, most: f64, lines: usize) -> Vec<String> {
    let mut done: Vec<String> = Vec::new();
    let mut line = String::new();
    // A space that does not break is a letter.
    let is_break = |letter: char| letter.is_whitespace() && letter != '\u{a0}';
    let mut words = text.split(is_break).filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if width(&longer, size) <= most {
            line = longer;
        } else if done.len() + 1 < lines && !line.is_empty() {
            done.push(std::mem::replace(&mut line, cut(word, size, most)));
        } else {
            // The last line, or a word that is wider than any: what follows is left out.
            let rest = if words.peek().is_some() { format!("{longer} …") } else { longer };
            line = cut(&rest, size, most);
            if done.len() + 1 >= lines {
                break;
            }
        }
    }
    if !line.is_empty() {
        done.push(line);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_where_it_has_no_room() {
        assert_eq!(cut("published", 10.0, 100.0), "published");
        let short = cut("a model with a very long name", 10.0, 80.0);
        assert!(short.ends_with('…') && width(&short, 10.0) <= 80.0, "{short}");
        assert_eq!(cut("anything", 10.0, 0.0), "…");
    }

    #[test]
    fn lines_are_broken_between_words_and_the_last_says_that_more_follows() {
        let text = "one two three four five six seven eight nine ten";
        let lines = wrap(text, 10.0, 100.0, 9);
        assert_eq!(lines.join(" "), text);
        assert!(lines.iter().all(|line| width(line, 10.0) <= 100.0), "{lines:?}");
        let lines = wrap(text, 10.0, 100.0, 2);
        assert!(lines.len() == 2 && lines[1].ends_with('…'), "{lines:?}");
        assert!(wrap("", 10.0, 100.0, 2).is_empty());
        assert_eq!(wrap("a b\u{a0}c", 10.0, 18.0, 9), ["a", "b\u{a0}c"]);
        let lines = wrap(&"w".repeat(1000), 10.0, 100.0, 3);
        assert!(lines.len() == 1 && lines[0].ends_with('…'), "{lines:?}");
    }
}
