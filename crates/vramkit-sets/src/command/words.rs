//! A command's text into words.

/// The words of a command, by the rules of llama-swap and of a shell: lines that begin with `#` are comments, a backslash at a
/// line's end goes on, quotes hold words together. `None` when a quote is not closed.
pub(crate) fn split(command: &str) -> Option<Vec<String>> {
    let mut text = String::with_capacity(command.len());
    for line in command.lines().filter(|line| !line.trim_start().starts_with('#')) {
        text.push_str(line.trim_end().strip_suffix('\\').unwrap_or(line));
        text.push('\n');
    }
    shlex::split(&text)
}

/// The words up to the first that only a shell understands: what follows is another command or a file.
pub(crate) fn until_shell(words: &[String]) -> &[String] {
    let shell = |word: &String| {
        matches!(word.as_str(), "&" | "&&" | "|" | "||" | ";")
            || word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '&').starts_with(['>', '<'])
    };
    &words[..words.iter().position(shell).unwrap_or(words.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_continued_lines_are_no_words() {
        let command = "# a comment\nllama-server \\\n  --model '/a b.gguf'   \\\n  # another --ctx-size 3\n --alias \"x#y\"\n";
        assert_eq!(split(command).unwrap(), ["llama-server", "--model", "/a b.gguf", "--alias", "x#y"]);
        assert_eq!(split("llama-server 'open"), None);
    }

    #[test]
    fn a_shells_own_words_end_a_command() {
        let words = split("vllm serve m --port 1 2>&1 > log &").unwrap();
        assert_eq!(until_shell(&words), ["vllm", "serve", "m", "--port", "1"]);
    }
}
