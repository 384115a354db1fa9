//! What lies over the screen and takes the keys, and what keys want done that the app cannot do itself.

use crate::kill::{End, Victim};

/// What lies over the screen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Over {
    #[default]
    Nothing,
    /// The help, from this line on.
    Help(u16),
    /// All that is known of the chosen row.
    Row,
    /// A question that only `y` answers with yes.
    Question(Question),
}

/// Whether a process is to end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    /// The process in words, as it was found when it was asked.
    pub(crate) process: String,
    pub(crate) end: End,
}

/// What the app cannot do itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wish {
    /// To know the process, so that the question can be asked.
    Find(Victim),
    /// To end the process that was asked about.
    End(End),
}
