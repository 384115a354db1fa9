//! Which columns hold the lengths, where somebody says so.

use std::str::FromStr;

use crate::error::nearest;

/// The columns of a log that hold lengths in tokens, by their exact names; in JSON dotted paths (`usage.prompt_tokens`).
///
/// What is left out is found by its name. Written `prompt=NAME,output=NAME`, or one of the two; a name may have commas.
///
/// ```
/// use vramkit_models::traffic::Columns;
///
/// let columns: Columns = "prompt=in, all,output=usage.out".parse()?;
/// assert_eq!(columns.prompt.as_deref(), Some("in, all"));
/// assert_eq!(columns.output.as_deref(), Some("usage.out"));
/// assert_eq!("promt=a".parse::<Columns>().unwrap_err().to_string(), "`promt` is no length; did you mean `prompt`?");
/// # Ok::<(), vramkit_models::traffic::ColumnsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Columns {
    /// The prompt's, as a whole: what of it was cached is in it.
    pub prompt: Option<String>,
    /// The output's, without the prompt.
    pub output: Option<String>,
}

/// Why text names no columns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnsError {
    /// Neither is named.
    #[error("no columns in `{0}`; expected prompt=NAME,output=NAME")]
    Nothing(String),
    /// Something else than the two is named.
    #[error("`{length}` is no length{}", nearest(length, ["prompt", "output"].into_iter()))]
    Unknown {
        /// What stands before `=`.
        length: String,
    },
    /// One is named twice.
    #[error("the {0} column is given twice")]
    Twice(&'static str),
    /// One is named by nothing.
    #[error("the {0} column has no name; expected prompt=NAME,output=NAME")]
    Empty(&'static str),
}

impl FromStr for Columns {
    type Err = ColumnsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut columns = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let Some((length, after)) = rest.split_once('=') else {
                return Err(ColumnsError::Nothing(text.to_owned()));
            };
            let (into, length) = match length.trim() {
                "prompt" => (&mut columns.prompt, "prompt"),
                "output" => (&mut columns.output, "output"),
                other => return Err(ColumnsError::Unknown { length: other.to_owned() }),
            };
            // A comma ends a name only where the other length begins behind it.
            let ends = after.match_indices(',').find(|&(at, _)| {
                let behind = after[at + 1..].trim_start();
                behind.starts_with("prompt=") || behind.starts_with("output=")
            });
            let (name, behind) = match ends {
                Some((at, _)) => (&after[..at], &after[at + 1..]),
                None => (after, ""),
            };
            if into.is_some() {
                return Err(ColumnsError::Twice(length));
            }
            if name.trim().is_empty() {
                return Err(ColumnsError::Empty(length));
            }
            *into = Some(name.trim().to_owned());
            rest = behind.trim_start();
        }
        if columns == Self::default() {
            return Err(ColumnsError::Nothing(text.to_owned()));
        }
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_and_refused_by_what_is_wrong() {
        let read = |text: &str| text.parse::<Columns>();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read("prompt=a,output=b"), Ok(Columns { prompt: some("a"), output: some("b") }));
        assert_eq!(
            read(" output = b c , prompt=a=1 "),
            Ok(Columns { prompt: some("a=1"), output: some("b c") })
        );
        assert_eq!(read("prompt=a"), Ok(Columns { prompt: some("a"), output: None }));
        assert_eq!(read(""), Err(ColumnsError::Nothing(String::new())));
        assert_eq!(read("a,b"), Err(ColumnsError::Nothing("a,b".to_owned())));
        assert_eq!(read("input=a"), Err(ColumnsError::Unknown { length: "input".to_owned() }));
        assert_eq!(read("prompt=a,prompt=b"), Err(ColumnsError::Twice("prompt")));
        assert_eq!(read("prompt=,output=b"), Err(ColumnsError::Empty("prompt")));
    }
}
