//! A stranger's text on a terminal.

/// With what could steer a terminal written out: names of files and texts in them are a stranger's.
pub fn printable(text: &str) -> String {
    let steers = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    text.chars()
        .map(
            |character| {
                if steers(character) { character.escape_default().to_string() } else { character.to_string() }
            },
        )
        .collect()
}
