//! Cutting text into words: the pieces within which bytes are merged.
//!
//! In: a text and a rule, a list of steps; each step cuts every piece that the one before left. Out: pieces that make up the
//! text, in order. The steps do what the regular expressions do that tokenizers are published with, in time proportional to the
//! text whatever it holds, which an engine that goes back and tries again does not promise. Nothing is ever dropped.

use super::categories::{LETTER, MARK, NUMBER, PUNCTUATION, SPACE, SYMBOL, is, kind};

/// A way to cut a piece.
pub(super) enum Step {
    /// Alternatives as GPT-2 and those after it use them.
    Words(Words),
    /// Runs of a class of characters.
    Runs(Runs),
    /// `\s+$`
    Trailing,
}

/// `LEAD?CLASS{MIN,MAX}`
pub(super) struct Runs {
    pub lead: Lead,
    pub class: fn(char) -> bool,
    pub min: usize,
    pub max: usize,
}

/// What may stand before a run.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Lead {
    Nothing,
    /// ` `
    Blank,
    /// `\s`
    Space,
}

/// Alternatives, of which the first that matches is taken: [`First`], [`Letters`], [`Numbers`], [`Others`], white space up to its
/// last end of a line (`\s*[\r\n]+`) where `lines` asks for it, white space but its last character (`\s+(?!\S)`), white space.
pub(super) struct Words {
    pub first: First,
    pub letters: Letters,
    pub numbers: Numbers,
    pub others: Others,
    pub lines: bool,
}

/// What is tried before all else.
pub(super) enum First {
    Nothing,
    /// `'s|'t|'re|'ve|'m|'ll|'d`
    Contractions,
    /// The same in any case.
    AnyCaseContractions,
    /// ASCII punctuation with ASCII letters behind it.
    PunctuatedWord,
}

pub(super) enum Letters {
    /// ` ?\p{L}+`
    AfterBlank,
    /// Any character but an end of a line and those of the kinds `no_lead`, where there is one, and a run of `kinds`.
    AfterAny { no_lead: u8, kinds: u8 },
    /// `[^\r\n\p{L}\p{N}]?` and letters of which small ones do not stand before capitals, every letter but ASCII's being both;
    /// contractions behind them where `contractions` says so.
    Cased { contractions: bool },
}

pub(super) enum Numbers {
    None,
    /// ` ?\p{N}+`
    AfterBlank,
    /// `\p{N}{1,…}`
    UpTo(usize),
}

/// ` ?CLASS+` and what may stand behind it: the characters of `behind`.
pub(super) struct Others {
    /// The characters that are of one of `kinds`; those of none, if `kinds_not`.
    pub kinds: u8,
    pub kinds_not: bool,
    pub behind: &'static str,
}

/// Gives the pieces of a text, in order.
pub(super) fn cut<'t>(steps: &[Step], text: &'t str, piece: &mut dyn FnMut(&'t str)) {
    match steps.split_first() {
        None if text.is_empty() => {}
        None => piece(text),
        Some((step, rest)) => step.pieces(text, &mut |part| cut(rest, part, piece)),
    }
}

impl Step {
    /// What matches, and what lies between.
    fn pieces<'t>(&self, text: &'t str, piece: &mut dyn FnMut(&'t str)) {
        if let Self::Trailing = self {
            let (head, tail) = text.split_at(text.trim_end().len());
            [head, tail].into_iter().filter(|part| !part.is_empty()).for_each(piece);
            return;
        }
        let (mut from, mut at) = (0, 0);
        while let Some(character) = after(text, at) {
            let end = match self {
                Self::Words(words) => words.end(text, at),
                Self::Runs(runs) => runs.end(text, at),
                Self::Trailing => None,
            };
            let Some(end) = end.filter(|&end| end > at) else {
                at += character.len_utf8();
                continue;
            };
            if from < at {
                piece(&text[from..at]);
            }
            piece(&text[at..end]);
            (from, at) = (end, end);
        }
        if from < at {
            piece(&text[from..at]);
        }
    }
}

fn after(text: &str, at: usize) -> Option<char> {
    text[at..].chars().next()
}

/// Where the run ends that begins here, of up to so many characters; how many they are.
fn run(text: &str, at: usize, most: usize, is_in: impl Fn(char) -> bool) -> (usize, usize) {
    let (mut end, mut count) = (at, 0);
    for character in text[at..].chars().take(most).take_while(|&character| is_in(character)) {
        end += character.len_utf8();
        count += 1;
    }
    (end, count)
}

/// The end of a run of at least one character.
fn some(text: &str, at: usize, is_in: impl Fn(char) -> bool) -> Option<usize> {
    let (end, count) = run(text, at, usize::MAX, is_in);
    (count > 0).then_some(end)
}

fn is_line_end(character: char) -> bool {
    matches!(character, '\r' | '\n')
}

fn after_blank(text: &str, at: usize) -> usize {
    at + usize::from(text[at..].starts_with(' '))
}

impl Runs {
    fn end(&self, text: &str, at: usize) -> Option<usize> {
        let start = match (self.lead, after(text, at)?) {
            (Lead::Blank, ' ') => at + 1,
            (Lead::Space, character) if is(character, SPACE) => at + character.len_utf8(),
            _ => at,
        };
        let matched = |start| {
            let (end, count) = run(text, start, self.max, self.class);
            (count >= self.min).then_some(end)
        };
        matched(start).or_else(|| (start != at).then(|| matched(at)).flatten())
    }
}

impl Words {
    fn end(&self, text: &str, at: usize) -> Option<usize> {
        self.first
            .end(text, at)
            .or_else(|| self.letters.end(text, at))
            .or_else(|| self.numbers.end(text, at))
            .or_else(|| self.others.end(text, at))
            .or_else(|| self.space(text, at))
    }

    fn space(&self, text: &str, at: usize) -> Option<usize> {
        let (end, count) = run(text, at, usize::MAX, |character| is(character, SPACE));
        let space = &text[at..end];
        if self.lines
            && let Some(last) = space.rfind(is_line_end)
        {
            return Some(at + last + 1);
        }
        match space.chars().next_back() {
            Some(last) if count > 1 && end < text.len() => Some(end - last.len_utf8()),
            last => last.map(|_| end),
        }
    }
}

impl First {
    fn end(&self, text: &str, at: usize) -> Option<usize> {
        match self {
            Self::Nothing => None,
            Self::Contractions => contraction(text, at, false),
            Self::AnyCaseContractions => contraction(text, at, true),
            Self::PunctuatedWord => after(text, at)
                .filter(char::is_ascii_punctuation)
                .and_then(|_| some(text, at + 1, |character| character.is_ascii_alphabetic())),
        }
    }
}

fn contraction(text: &str, at: usize, any_case: bool) -> Option<usize> {
    let bytes = text.as_bytes().get(at..)?;
    let known: [&[u8]; 7] = [b"'s", b"'t", b"'re", b"'ve", b"'m", b"'ll", b"'d"];
    let is_there = |short: &&[u8]| match bytes.get(..short.len()) {
        Some(there) if any_case => there.eq_ignore_ascii_case(short),
        there => there == Some(*short),
    };
    known.into_iter().find(is_there).map(|short| at + short.len())
}

impl Letters {
    fn end(&self, text: &str, at: usize) -> Option<usize> {
        let is_letter = |character| is(character, LETTER);
        match *self {
            Self::AfterBlank => some(text, after_blank(text, at), is_letter),
            Self::AfterAny { no_lead, kinds } => {
                let is_meant = |character| is(character, kinds);
                let lead = after(text, at)?;
                let start = if is_line_end(lead) || is(lead, no_lead) { at } else { at + lead.len_utf8() };
                some(text, start, is_meant)
                    .or_else(|| (start != at).then(|| some(text, at, is_meant)).flatten())
            }
            Self::Cased { contractions } => {
                let lead = after(text, at)?;
                let has_lead = !is_line_end(lead) && !is(lead, LETTER | NUMBER);
                let end = cased(text, if has_lead { at + lead.len_utf8() } else { at })?;
                Some(contractions.then(|| contraction(text, end, true)).flatten().unwrap_or(end))
            }
        }
    }
}

/// `U*S+|U+S*`, where U are the letters but a–z and S those but A–Z.
fn cased(text: &str, at: usize) -> Option<usize> {
    let (mut end, mut both) = (at, None);
    for character in text[at..].chars() {
        if character.is_ascii_lowercase() || !is(character, LETTER) {
            break;
        }
        end += character.len_utf8();
        if !character.is_ascii_uppercase() {
            both = Some(end);
        }
    }
    let small = some(text, end, |character| !character.is_ascii_uppercase() && is(character, LETTER));
    // Without a small letter behind them, the last that can be one ends the word.
    small.or(both).or((end > at).then_some(end))
}

impl Numbers {
    fn end(&self, text: &str, at: usize) -> Option<usize> {
        let is_number = |character| is(character, NUMBER);
        match *self {
            Self::None => None,
            Self::AfterBlank => some(text, after_blank(text, at), is_number),
            Self::UpTo(most) => {
                let (end, count) = run(text, at, most, is_number);
                (count > 0).then_some(end)
            }
        }
    }
}

impl Others {
    /// All but white space, letters and numbers.
    pub(super) const fn but_words(behind: &'static str) -> Self {
        Self { kinds: SPACE | LETTER | NUMBER, kinds_not: true, behind }
    }

    /// All but white space, letters, marks and numbers.
    pub(super) const fn but_marked_words(behind: &'static str) -> Self {
        Self { kinds: SPACE | LETTER | MARK | NUMBER, kinds_not: true, behind }
    }

    /// Punctuation and symbols.
    pub(super) const fn signs(behind: &'static str) -> Self {
        Self { kinds: PUNCTUATION | SYMBOL, kinds_not: false, behind }
    }

    fn end(&self, text: &str, at: usize) -> Option<usize> {
        let is_meant = |character| (kind(character) & self.kinds == 0) == self.kinds_not;
        let end = some(text, after_blank(text, at), is_meant)?;
        Some(run(text, end, usize::MAX, |character| self.behind.contains(character)).0)
    }
}
