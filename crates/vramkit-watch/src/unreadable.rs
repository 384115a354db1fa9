//! Devices that are there and whose memory cannot be read: told when it begins, said for as long as it lasts, told when it ends.
//!
//! A driver may list a card and refuse what is asked about its memory (no permission, an unknown error). The card is not lost,
//! and its level is not known; somebody has to look.

use std::collections::BTreeMap;

use crate::judge::News;
use crate::source::{DeviceReading, Unavailable};
use crate::tick::EventKind;

/// Devices that are named in one reason.
const NAMED: usize = 4;

/// Reasons by id, for each source.
#[derive(Debug, Default)]
pub(crate) struct Unreadable(BTreeMap<usize, BTreeMap<String, String>>);

impl Unreadable {
    /// Notes what a source lists that is there; what to say of it.
    pub(crate) fn note<'a>(
        &mut self,
        source: usize,
        present: impl Iterator<Item = &'a DeviceReading>,
        news: &mut Vec<News>,
    ) -> Vec<Unavailable> {
        let before = self.0.remove(&source).unwrap_or_default();
        let mut now = BTreeMap::new();
        for reading in present {
            let id = &reading.device.id;
            let used = &reading.usage.used_bytes;
            match (used.value, before.contains_key(id)) {
                (Some(_), true) => {
                    news.push(News::new(id, EventKind::SourceBack, "its memory is read again"));
                }
                (Some(_), false) => {}
                (None, was_so) => {
                    let reason = used.unavailable.as_deref().unwrap_or("its driver does not say why");
                    let words = format!("its memory cannot be read: {reason}");
                    if !was_so {
                        news.push(News::new(id, EventKind::SourceFailing, words.clone()));
                    }
                    now.insert(id.clone(), words);
                }
            }
        }
        let say = |(id, reason): (&String, &String)| Unavailable {
            source: format!("memory of {id}"),
            reason: reason.clone(),
        };
        let said = now.iter().map(say).collect();
        self.0.insert(source, now);
        said
    }

    /// What a source cannot read, in words; none where it reads everything.
    pub(crate) fn words(&self, source: usize) -> Option<String> {
        let all = self.0.get(&source).filter(|all| !all.is_empty())?;
        let mut words: Vec<String> =
            all.iter().take(NAMED).map(|(id, reason)| format!("{id}: {reason}")).collect();
        if all.len() > NAMED {
            words.push(format!("{} more", all.len() - NAMED));
        }
        Some(words.join("; "))
    }
}
