//! One known device, and what is told as it comes, goes and is replaced.

use std::collections::BTreeMap;
use std::time::SystemTime;

use vramkit::device::Origin;
use vramkit::monitor::{DeviceName, utc};

use crate::ids::is_nameless;
use crate::judge::News;
use crate::source::DeviceClass;
use crate::tick::EventKind;

/// A tick, as far as it matters here.
pub(crate) struct Moment {
    pub(crate) time: SystemTime,
    /// Nothing was seen before: what is here is no news.
    pub(crate) is_first: bool,
}

/// The key of what each number of a source's list was, the last time that it was listed or missed.
pub(super) type Numbers = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) name: DeviceName,
    pub(super) class: DeviceClass,
    pub(super) origin: Origin,
    pub(super) source: usize,
    /// Only pools speak of it.
    pub(super) of_pools: bool,
    pub(super) state: State,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    Present,
    Lost {
        since: SystemTime,
        reason: String,
    },
    Unread {
        since: SystemTime,
        reason: String,
    },
    /// To a virtual machine.
    Given {
        since: SystemTime,
        reason: String,
    },
    /// From the user who asks.
    Barred {
        since: SystemTime,
        reason: String,
    },
}

impl State {
    /// Since when it is not there, and why.
    pub(super) fn absence(&self) -> Option<(&SystemTime, &String)> {
        match self {
            Self::Present => None,
            Self::Lost { since, reason }
            | Self::Unread { since, reason }
            | Self::Given { since, reason }
            | Self::Barred { since, reason } => Some((since, reason)),
        }
    }

    pub(super) fn since_mut(&mut self) -> Option<&mut SystemTime> {
        match self {
            Self::Present => None,
            Self::Lost { since, .. }
            | Self::Unread { since, .. }
            | Self::Given { since, .. }
            | Self::Barred { since, .. } => Some(since),
        }
    }
}

/// Whether two may be one card: neither says who it is, and both say of which model.
pub(super) fn is_same_model(one: &DeviceName, other: &DeviceName) -> bool {
    one.uuid.is_some() && other.uuid.is_some()
        || one.name == other.name
        || is_nameless(&one.name)
        || is_nameless(&other.name)
}

/// What an event says of a card that has another one's id now.
pub(crate) const IN_THE_PLACE: &str = " is here, in the place of ";

/// What is told of a device that has the id of one that is not listed any more.
pub(super) fn replaced_by(name: &DeviceName, before: Device) -> Option<(EventKind, String)> {
    let is_other = before.class.is_gpu() && name.uuid.is_some();
    match (before.state, before.name.uuid) {
        // Nobody knew more of it than its place.
        (State::Lost { since, .. }, None) => Some((
            EventKind::Back,
            format!("{} is here, where a card was lost since {}", name.name, utc(since)),
        )),
        (State::Lost { .. }, Some(uuid)) => {
            Some((EventKind::Appeared, format!("{}{IN_THE_PLACE}{uuid}, which was lost", name.name)))
        }
        (_, Some(uuid)) if is_other => Some((
            EventKind::Appeared,
            format!("{}{IN_THE_PLACE}{uuid}, which is not listed any more", name.name),
        )),
        _ => None,
    }
}

/// It is lost; news when it was not before.
pub(super) fn lost(device: &mut Device, moment: &Moment, reason: String, news: &mut Vec<News>) {
    match &mut device.state {
        // What a driver says while it has not found out is replaced by what it says then.
        State::Lost { reason: told, .. } => {
            if reason != NOT_LISTED {
                *told = reason;
            }
        }
        state => {
            news.push(News::new(
                &device.name.id,
                EventKind::Lost,
                format!("{} is lost: {reason}", device.name.name),
            ));
            *state = State::Lost { since: moment.time, reason };
        }
    }
}

/// It was given to a virtual machine, and nobody misses it; news when it was not so before.
pub(super) fn given(device: &mut Device, moment: &Moment, place: &str, news: &mut Vec<News>) {
    if !matches!(device.state, State::Given { .. }) {
        let reason = format!("at {place}, the driver vfio-pci holds it for a virtual machine");
        let words = format!("{} is given away: {reason}", device.name.name);
        news.push(News::new(&device.name.id, EventKind::Lost, words));
        device.state = State::Given { since: moment.time, reason };
    }
}

/// The user who asks may not ask it, and nobody misses it; news when it was not so before.
pub(super) fn barred(device: &mut Device, moment: &Moment, news: &mut Vec<News>) {
    if !matches!(device.state, State::Barred { .. }) {
        let reason = "the driver lets this user ask it no more".to_owned();
        let words = format!("{} is barred: {reason}", device.name.name);
        news.push(News::new(&device.name.id, EventKind::Lost, words));
        device.state = State::Barred { since: moment.time, reason };
    }
}

/// What is known of a card that is in no list.
pub(super) const NOT_LISTED: &str = "the driver does not list it any more";
