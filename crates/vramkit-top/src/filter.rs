//! What is looked for in the table: words, all of which must be found somewhere in a row, or in the column that they name.
//!
//! `ann llama` finds rows with both; `user:ann pod:prod/` finds Ann's in pods of that namespace. Case does not matter.

use crate::row::Row;

/// See the module's first lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    words: Vec<Word>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    column: Option<Column>,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    User,
    Model,
    Pod,
    Container,
    Job,
    Pid,
    Command,
    Device,
}

/// The columns that a word may name.
const COLUMNS: [(&str, Column); 8] = [
    ("user:", Column::User),
    ("model:", Column::Model),
    ("pod:", Column::Pod),
    ("container:", Column::Container),
    ("job:", Column::Job),
    ("pid:", Column::Pid),
    ("command:", Column::Command),
    ("device:", Column::Device),
];

impl Filter {
    pub(crate) fn parse(text: &str) -> Self {
        let words = text.to_lowercase();
        let words = words.split_whitespace().map(|word| {
            let named = COLUMNS.iter().find_map(|(name, column)| Some((*column, word.strip_prefix(name)?)));
            match named {
                Some((column, text)) => Word { column: Some(column), text: text.to_owned() },
                None => Word { column: None, text: word.to_owned() },
            }
        });
        Self { words: words.collect() }
    }

    pub(crate) fn admits(&self, row: &Row) -> bool {
        self.words.iter().all(|word| word.is_in(row))
    }
}

impl Word {
    fn is_in(&self, row: &Row) -> bool {
        let has = |text: &str| text.to_lowercase().contains(&self.text);
        let some = |text: &Option<String>| text.as_deref().is_some_and(has);
        let identity = &row.identity;
        // `pid:` alone finds what has any: nothing is found in what is not known.
        let pid = || {
            row.pid.is_some_and(|pid| if self.text.is_empty() { true } else { pid.to_string() == self.text })
        };
        match self.column {
            Some(Column::User) => some(&identity.user),
            Some(Column::Model) => some(&row.model),
            Some(Column::Pod) => some(&identity.pod),
            Some(Column::Container) => some(&identity.container),
            Some(Column::Job) => some(&identity.job),
            Some(Column::Command) => some(&identity.command),
            Some(Column::Pid) => pid(),
            Some(Column::Device) => has(&row.device),
            None => {
                has(&row.name)
                    || has(&row.detail)
                    || has(&row.device)
                    || [
                        &identity.user,
                        &identity.pod,
                        &identity.container,
                        &identity.job,
                        &identity.command,
                        &row.model,
                    ]
                    .into_iter()
                    .any(some)
                    || row.pid.is_some_and(|pid| has(&pid.to_string()))
            }
        }
    }
}
