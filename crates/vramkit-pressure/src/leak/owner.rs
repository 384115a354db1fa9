//! One owner's tags, and the owner as their sum: what is kept of them from ledger to ledger, and what is told.

use std::collections::BTreeMap;
use std::time::Duration;

use vramkit_units::{ByteSize, Holder, LedgerEntry, Purpose};

use super::ages::{self, Sample, Totals};
use super::survival::{self, Finding, Verdict};
use super::tag_leak::{TagEvent, TagLeak};
use super::track::{self, Block, KEPT, Track};

/// For how long a tag that makes nothing has a past of its own.
const SETTLED: Duration = Duration::from_secs(1200);
/// What is told is over when the old bytes rise by less than this part of what they did.
const OVER: f64 = 0.25;
/// A growth is of so many allocations at least, by their mean size: fewer are steps, of models that are loaded.
const FEW: f64 = 8.0;
/// A tag of this part of its owner's growth is what the owner would be told for.
const NEARLY_ALL: f64 = 0.8;
/// A tag of this part of its owner's growth stands for itself, when it has a longer lifetime or none that is known.
const LARGE: f64 = 0.2;

#[derive(Clone, Debug, Default)]
pub(super) struct Owner {
    tags: BTreeMap<String, Tag>,
    /// Tags without a past of their own, those that are gone included.
    rest: Track,
    told: Option<Told>,
    held: ByteSize,
    allocations: u64,
    seen: Duration,
}

#[derive(Clone, Debug)]
struct Tag {
    sample: Sample,
    allocations: u64,
    /// When it was last in the ledger, and when it last made something.
    seen: Duration,
    made: Duration,
    track: Option<Box<Track>>,
    told: Option<Told>,
}

/// What has been said, and of which lane and age.
#[derive(Clone, Debug)]
struct Told {
    verdict: Verdict,
    lane: usize,
    age: usize,
    leak: TagLeak,
}

impl Owner {
    /// Tags with a past of their own.
    pub(super) fn tracks(&self) -> usize {
        self.tags.values().filter(|tag| tag.track.is_some()).count()
    }

    pub(super) fn held(&self) -> ByteSize {
        self.held
    }

    /// When it was last in the ledger.
    pub(super) fn seen(&self) -> Duration {
        self.seen
    }

    /// What is told of the owner and its tags.
    pub(super) fn told(&self, verdict: Verdict) -> impl Iterator<Item = &TagLeak> {
        let told = self.tags.values().map(|tag| &tag.told).chain([&self.told]).flatten();
        told.filter(move |told| told.verdict == verdict).map(|told| &told.leak)
    }

    /// A ledger follows.
    pub(super) fn begin(&mut self) {
        (self.held, self.allocations) = (ByteSize::ZERO, 0);
    }

    /// Notes what a ledger says of one of its tags.
    pub(super) fn take(&mut self, now: Duration, entry: &LedgerEntry) {
        // A ledger may be what another process says.
        self.held = self.held.saturating_add(entry.granted_bytes);
        self.allocations = self.allocations.saturating_add(entry.allocations);
        self.seen = now;
        let sample = Sample::of(entry);
        if let Some(tag) = self.tags.get_mut(entry.tag.as_str()) {
            if tag.seen == now {
                return; // A ledger names a tag once.
            }
            let totals = tag.track.as_mut().map_or(&mut self.rest.totals, |track| &mut track.totals);
            let before = totals.passed[0];
            totals.note(&tag.sample, &sample);
            if totals.passed[0] > before {
                tag.made = now;
            }
            (tag.sample, tag.allocations, tag.seen) = (sample, entry.allocations, now);
        } else {
            let allocations = entry.allocations;
            let tag = Tag { sample, allocations, seen: now, made: now, track: None, told: None };
            self.tags.insert(entry.tag.clone(), tag);
        }
    }

    /// Leaves to the rest what holds or makes nothing more, and has what makes something again stand for itself, as far as there
    /// is room.
    pub(super) fn settle(&mut self, now: Duration, vacant: &mut usize, events: &mut Vec<TagEvent>) {
        if self.seen != now {
            events.extend(self.told.take().map(|told| TagEvent::Cleared(told.leak)));
        }
        let Self { tags, rest, .. } = self;
        tags.retain(|_, tag| {
            let is_gone = tag.seen != now;
            if is_gone {
                let totals = tag.track.as_mut().map_or(&mut rest.totals, |track| &mut track.totals);
                totals.note(&tag.sample, &tag.sample.gone());
                events.extend(tag.told.take().map(|told| TagEvent::Cleared(told.leak)));
            }
            let is_settled = now.saturating_sub(tag.made) >= SETTLED && tag.told.is_none();
            if (is_gone || is_settled)
                && let Some(track) = tag.track.take()
            {
                rest.absorb(&track);
                *vacant += 1;
            } else if tag.made == now && tag.track.is_none() && *vacant > 0 {
                *vacant -= 1;
                tag.track = Some(Box::new(Track::new(Totals::new(&tag.sample))));
            }
            !is_gone
        });
    }

    /// Takes all totals into their lanes.
    pub(super) fn advance(&mut self, now: Duration) {
        self.rest.totals.live = Default::default();
        for tag in self.tags.values_mut() {
            match &mut tag.track {
                Some(track) => {
                    track.totals.live = tag.sample.live;
                    track.advance(now);
                }
                None => {
                    let live = self.rest.totals.live.iter_mut().zip(tag.sample.live);
                    live.for_each(|(sum, bytes)| *sum += bytes);
                }
            }
        }
        self.rest.advance(now);
    }

    /// What one lane says, of the tags and then of what is left of the owner.
    pub(super) fn judge(&mut self, judge: &Judge<'_>, lane: usize, events: &mut Vec<TagEvent>) {
        let mut of_owner = self.told.as_ref().map(|told| told.verdict);
        for (name, tag) in &mut self.tags {
            let Some(track) = &tag.track else { continue };
            let Some(blocks) = track.window(lane) else { continue };
            judge.note_end(&mut tag.told, lane, &blocks, events);
            let least = judge.least(&track.totals, tag.allocations);
            let of_age = |age| Some((survival::judge(lane, age, &blocks, &track.totals, least)?, ()));
            let finding = survival::clearest(of_age).map(|(finding, ())| finding);
            // While the owner is told, no more is said of a tag that is no clearer.
            let Some(finding) = finding.filter(|finding| Some(finding.verdict) > of_owner) else { continue };
            if judge.tell(&mut tag.told, (Some(name), tag.allocations), lane, finding, &track.totals, events)
                && let Some(told) = self.told.take()
            {
                of_owner = None;
                events.push(TagEvent::Cleared(told.leak));
            }
        }
        if let Some(told) = &self.told
            && let Some((blocks, ..)) = self.sum(judge, lane, told.age)
        {
            judge.note_end(&mut self.told, lane, &blocks, events);
        }
        let of_age = |age| {
            let (blocks, totals, least) = self.sum(judge, lane, age)?;
            Some((survival::judge(lane, age, &blocks, &totals, least)?, totals))
        };
        let Some((finding, totals)) = survival::clearest(of_age) else { return };
        // One tag may be nearly all of it, and have too short a past of its own.
        let grown = |tag: &Tag| tag.track.as_ref().map_or(0.0, |track| track.grown(lane, finding.age));
        let all = self.rest.grown(lane, finding.age) + self.tags.values().map(grown).sum::<f64>();
        let mut open = self.tags.iter_mut().filter(|(_, tag)| tag.told.is_none());
        match open.find(|(_, tag)| grown(tag) >= NEARLY_ALL * all) {
            Some((name, tag)) if self.told.is_none() => {
                let of_tag = (Some(name.as_str()), tag.allocations);
                judge.tell(&mut tag.told, of_tag, lane, finding, &totals, events);
            }
            _ => {
                judge.tell(&mut self.told, (None, self.allocations), lane, finding, &totals, events);
            }
        }
    }

    /// The rest and its tags, but those that are told, and large ones that stand for themselves at an age; and by how much it
    /// must grow.
    fn sum(&self, judge: &Judge<'_>, lane: usize, age: usize) -> Option<(Vec<Block>, Totals, f64)> {
        let mut blocks = self.rest.window(lane)?;
        let mut totals = self.rest.totals;
        let mut least = judge.least;
        let open = self.tags.values().filter(|tag| tag.told.is_none());
        let grown = |tag: &'_ Tag| tag.track.as_deref().map_or(0.0, |track| track.grown(lane, age));
        let all = open.clone().map(grown).sum::<f64>() + self.rest.grown(lane, age);
        for tag in open {
            let Some(track) = &tag.track else { continue };
            if grown(tag) >= LARGE * all {
                if survival::stands_alone(lane, &track.totals, age) {
                    continue;
                }
                least = least.max(judge.least(&track.totals, tag.allocations));
            }
            track.add_to(lane, &mut blocks);
            totals.add(&track.totals);
        }
        Some((blocks, totals, least.max(judge.least(&totals, self.allocations))))
    }
}

/// What is the same for all that is judged of an owner.
pub(super) struct Judge<'a> {
    pub(super) model: &'a Holder,
    pub(super) purpose: Purpose,
    pub(super) least: f64,
    /// Whether the owner is not one that fills its budget.
    pub(super) may_tell: bool,
}

impl Judge<'_> {
    /// By how many bytes something must grow.
    fn least(&self, totals: &Totals, allocations: u64) -> f64 {
        self.least.max(FEW * totals.live[0] / allocations.max(1) as f64)
    }

    /// Says that what was told of a lane is over, if it is.
    fn note_end(&self, told: &mut Option<Told>, lane: usize, blocks: &[Block], events: &mut Vec<TagEvent>) {
        let is_over = |told: &mut Told| {
            told.lane == lane
                && survival::bytes_per_second(lane, blocks, told.age) < OVER * told.leak.bytes_per_second
        };
        events.extend(told.take_if(is_over).map(|told| TagEvent::Cleared(told.leak)));
    }

    /// Says what was found, if no more is said already; without a tag it is of the owner. Whether it was said.
    fn tell(
        &self,
        told: &mut Option<Told>,
        (tag, allocations): (Option<&str>, u64),
        lane: usize,
        finding: Finding,
        totals: &Totals,
        events: &mut Vec<TagEvent>,
    ) -> bool {
        let Finding { verdict, age, bytes_per_second } = finding;
        if !self.may_tell || told.as_ref().is_some_and(|told| told.verdict >= verdict) {
            return false;
        }
        let at = track::place(lane, age);
        let leak = TagLeak {
            model: self.model.clone(),
            purpose: self.purpose,
            tag: tag.unwrap_or_default().to_owned(),
            whole_owner: tag.is_none(),
            bytes_per_second,
            window_seconds: track::block_seconds(lane) * (KEPT - 1) as f64,
            old_bytes: ByteSize::new(totals.live[at] as u64),
            old_seconds: ages::seconds(at),
            allocations,
        };
        events.push(match verdict {
            Verdict::Retains => TagEvent::Retains(leak.clone()),
            Verdict::Leaks => TagEvent::Suspected(leak.clone()),
        });
        *told = Some(Told { verdict, lane, age, leak });
        true
    }
}
