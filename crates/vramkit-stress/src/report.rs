//! What the checks found, as a document and as Markdown.

use std::fmt;

use serde::Serialize;
use vramkit::ByteSize;
use vramkit::units::grouped;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Check {
    /// Which.
    pub name: &'static str,
    /// Whether what was measured is as it must be.
    pub passed: bool,
    /// What was measured.
    pub measured: f64,
    /// What it is held to.
    pub limit: f64,
    /// Of what both are.
    pub unit: &'static str,
    /// What was done and seen.
    pub detail: String,
    /// The fault that it was tried with, when asked to prove itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
    /// Whether it found the fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caught: Option<bool>,
}

impl Check {
    /// What was measured, to be read.
    pub fn measured(&self) -> String {
        shown(self.measured)
    }

    /// What it is held to, to be read.
    pub fn limit(&self) -> String {
        shown(self.limit)
    }
}

/// A whole number with thousands separated, another one with two decimals.
fn shown(number: f64) -> String {
    if number >= 0.0 && number.fract() == 0.0 && number < 1e15 {
        grouped(number as u64)
    } else {
        format!("{number:.2}")
    }
}

impl fmt::Display for Check {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "passed" } else { "FAILED" };
        let (measured, limit) = (self.measured(), self.limit());
        write!(f, "{verdict}  {}: {measured} {}, held to {limit}; {}", self.name, self.unit, self.detail)?;
        match (self.caught, self.fault) {
            (Some(true), Some(fault)) => write!(f, "; caught: {fault}"),
            (Some(false), Some(fault)) => write!(f, "; NOT CAUGHT: {fault}"),
            _ => Ok(()),
        }
    }
}

/// What a model takes with so many tokens of one sequence in its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LengthUse {
    /// Tokens in the cache.
    pub tokens: usize,
    /// Their keys and values as the ledger says, in whole blocks.
    pub kv_bytes: ByteSize,
    /// All that is granted: weights, workspace, keys and values.
    pub used_bytes: ByteSize,
    /// What the device has committed for it.
    pub committed_bytes: ByteSize,
    /// The same as the system sees it, where it can be asked.
    pub resident_bytes: Option<ByteSize>,
}

/// What a battery of checks found: `vramkit.stress/1`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StressReport {
    /// `vramkit.stress/1`.
    pub schema: &'static str,
    /// The model.
    pub model: String,
    /// Tokens of the context.
    pub context_tokens: usize,
    /// Bytes of a token in the cache, by the file's header.
    pub kv_bytes_per_token: ByteSize,
    /// What the checks were run with.
    pub seed: u64,
    /// Whether every check passed, and caught its fault where it was asked to.
    pub passed: bool,
    /// The checks, in the order in which they ran.
    pub checks: Vec<Check>,
    /// What is taken at several lengths of a sequence.
    pub usage: Vec<LengthUse>,
}

impl StressReport {
    /// As a report to be read.
    pub fn markdown(&self) -> String {
        use fmt::Write as _;
        let verdict = if self.passed { "All checks passed" } else { "Not all checks passed" };
        let mut text = format!(
            "# Memory under pressure: {}\n\n{verdict}. Context {} tokens, {} ({} bytes) of cache a token, seed {}.\n\n",
            self.model,
            self.context_tokens,
            self.kv_bytes_per_token,
            self.kv_bytes_per_token.grouped(),
            self.seed
        );
        let proved = self.checks.iter().any(|check| check.caught.is_some());
        text += "| check | | measured | held to | unit |";
        text += if proved { " fault put in | caught |\n" } else { "\n" };
        text += if proved { "|---|---|---|---|---|---|---|\n" } else { "|---|---|---|---|---|\n" };
        for check in &self.checks {
            let verdict = if check.passed { "passed" } else { "**failed**" };
            let _ = write!(
                text,
                "| {} | {verdict} | {} | {} | {} |",
                check.name,
                check.measured(),
                check.limit(),
                check.unit
            );
            if proved {
                let caught = match check.caught {
                    Some(true) => "yes",
                    Some(false) => "**no**",
                    None => "",
                };
                let _ = write!(text, " {} | {caught} |", check.fault.unwrap_or_default());
            }
            text.push('\n');
        }
        text += "\n| tokens | keys and values | in use | committed | seen by the system |\n|---|---|---|---|---|\n";
        for each in &self.usage {
            let seen = each.resident_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {seen} |",
                each.tokens, each.kv_bytes, each.used_bytes, each.committed_bytes
            );
        }
        text += "\n";
        for check in &self.checks {
            let _ = writeln!(text, "- **{}**: {}", check.name, check.detail);
        }
        text
    }
}
