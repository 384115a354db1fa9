//! Reads the two data sets that experiments use, Alpaca and ShareGPT, and their kin: what was asked, and what was answered.
//!
//! ```text
//! JSON array, or an object a line ──► entries: an instruction with its answer (Alpaca), or turns (ShareGPT)
//! ```
//!
//! Alpaca's entries are `{instruction, input, output}`; ShareGPT's `{conversations: [{from, value}]}`, also as
//! `{messages: [{role, content}]}`. An entry that is neither is an error that names it.
//!
//! ```
//! use vramkit_models::chats::{Entry, read_chats};
//!
//! # let path = std::env::temp_dir().join(format!("vramkit-chats-doc-{}.json", std::process::id()));
//! std::fs::write(&path, r#"[{"conversations": [{"from": "human", "value": "Hi"}]}]"#)?;
//! let entries = read_chats(&path)?;
//! assert!(matches!(&entries[0], Entry::Conversation(turns) if turns[0].text == "Hi"));
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::error::ReadError;

/// The largest file that is read as a whole.
const MOST_BYTES: u64 = 2 << 30;

/// Somebody's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whose.
    pub speaker: Speaker,
    /// What.
    pub text: String,
}

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// What stands before a conversation.
    System,
    /// Who asks, and what tools say.
    User,
    /// The model, its calls of functions too.
    Assistant,
    /// A role that is none of these, as the file calls it.
    Other(String),
}

impl Speaker {
    /// By the names that files use.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "system" => Self::System,
            "human" | "user" | "observation" | "tool" | "function_response" | "function" => Self::User,
            "gpt" | "chatgpt" | "assistant" | "bing" | "bard" | "function_call" | "model" => Self::Assistant,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// An entry of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Alpaca's.
    Instruction {
        /// What is to be done.
        instruction: String,
        /// What with; often nothing.
        input: String,
        /// The answer.
        output: String,
    },
    /// ShareGPT's, in the order in which it was said.
    Conversation(Vec<Turn>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    Conversation {
        #[serde(alias = "messages", alias = "conversation")]
        conversations: Vec<RawTurn>,
    },
    Instruction {
        instruction: String,
        #[serde(default)]
        input: Option<String>,
        #[serde(default)]
        output: Option<String>,
    },
}

#[derive(Deserialize)]
struct RawTurn {
    #[serde(alias = "role")]
    from: String,
    /// Null where a turn is nothing but a call.
    #[serde(alias = "content", default)]
    value: Option<String>,
}

impl From<Raw> for Entry {
    fn from(raw: Raw) -> Self {
        match raw {
            Raw::Instruction { instruction, input, output } => Self::Instruction {
                instruction,
                input: input.unwrap_or_default(),
                output: output.unwrap_or_default(),
            },
            Raw::Conversation { conversations } => {
                let turn = |turn: RawTurn| Turn {
                    speaker: Speaker::named(&turn.from),
                    text: turn.value.unwrap_or_default(),
                };
                Self::Conversation(conversations.into_iter().map(turn).collect())
            }
        }
    }
}

/// Reads the entries of a data set, at least one.
///
/// # Errors
/// What cannot be read, is of another format, which is named where it is known, or has an entry that is neither, which is named.
pub fn read_chats(path: &Path) -> Result<Vec<Entry>, ReadError> {
    let name = path.display().to_string();
    let cannot = |error| ReadError::Io { path: path.to_owned(), error };
    let mut file = BufReader::new(File::open(path).map_err(cannot)?);
    if file.get_ref().metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(ReadError::within(&name, "no file"));
    }
    let size = file.get_ref().metadata().map_or(0, |metadata| metadata.len());
    if size > MOST_BYTES {
        let reason =
            format!("{size} bytes of JSON; at most {MOST_BYTES} are read: make it JSON Lines with counts");
        return Err(ReadError::within(&name, reason));
    }
    // Some editors begin a file with a mark of its byte order.
    if file.fill_buf().map_err(cannot)?.starts_with(b"\xef\xbb\xbf") {
        file.consume(3);
    }
    let begins = file.fill_buf().map_err(cannot)?.to_vec();
    if let Some(known) = known_format(&begins) {
        return Err(ReadError::within(
            &name,
            format!("{known}; expected JSON of Alpaca's or ShareGPT's kind"),
        ));
    }
    let values = if begins.trim_ascii_start().first() == Some(&b'{') {
        objects(&name, file)?
    } else {
        serde_json::from_reader::<_, Vec<Value>>(file).map_err(|error| ReadError::At {
            file: name.clone(),
            line: error.line() as u64,
            reason: format!("no JSON array of entries: {error}"),
        })?
    };
    if values.is_empty() {
        return Err(ReadError::within(&name, "no entries in it"));
    }
    let entry = |(at, value): (usize, Value)| {
        Raw::deserialize(value).map(Entry::from).map_err(|_| {
            let reason = format!(
                "entry {}: neither Alpaca's (instruction, input, output) nor ShareGPT's (conversations of from and value)",
                at + 1
            );
            ReadError::within(&name, reason)
        })
    };
    values.into_iter().enumerate().map(entry).collect()
}

/// One object after another, as JSON Lines have them.
fn objects(name: &str, file: impl Read) -> Result<Vec<Value>, ReadError> {
    let stream = serde_json::Deserializer::from_reader(file).into_iter::<Value>();
    let object = |(at, value): (usize, Result<Value, serde_json::Error>)| {
        value.map_err(|error| ReadError::At {
            file: name.to_owned(),
            line: error.line() as u64,
            reason: format!("object {} is no JSON: {error}", at + 1),
        })
    };
    stream.enumerate().map(object).collect()
}

/// What a file is that is no JSON, by its first bytes.
fn known_format(begins: &[u8]) -> Option<&'static str> {
    match begins {
        [] => Some("an empty file"),
        [b'P', b'A', b'R', b'1', ..] => Some("a Parquet file"),
        [b'G', b'G', b'U', b'F', ..] => Some("a GGUF model"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive"),
        [0x1f, 0x8b, ..] => Some("a gzip archive"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("a Zstandard archive"),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Some("an Arrow file"),
        _ => {
            let line = begins.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let is_table =
                !line.trim_ascii_start().starts_with(b"[") && !line.trim_ascii_start().starts_with(b"{");
            (is_table && line.contains(&b',') && line.is_ascii()).then_some("a table (CSV)")
        }
    }
}
