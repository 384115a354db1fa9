//! A published document, read within bounds: whatever another process says, what is kept of it is small, of one line and
//! honest about what was left out.
//!
//! ```text
//! text ──► outline: schema, pools as text (the first POOLS) ──► one pool at a time: the largest owners and entries of the
//!                                                              ledger, the last decisions, names cleaned, numbers in range
//! ```

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::decisions::{self, Decision, SaidDecision};
use super::super::pool_use::PoolUse;
use super::super::stats::MonitorStats;
use super::super::text::{NAME, clean, clean_in_place};
use super::bounded::{First, Holds, Largest, Last};
use super::document::SCHEMA;
use crate::device::DeviceKind;
use crate::pool::{Holder, LedgerEntry, OwnerUse, PoolStats, Purpose};
use crate::stall::{Stall, StallTimes};
use crate::units::ByteSize;

/// Most pools of a document.
const POOLS: usize = 64;
/// Most owners of a pool, and most entries of its ledger.
const OWNERS: usize = 512;
const LEDGER: usize = 1024;
/// Longest text of a kind of device.
const KIND: usize = 256;
/// Owners beyond the largest, together.
const OTHERS: &str = "others";

/// How much more may be kept of what one user's processes say in one look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub(super) pools: usize,
    /// Owners, entries and decisions.
    pub(super) entries: usize,
}

/// How much of a document was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// Pools.
    pub pools: u64,
    /// Owners, the smallest ones; they are summed in one that is called `others`.
    pub owners: u64,
    /// Entries of ledgers, the smallest ones.
    pub entries: u64,
}

impl Cut {
    /// Whether all was kept.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (count, what) in [
            (self.pools, "pools that are not shown"),
            (self.owners, "of the smallest owners, which are summed as `others`"),
            (self.entries, "of the smallest entries of its ledger, which are not shown"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        f.write_str(&parts.join("; "))
    }
}

/// What a document says, as far as it is kept.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) pid: u32,
    pub(super) pools: Vec<PoolUse>,
    pub(super) cut: Cut,
}

/// Why a text is no document.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It ends in the middle.
    Ends,
    /// It is another thing, or of another version.
    Other(String),
}

/// Reads a document. What it takes is taken from the allowance.
pub(super) fn document(text: &[u8], allowance: &mut Allowance) -> Result<Said, Wrong> {
    let wrong = |error: serde_json::Error| {
        if error.is_eof() && !text.is_empty() { Wrong::Ends } else { Wrong::Other(error.to_string()) }
    };
    let outline: Outline<'_> = serde_json::from_slice(text).map_err(wrong)?;
    if outline.schema.as_deref() != Some(SCHEMA) {
        let mut schema = outline.schema.unwrap_or_default();
        clean_in_place(&mut schema, NAME);
        return Err(Wrong::Other(format!("its schema is `{schema}`, and `{SCHEMA}` is what is read")));
    }
    let (Some(pid), Some(pools)) = (outline.pid, outline.pools) else {
        return Err(Wrong::Other("it names no process or no pools".into()));
    };
    let mut said = Said { pid, pools: Vec::new(), cut: Cut { pools: pools.more, ..Cut::default() } };
    for text in pools.kept {
        if allowance.pools == 0 {
            said.cut.pools += 1;
            continue;
        }
        let pool: SaidPool<'_> = serde_json::from_str(text.get()).map_err(wrong)?;
        allowance.pools -= 1;
        said.pools.push(pool.kept(pid, allowance, &mut said.cut).map_err(wrong)?);
    }
    Ok(said)
}

#[derive(Deserialize)]
struct Outline<'a> {
    schema: Option<String>,
    pid: Option<u32>,
    #[serde(borrow)]
    pools: Option<First<&'a RawValue, POOLS>>,
}

/// A [`PoolUse`] as it comes. Whose process it is, it does not say.
#[derive(Deserialize)]
struct SaidPool<'a> {
    name: String,
    device: String,
    #[serde(default)]
    device_uuid: Option<String>,
    #[serde(default, borrow)]
    device_kind: Option<&'a RawValue>,
    stats: PoolStats,
    owners: Largest<OwnerUse, OWNERS>,
    ledger: Largest<LedgerEntry, LEDGER>,
    #[serde(default)]
    stall: StallTimes,
    #[serde(default)]
    decisions: Last<SaidDecision, { decisions::MOST }>,
    #[serde(default)]
    monitor: Option<MonitorStats>,
}

impl SaidPool<'_> {
    fn kept(
        mut self,
        pid: u32,
        allowance: &mut Allowance,
        cut: &mut Cut,
    ) -> Result<PoolUse, serde_json::Error> {
        self.owners.keep(OWNERS.min(allowance.entries));
        allowance.entries -= self.owners.kept.len();
        self.ledger.keep(LEDGER.min(allowance.entries));
        allowance.entries -= self.ledger.kept.len();
        let (mut owners, mut ledger) = (self.owners.kept, self.ledger.kept);
        for model in owners.iter_mut().map(|owner| &mut owner.model) {
            clean_holder(model);
        }
        for entry in &mut ledger {
            clean_holder(&mut entry.model);
            clean_in_place(&mut entry.tag, NAME);
        }
        cut.owners += self.owners.more;
        cut.entries += self.ledger.more;
        if let Some(mut rest) = self.owners.rest {
            (rest.model, rest.purpose) = (Holder::from(OTHERS), Purpose::Other);
            (rest.priority, rest.budget_bytes) = (0, None);
            owners.push(rest);
        }
        let owners = each_once(owners, |owner| (owner.model.clone(), owner.purpose));
        let ledger = each_once(ledger, |entry| (entry.model.clone(), entry.purpose, entry.tag.clone()));
        clean_in_place(&mut self.name, NAME);
        clean_in_place(&mut self.device, NAME);
        self.device_uuid.iter_mut().for_each(|uuid| clean_in_place(uuid, NAME));
        let last = allowance.entries.min(self.decisions.0.len());
        let decisions = self.decisions.0.split_off(self.decisions.0.len() - last);
        allowance.entries -= last;
        Ok(PoolUse {
            name: self.name,
            pid,
            device: self.device,
            device_uuid: self.device_uuid,
            device_kind: self.device_kind.map(kind).transpose()?,
            device_by: None,
            process: None,
            stats: self.stats,
            owners,
            ledger,
            stall: StallTimes { some: in_range(self.stall.some), full: in_range(self.stall.full) },
            decisions: decisions.into_iter().map(Decision::from).collect(),
            monitor: self.monitor,
        })
    }
}

/// What is called the same is one: names may have become the same as they were cleaned.
fn each_once<T: Holds, K: Hash + Eq>(all: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let (mut places, mut once) = (HashMap::<K, usize>::new(), Vec::<T>::with_capacity(all.len()));
    for one in all {
        match places.entry(key(&one)) {
            Entry::Occupied(place) => once[*place.get()].add(one),
            Entry::Vacant(place) => {
                place.insert(once.len());
                once.push(one);
            }
        }
    }
    once
}

fn clean_holder(holder: &mut Holder) {
    if let Some(name) = holder.model() {
        let cleaned = clean(name, NAME);
        if cleaned != name {
            *holder = Holder::from(&*cleaned);
        }
    }
}

/// A kind of device, which is a word: what is not would be held whole before that is seen.
fn kind(text: &RawValue) -> Result<DeviceKind, serde_json::Error> {
    if text.get().len() > KIND {
        return Err(serde::de::Error::custom("a kind of device is a word"));
    }
    let mut kind: DeviceKind = serde_json::from_str(text.get())?;
    if let DeviceKind::Other(name) = &mut kind {
        clean_in_place(name, NAME);
    }
    Ok(kind)
}

/// Parts of a time are 0..1, and times are not below nothing.
fn in_range(stall: Stall) -> Stall {
    let ratio = |ratio: f64| if ratio.is_finite() { ratio.clamp(0.0, 1.0) } else { 0.0 };
    Stall {
        avg10_ratio: ratio(stall.avg10_ratio),
        avg60_ratio: ratio(stall.avg60_ratio),
        avg300_ratio: ratio(stall.avg300_ratio),
        total_seconds: if stall.total_seconds.is_finite() { stall.total_seconds.max(0.0) } else { 0.0 },
    }
}

impl Holds for OwnerUse {
    fn bytes(&self) -> ByteSize {
        self.granted_bytes
    }

    fn add(&mut self, other: Self) {
        self.granted_bytes = self.granted_bytes.saturating_add(other.granted_bytes);
        self.peak_bytes = self.peak_bytes.saturating_add(other.peak_bytes);
        self.allocations = self.allocations.saturating_add(other.allocations);
    }
}

impl Holds for LedgerEntry {
    fn bytes(&self) -> ByteSize {
        self.granted_bytes
    }

    fn add(&mut self, other: Self) {
        let add = |to: &mut ByteSize, of: ByteSize| *to = to.saturating_add(of);
        add(&mut self.granted_bytes, other.granted_bytes);
        self.allocations = self.allocations.saturating_add(other.allocations);
        let by_age = [&mut self.by_age_bytes, &mut self.released_by_age_bytes];
        for (to, of) in by_age.into_iter().zip([other.by_age_bytes, other.released_by_age_bytes]) {
            to.iter_mut().zip(of).for_each(|(to, of)| add(to, of));
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ALL: Allowance = Allowance { pools: 1024, entries: 1 << 16 };

    fn pool() -> Value {
        let device = std::sync::Arc::new(crate::device::SimulatedDevice::new(ByteSize::mib(64)));
        let pool = crate::pool::DeviceMemoryPool::new(device, ByteSize::mib(64)).expect("a pool");
        let owner = pool.owner("llama", Purpose::Kv);
        let request = crate::pool::Request::new(ByteSize::mib(1)).owner(owner).tag(pool.tag("blocks"));
        let _held = pool.allocate(request).expect("there is room");
        serde_json::to_value(PoolUse::of("main", &pool)).expect("it is data")
    }

    fn read(pools: &[Value], allowance: &mut Allowance) -> Result<Said, Wrong> {
        let text = json!({"schema": SCHEMA, "pid": 7, "pools": pools}).to_string();
        document(text.as_bytes(), allowance)
    }

    #[test]
    fn a_pool_is_read_as_it_was_written_but_for_whose_it_is() {
        let mut shown = pool();
        let mut expected: PoolUse = serde_json::from_value(shown.clone()).expect("as it was");
        (expected.pid, expected.process) = (7, None);
        // Which is a part of a time, and not the same to the last digit once it is text.
        shown["stall"] = json!(StallTimes::default());
        expected.stall = StallTimes::default();
        shown["process"] = json!({"user": "root"});
        shown["pid"] = json!(1);
        let said = read(&[shown], &mut ALL.clone()).expect("a document");
        assert_eq!((said.pools, said.cut.is_nothing()), (vec![expected], true));
    }

    #[test]
    fn the_largest_owners_are_kept_and_the_rest_is_summed() {
        let mut shown = pool();
        let owner = shown["owners"][0].clone();
        let owners = (0..40_000u64).map(|number| {
            let mut owner = owner.clone();
            owner["model"] = json!(format!("m{number}"));
            owner["granted_bytes"] = json!(number);
            owner
        });
        shown["owners"] = owners.collect();
        let entry = shown["ledger"][0].clone();
        let entries = (0..3000).map(|number| {
            let mut entry = entry.clone();
            entry["tag"] = json!(format!("t{number}"));
            entry
        });
        shown["ledger"] = entries.collect();
        let said = read(&[shown], &mut ALL.clone()).expect("a document");
        let pool = &said.pools[0];
        assert_eq!((pool.owners.len(), pool.ledger.len()), (OWNERS + 1, LEDGER));
        assert_eq!(pool.owners[0].model, "m39999");
        let rest = pool.owners.last().expect("there are some");
        assert_eq!((rest.model.as_str(), rest.purpose), (OTHERS, Purpose::Other));
        let sum: u64 = pool.owners.iter().map(|owner| owner.granted_bytes.bytes()).sum();
        assert_eq!(sum, 39_999 * 40_000 / 2, "no byte is lost");
        assert_eq!((said.cut.owners, said.cut.entries), (40_000 - OWNERS as u64, 3000 - LEDGER as u64));
        assert!(said.cut.to_string().contains("summed as `others`"), "{}", said.cut);
    }

    #[test]
    fn what_is_called_the_same_is_one() {
        let mut shown = pool();
        let (owner, entry) = (shown["owners"][0].clone(), shown["ledger"][0].clone());
        let called = |of: &Value, field: &str, name: &str| {
            let mut of = of.clone();
            (of[field], of["granted_bytes"]) = (json!(name), json!(3));
            of
        };
        // The third is so once what is not shown is taken out.
        shown["owners"] =
            ["x", "y", "x\u{200b}", "x"].map(|name| called(&owner, "model", name)).to_vec().into();
        shown["ledger"] = ["t", "t", "u"].map(|name| called(&entry, "tag", name)).to_vec().into();
        let pool = read(&[shown], &mut ALL.clone()).expect("a document").pools.remove(0);
        let owners: Vec<_> =
            pool.owners.iter().map(|owner| (owner.model.as_str(), owner.granted_bytes.bytes())).collect();
        assert_eq!(owners, [("x", 9), ("y", 3)]);
        let entries: Vec<_> =
            pool.ledger.iter().map(|entry| (entry.tag.as_str(), entry.granted_bytes.bytes())).collect();
        assert_eq!(entries, [("t", 6), ("u", 3)]);
    }

    #[test]
    fn names_are_of_one_line_and_short_and_numbers_in_range() {
        let mut shown = pool();
        let hostile = format!("a\u{1b}[31m\u{202e}{}", "x".repeat(100_000));
        for name in ["name", "device", "device_uuid", "device_kind"] {
            shown[name] = json!(hostile);
        }
        shown["device_kind"] = json!("rocm\u{1b}");
        (shown["owners"][0]["model"], shown["ledger"][0]["tag"]) = (json!(hostile), json!(hostile));
        shown["ledger"][0]["model"] = json!("two\nlines");
        shown["stall"]["some"] =
            json!({"avg10_ratio": -1e308, "avg60_ratio": 5.0, "avg300_ratio": 0.5, "total_seconds": -1.0});
        let pool = read(&[shown], &mut ALL.clone()).expect("a document").pools.remove(0);
        let uuid = pool.device_uuid.expect("it says one");
        for text in [&pool.name, &pool.device, &uuid, pool.owners[0].model.as_str(), &pool.ledger[0].tag] {
            assert!(text.chars().count() == NAME && text.starts_with("a [31mxxx"), "{text:?}");
        }
        assert_eq!(pool.ledger[0].model, "two lines");
        assert_eq!(pool.device_kind, Some(DeviceKind::Other("rocm ".into())));
        let some = pool.stall.some;
        assert_eq!(
            (some.avg10_ratio, some.avg60_ratio, some.avg300_ratio, some.total_seconds),
            (0.0, 1.0, 0.5, 0.0)
        );
    }

    #[test]
    fn pools_and_entries_are_as_many_as_are_allowed() {
        let said = read(&vec![pool(); 3000], &mut ALL.clone()).expect("a document");
        assert_eq!((said.pools.len(), said.cut.pools), (POOLS, 3000 - POOLS as u64));
        let mut little = Allowance { pools: 2, entries: 3 };
        let said = read(&vec![pool(); 3], &mut little).expect("a document");
        assert_eq!((said.pools.len(), said.cut.pools), (2, 1));
        assert_eq!((said.pools[1].owners.len(), said.pools[1].ledger.len()), (1, 0));
        assert_eq!((said.cut.entries, little.entries), (1, 0));
    }

    #[test]
    fn what_is_no_document_says_why() {
        let why = |text: &str| match document(text.as_bytes(), &mut ALL.clone()) {
            Ok(_) => "a document".to_owned(),
            Err(Wrong::Ends) => "ends".to_owned(),
            Err(Wrong::Other(why)) => why,
        };
        assert_eq!(why(&format!("{{\"schema\": \"{SCHEMA}\", \"pid\": 1, \"pools\": []}} ")), "a document");
        assert_eq!(why("{\"schema\": \"vram"), "ends");
        for (text, says) in [
            ("", "EOF"),
            ("{}", "its schema is ``"),
            ("{\"schema\": \"vramkit.published/2\\u001b\", \"pid\": {}}", "invalid type"),
            ("{\"schema\": \"vramkit.published/2\\u001b\"}", "its schema is `vramkit.published/2 `"),
            ("{\"schema\": \"vramkit.published/1\"}", "no process"),
            ("{\"schema\": \"vramkit.published/1\", \"pid\": -1, \"pools\": []}", "expected u32"),
            (
                "{\"schema\": \"vramkit.published/1\", \"pid\": 1, \"pools\": [{\"name\": 5}]}",
                "expected a string",
            ),
            (&"[".repeat(1_000_000), "invalid type"),
        ] {
            assert!(why(text).contains(says), "{} of {}", why(text), &text[..text.len().min(80)]);
        }
        let mut shown = pool();
        shown["device_kind"] = json!(vec![0; 1000]);
        assert!(matches!(read(&[shown], &mut ALL.clone()), Err(Wrong::Other(why)) if why.contains("word")));
    }
}
