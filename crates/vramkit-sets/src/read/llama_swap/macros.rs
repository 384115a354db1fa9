//! llama-swap's `${…}`: variables of the environment in the whole text, then macros, the last declared one first.

use crate::error::SetsError;
use crate::read::place::Place;
use crate::yaml::Node;

/// The longest that a text becomes by macros; each could double it.
const MOST_TEXT: usize = 1 << 20;
/// Characters of no script, around the name of a variable that is not set, so that the text stays YAML.
const UNSET: (char, char) = ('\u{e000}', '\u{e001}');

/// The text with `${env.NAME}` put in as llama-swap puts it in; what is not set is marked.
pub(crate) fn with_environment(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${env.") {
        out.push_str(before);
        let length = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
        let (name, tail) = after.split_at(length);
        match tail.strip_prefix('}') {
            Some(tail) if !name.is_empty() => {
                // A value of several lines would change what the text is, and llama-swap refuses it.
                match variable(name).filter(|value| !value.contains(['\n', '\r', '\0'])) {
                    Some(value) => out.push_str(&value.replace('\\', "\\\\").replace('"', "\\\"")),
                    None => out.extend([UNSET.0.to_string(), name.to_owned(), UNSET.1.to_string()]),
                }
                rest = tail;
            }
            _ => {
                out.push_str("${env.");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The first variable in a text that is not set.
pub(super) fn unset(text: &str) -> Option<&str> {
    let (_, after) = text.split_once(UNSET.0)?;
    Some(after.split_once(UNSET.1)?.0)
}

/// Macros in the order of their declaration.
#[derive(Clone, Default)]
pub(super) struct Macros(Vec<(String, String)>);

impl Macros {
    /// These for one model: its name is a macro too.
    pub fn of_model(&self, name: &str) -> Self {
        let own = [("MODEL_ID".to_owned(), name.to_owned())];
        Self(own.into_iter().chain(self.0.iter().cloned()).collect())
    }

    /// These and those that a mapping declares; one of the same name takes its place.
    pub fn and(mut self, declared: Option<&Node>, place: &Place<'_>) -> Result<Self, SetsError> {
        for (key, value) in declared.into_iter().flat_map(Node::pairs) {
            let name = key.text().unwrap_or_default();
            if name.is_empty() || !name.chars().all(is_name) || matches!(name, "PID" | "PORT" | "MODEL_ID") {
                return Err(place.invalid(key.line, format!("`{name}` is no name for a macro")));
            }
            let Some(text) = value.text().filter(|_| !value.is_null()) else {
                return Err(place
                    .invalid(value.line, format!("the macro `{name}` is text, a number or true or false")));
            };
            match self.0.iter_mut().find(|(known, _)| known == name) {
                Some(known) => text.clone_into(&mut known.1),
                None => self.0.push((name.to_owned(), text.to_owned())),
            }
        }
        Ok(self)
    }

    /// A text with these put in, and a port where one is asked for.
    pub fn put(&self, text: &str) -> Result<String, String> {
        let mut text = text.to_owned();
        for (name, value) in self.0.iter().rev() {
            let slug = format!("${{{name}}}");
            let uses = text.matches(&slug).count();
            if text.len().saturating_add(uses.saturating_mul(value.len())) > MOST_TEXT {
                return Err(format!("macros make more than {MOST_TEXT} bytes of it"));
            }
            if uses > 0 {
                text = text.replace(&slug, value);
            }
        }
        text = text.replace("${PORT}", "5800");
        match left(&text) {
            Some(name) => Err(format!("there is no macro `{name}`")),
            None => Ok(text),
        }
    }
}

/// A macro that nothing was put in for.
fn left(text: &str) -> Option<&str> {
    text.split("${").skip(1).find_map(|after| {
        let (name, _) = after.split_once('}')?;
        (!name.is_empty() && name.chars().all(is_name)).then_some(name)
    })
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn macros(pairs: &[(&str, &str)]) -> Macros {
        Macros(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn later_macros_may_use_earlier_ones() {
        let all = macros(&[("ctx", "4096"), ("args", "-c ${ctx} --port ${PORT}")]).of_model("a:b");
        assert_eq!(all.put("x ${args} ${MODEL_ID}").unwrap(), "x -c 4096 --port 5800 a:b");
        assert!(all.put("${other}").unwrap_err().contains("`other`"));
        assert_eq!(all.put("${not a macro} $5").unwrap(), "${not a macro} $5");
    }

    #[test]
    fn macros_that_double_each_other_end() {
        let pairs: Vec<(String, String)> =
            (0..64).map(|i| (format!("m{}", i + 1), format!("${{m{i}}}${{m{i}}}"))).collect();
        assert!(Macros(pairs).put("${m64}").unwrap_err().contains("bytes"));
    }

    #[test]
    fn the_environment_goes_in_first_and_what_is_not_set_is_marked() {
        let variable = |name: &str| (name == "HOME").then(|| "/home/\"me\"".to_owned());
        let text = with_environment("a: [\"${env.HOME}/m\", ${env.NO}] ${env.} ${env.x", &variable);
        assert!(text.starts_with("a: [\"/home/\\\"me\\\"/m\", "));
        assert_eq!(unset(&text), Some("NO"));
        assert!(text.ends_with("${env.} ${env.x"));
    }
}
