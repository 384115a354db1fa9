//! The trainer: which pairs of pieces become one, the most frequent first (Sennrich, Haddow and Birch 2016).

use std::collections::BTreeMap;

/// Two pieces that become one.
pub(super) type Merge = (String, String);

/// Up to so many merges of the symbols that words consist of, in the order in which they apply. Pairs that occur once are left
/// apart, so there can be fewer. Of pairs that are as frequent, the first by text wins, so that the same words give the same merges.
pub(super) fn merges(words: impl IntoIterator<Item = Vec<String>>, most: usize) -> Vec<Merge> {
    let mut counted = BTreeMap::<Vec<String>, usize>::new();
    for word in words {
        *counted.entry(word).or_default() += 1;
    }
    let mut words: Vec<_> = counted.into_iter().collect();
    let mut merges = Vec::new();
    while merges.len() < most {
        let mut pairs = BTreeMap::<(&str, &str), usize>::new();
        for (word, count) in &words {
            for pair in word.windows(2) {
                *pairs.entry((&pair[0], &pair[1])).or_default() += count;
            }
        }
        let Some((&(first, second), _)) = pairs
            .iter()
            .filter(|(_, count)| **count > 1)
            .max_by(|one, other| one.1.cmp(other.1).then(other.0.cmp(one.0)))
        else {
            break;
        };
        let merge = (first.to_owned(), second.to_owned());
        words.iter_mut().for_each(|(word, _)| join(word, &merge));
        merges.push(merge);
    }
    merges
}

fn join(word: &mut Vec<String>, (first, second): &Merge) {
    let mut at = 0;
    while at + 1 < word.len() {
        if word[at] == *first && word[at + 1] == *second {
            let second = word.remove(at + 1);
            word[at].push_str(&second);
        }
        at += 1;
    }
}

/// Text in pieces that no pre-tokeniser puts together: letters with the space before them, digits one by one, signs, line ends.
pub(super) fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut last = Class::Space;
    for (at, letter) in text.char_indices() {
        let class = Class::of(letter);
        let joined = class != Class::Digit && (class == last || &text[start..at] == " ");
        if at > start && !joined {
            words.push(&text[start..at]);
            start = at;
        }
        last = class;
    }
    words.extend((start < text.len()).then(|| &text[start..]));
    words
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Digit,
    Space,
    Line,
    Sign,
}

impl Class {
    fn of(letter: char) -> Self {
        match letter {
            '\n' => Self::Line,
            ' ' => Self::Space,
            digit if digit.is_numeric() => Self::Digit,
            letter if letter.is_alphabetic() => Self::Letter,
            _ => Self::Sign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{merges, words};

    #[test]
    fn words_are_split_where_every_pre_tokeniser_splits() {
        let found = words("It's 42, (so) they  say.\n\nNo");
        assert_eq!(
            found,
            ["It", "'", "s", " ", "4", "2", ",", " (", "so", ")", " they", "  ", "say", ".", "\n\n", "No"]
        );
    }

    #[test]
    fn the_most_frequent_pair_comes_first_and_ties_go_by_text() {
        let words = ["aab", "aab", "ab", "cd", "cd"].map(|word| word.chars().map(String::from).collect());
        let found = merges(words, 9);
        let expected = [("a", "b"), ("a", "ab"), ("c", "d")];
        assert_eq!(found, expected.map(|(one, other)| (one.to_owned(), other.to_owned())));
    }
}
