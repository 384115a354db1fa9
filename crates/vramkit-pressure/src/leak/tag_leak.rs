//! What is said of tags and owners that grow old: plain data.

use std::fmt;

use serde::{Deserialize, Serialize};

use vramkit_units::{ByteSize, Holder, Purpose};

/// A tag, or an owner as a whole, whose old bytes grow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TagLeak {
    /// For whom.
    pub model: Holder,
    /// What for.
    pub purpose: Purpose,
    /// The tag; empty when there is none, and for an owner as a whole.
    pub tag: String,
    /// Whether it is the sum of the owner's tags that grows, and none of them by itself.
    #[serde(default)]
    pub whole_owner: bool,
    /// By how much its old bytes grow a second.
    pub bytes_per_second: f64,
    /// What was looked at, in seconds.
    pub window_seconds: f64,
    /// Bytes of it that are old now.
    pub old_bytes: ByteSize,
    /// How old at least, in seconds.
    pub old_seconds: f64,
    /// Its live allocations.
    pub allocations: u64,
}

/// In words: who, how much and how old.
impl fmt::Display for TagLeak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tag.as_str() {
            _ if self.whole_owner => f.write_str("all tags together")?,
            "" => f.write_str("what is untagged")?,
            tag => write!(f, "tag `{tag}`")?,
        }
        let more = ByteSize::new((self.bytes_per_second * 60.0).max(0.0) as u64);
        write!(f, " of {} ({}): {} ", self.model, self.purpose, self.old_bytes)?;
        write!(f, "older than {:.0} min, {more}/min more", self.old_seconds / 60.0)
    }
}

/// A change in what is known of a tag or an owner.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TagEvent {
    /// Its old bytes grow, and nothing is known of how long such bytes live: it may be a cache that fills.
    Retains(TagLeak),
    /// A leak is suspected: its old bytes grow, and outlive what is known of such bytes. It may have been said to retain.
    Suspected(TagLeak),
    /// It no longer grows.
    Cleared(TagLeak),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_who_how_much_and_how_old() {
        let leak = |tag: &str, whole_owner| TagLeak {
            model: "llama".into(),
            purpose: Purpose::Kv,
            tag: tag.to_owned(),
            whole_owner,
            bytes_per_second: 1_048_576.0,
            window_seconds: 1200.0,
            old_bytes: ByteSize::mib(700),
            old_seconds: 256.0,
            allocations: 3,
        };
        let rest = "of llama (kv): 700 MiB older than 4 min, 60 MiB/min more";
        assert_eq!(leak("session", false).to_string(), format!("tag `session` {rest}"));
        assert_eq!(leak("", false).to_string(), format!("what is untagged {rest}"));
        assert_eq!(leak("", true).to_string(), format!("all tags together {rest}"));
    }
}
