//! To which pods cards are assigned, joined with the devices that other sources list: by identity, or by place on the bus.
//!
//! An assignment says what a pod may use, not what it does: who holds memory is what the driver says. Beside each other they
//! name a pod that only its number is known of, and show a card that somebody else uses.

use std::collections::{BTreeMap, BTreeSet};

use vramkit::monitor::{PoolUse, ProcessIdentity};

use crate::source::{Assignment, DeviceReading, Unavailable};
use crate::tick::AssignedTo;

/// Most pods that are named in a note.
const NAMED: usize = 3;

/// Who may use which of the devices.
#[derive(Debug, Default)]
pub(crate) struct Assigned {
    /// By what the kubelet calls the device.
    to: BTreeMap<String, Vec<AssignedTo>>,
    /// What it calls each device that is listed, by id.
    called: BTreeMap<String, String>,
    /// Names of pods that are known by their UID, where their cards leave one.
    names: BTreeMap<String, String>,
}

impl Assigned {
    /// Of assignments, and all devices with the pools on them; `places` has those of devices that are known by their place.
    pub(crate) fn of(
        assignments: Vec<Assignment>,
        places: &BTreeMap<String, String>,
        devices: &[(DeviceReading, Vec<PoolUse>)],
    ) -> Self {
        let mut assigned = Self::default();
        for Assignment { device, pod, container } in assignments {
            assigned.to.entry(device).or_default().push(AssignedTo { pod, container });
        }
        if assigned.to.is_empty() {
            return assigned;
        }
        for (DeviceReading { device, .. }, _) in devices {
            let names = device.uuid.iter().chain(places.get(&device.id));
            let called = names.into_iter().find(|name| assigned.to.contains_key(*name)).cloned();
            assigned.called.extend(called.map(|called| (device.id.clone(), called)));
        }
        assigned.names = assigned.names(devices);
        assigned
    }

    fn to(&self, device: &str) -> &[AssignedTo] {
        self.called.get(device).and_then(|called| self.to.get(called)).map_or(&[], Vec::as_slice)
    }

    /// The names of pods' UIDs: of each the only pod that may use all cards that it is on, where every UID on these cards can be
    /// another pod, and no two are the same.
    fn names(&self, devices: &[(DeviceReading, Vec<PoolUse>)]) -> BTreeMap<String, String> {
        let mut may_be: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (reading, pools) in devices {
            let mut may = names_of(self.to(&reading.device.id));
            if may.is_empty() {
                continue;
            }
            let on_it: BTreeSet<&str> = pods_on(reading, pools).collect();
            let (named, numbers): (BTreeSet<&str>, BTreeSet<&str>) =
                on_it.into_iter().partition(|pod| is_name(pod));
            may.retain(|pod| !named.contains(pod));
            if may.len() < numbers.len() {
                // One of them at least may not, and which it is nobody says.
                may.clear();
            }
            for uid in numbers {
                may_be
                    .entry(uid)
                    .and_modify(|pods| pods.retain(|pod| may.contains(pod)))
                    .or_insert_with(|| may.clone());
            }
        }
        let only = may_be.iter().filter(|(_, pods)| pods.len() == 1);
        let only: Vec<(&str, &str)> = only.filter_map(|(uid, pods)| Some((*uid, *pods.first()?))).collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        only.iter().for_each(|(_, pod)| *counts.entry(pod).or_default() += 1);
        let once = only.into_iter().filter(|(_, pod)| counts[pod] == 1);
        once.map(|(uid, pod)| (uid.to_owned(), pod.to_owned())).collect()
    }

    /// Who may use a device. Processes and pools on it whose pod is only a number get its name, where that follows; a note tells of
    /// those whose pod may not.
    pub(crate) fn join(&self, reading: &mut DeviceReading, pools: &mut [PoolUse]) -> Vec<AssignedTo> {
        let assigned = self.to(&reading.device.id);
        let may = names_of(assigned);
        let on_it: BTreeSet<String> = pods_on(reading, pools).map(str::to_owned).collect();
        let named = |pod: &String| self.names.get(pod).unwrap_or(pod).clone();
        let (names, numbers): (BTreeSet<String>, BTreeSet<String>) =
            on_it.iter().map(named).partition(|pod| is_name(pod));
        if !may.is_empty() {
            let others: Vec<&str> =
                names.iter().map(String::as_str).filter(|pod| !may.contains(pod)).collect();
            if !others.is_empty() {
                let more = others.len().saturating_sub(NAMED);
                let shown = others[..others.len().min(NAMED)].join(", ");
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let told = format!("held by processes of pods that it is not assigned to: {shown}{more}");
                reading.notes.push(told);
            }
            let left = may.iter().filter(|pod| !names.contains(**pod)).count();
            if numbers.len() > left {
                reading.notes.push(format!(
                    "held by processes of {} pods of unknown name, of which {left} can be of the {} that it is assigned to",
                    numbers.len(),
                    may.len()
                ));
            }
        }
        let processes = reading.processes.value.iter_mut().flatten().map(|process| &mut process.identity);
        for ProcessIdentity { pod, .. } in
            processes.chain(pools.iter_mut().filter_map(|pool| pool.process.as_mut()))
        {
            if let Some(name) = pod.as_ref().and_then(|pod| self.names.get(pod)) {
                *pod = Some(format!("{name} (by its card)"));
            }
        }
        assigned.to_vec()
    }

    /// What is assigned and is none of the devices that are listed.
    pub(crate) fn nowhere(&self) -> Option<Unavailable> {
        let called: BTreeSet<&String> = self.called.values().collect();
        let nowhere = self.to.keys().filter(|device| !called.contains(device)).count();
        let reason = format!("{nowhere} assigned devices are none of those that are listed here");
        (nowhere > 0).then(|| Unavailable { source: "kubelet".to_owned(), reason })
    }
}

fn names_of(assigned: &[AssignedTo]) -> BTreeSet<&str> {
    assigned.iter().map(|to| to.pod.as_str()).collect()
}

/// The pods of all that is on a device: `namespace/name`, or a UID.
fn pods_on<'a>(reading: &'a DeviceReading, pools: &'a [PoolUse]) -> impl Iterator<Item = &'a str> {
    let processes = reading.processes.value.iter().flatten().map(|process| &process.identity);
    let identities = processes.chain(pools.iter().filter_map(|pool| pool.process.as_ref()));
    identities.filter_map(|identity| identity.pod.as_deref())
}

/// Whether a pod is known by its name: a UID has no namespace.
fn is_name(pod: &str) -> bool {
    pod.contains('/')
}

#[cfg(test)]
mod tests {
    use vramkit::ByteSize;
    use vramkit::device::{Origin, Reading};
    use vramkit::monitor::{DeviceName, ProcessUse, Usage};

    use super::*;
    use crate::source::DeviceClass;

    const UID: &str = "11111111-2222-3333-4444-555555555555";

    fn card(id: &str, uuid: Option<&str>, pods: &[Option<&str>]) -> DeviceReading {
        let process = |(pid, pod): (u32, &Option<&str>)| ProcessUse {
            pid,
            name: Reading::unavailable(Origin::System, "not scripted"),
            identity: ProcessIdentity { pod: pod.map(str::to_owned), ..ProcessIdentity::default() },
            used_bytes: Reading::known(ByteSize::gib(1), Origin::Nvml),
            peak_bytes: Reading::unavailable(Origin::Nvml, "not scripted"),
        };
        DeviceReading {
            device: DeviceName { id: id.into(), name: "a card".into(), uuid: uuid.map(str::to_owned) },
            class: DeviceClass::Gpu,
            activity: None,
            usage: Usage::unavailable(Origin::Nvml, "not scripted"),
            processes: Reading::known((1..).zip(pods).map(process).collect(), Origin::Nvml),
            stall: None,
            shared_bytes: None,
            notes: Vec::new(),
        }
    }

    /// The devices, joined with what is assigned; what is said beside them.
    fn joined(
        to: &[(&str, &str)],
        devices: Vec<DeviceReading>,
    ) -> (Vec<(DeviceReading, Vec<AssignedTo>)>, Option<Unavailable>) {
        let one = |(device, pod): &(&str, &str)| Assignment {
            device: (*device).to_owned(),
            pod: (*pod).to_owned(),
            container: "main".to_owned(),
        };
        let places = BTreeMap::from([("amd:0".to_owned(), "0000:c1:00.0".to_owned())]);
        let devices: Vec<_> = devices.into_iter().map(|device| (device, Vec::new())).collect();
        let assigned = Assigned::of(to.iter().map(one).collect(), &places, &devices);
        let join = |(mut reading, _): (DeviceReading, Vec<PoolUse>)| {
            let to = assigned.join(&mut reading, &mut []);
            (reading, to)
        };
        (devices.into_iter().map(join).collect(), assigned.nowhere())
    }

    fn pods(reading: &DeviceReading) -> Vec<Option<&str>> {
        let processes = reading.processes.value.as_ref().unwrap();
        processes.iter().map(|process| process.identity.pod.as_deref()).collect()
    }

    const OTHER: &str = "22222222-2222-3333-4444-555555555555";

    #[test]
    fn a_pod_that_is_a_number_is_named_by_the_only_one_that_may() {
        let (found, _) =
            joined(&[("GPU-1", "ml/train-0")], vec![card("cuda:0", Some("GPU-1"), &[Some(UID), None])]);
        let (reading, to) = &found[0];
        assert_eq!((to[0].pod.as_str(), to[0].container.as_str()), ("ml/train-0", "main"));
        assert_eq!(pods(reading), [Some("ml/train-0 (by its card)"), None]);
        assert_eq!(reading.notes, [""; 0]);
        // Of two nobody knows which, unless another card says so; what is named so is on every card.
        let shared = [("GPU-1", "ml/train-0"), ("GPU-1", "ml/serve-0")];
        let first = card("cuda:0", Some("GPU-1"), &[Some(UID)]);
        assert_eq!(pods(&joined(&shared, vec![first.clone()]).0[0].0), [Some(UID)]);
        let more = [shared[0], shared[1], ("GPU-2", "ml/serve-0")];
        let others = vec![
            first,
            card("cuda:1", Some("GPU-2"), &[Some(UID)]),
            card("cuda:2", Some("GPU-3"), &[Some(UID)]),
        ];
        for (reading, _) in joined(&more, others).0 {
            assert_eq!(pods(&reading), [Some("ml/serve-0 (by its card)")]);
        }
    }

    #[test]
    fn a_name_that_cannot_be_is_not_given() {
        let named = |to: &[(&str, &str)], devices| {
            joined(to, devices).0.into_iter().map(|(reading, _)| reading).collect::<Vec<_>>()
        };
        // Two pods on a card of one.
        let two = &named(
            &[("GPU-1", "ml/train-0")],
            vec![card("cuda:0", Some("GPU-1"), &[Some(UID), Some(OTHER)])],
        )[0];
        assert_eq!(pods(two), [Some(UID), Some(OTHER)]);
        assert!(
            two.notes[0].starts_with("held by processes of 2 pods of unknown name, of which 1 can be"),
            "{:?}",
            two.notes
        );
        // One beside the pod itself.
        let beside = &named(
            &[("GPU-1", "ml/train-0")],
            vec![card("cuda:0", Some("GPU-1"), &[Some(UID), Some("ml/train-0")])],
        )[0];
        assert_eq!((pods(beside)[0], beside.notes.len()), (Some(UID), 1));
        // One pod on the cards of two.
        let cards =
            vec![card("cuda:0", Some("GPU-1"), &[Some(UID)]), card("cuda:1", Some("GPU-2"), &[Some(UID)])];
        for reading in named(&[("GPU-1", "a/one"), ("GPU-2", "b/two")], cards) {
            assert_eq!(pods(&reading), [Some(UID)]);
        }
        // Two pods, each on a card of the same one.
        let cards =
            vec![card("cuda:0", Some("GPU-1"), &[Some(UID)]), card("cuda:1", Some("GPU-2"), &[Some(OTHER)])];
        for reading in named(&[("GPU-1", "a/one"), ("GPU-2", "a/one")], cards) {
            assert!(matches!(pods(&reading)[..], [Some(UID | OTHER)]));
        }
    }

    #[test]
    fn who_uses_a_card_of_somebody_else_is_told() {
        let devices = vec![
            card("cuda:0", Some("GPU-1"), &[Some("ops/probe"), Some("ml/train-0"), None]),
            // A card that nobody is said to have may be given in ways that the kubelet does not list.
            card("cuda:1", Some("GPU-2"), &[Some("ops/probe")]),
            card("amd:0", Some("0xabc"), &[]),
        ];
        let to = [
            ("GPU-1", "ml/train-0"),
            ("0000:c1:00.0", "ml/amd-0"),
            ("GPU-777", "ml/far-0"),
            ("GPU-1-_-4", "ml/x-0"),
        ];
        let (found, nowhere) = joined(&to, devices);
        assert_eq!(found[0].0.notes, ["held by processes of pods that it is not assigned to: ops/probe"]);
        assert!(found[1].1.is_empty() && found[1].0.notes.is_empty());
        assert_eq!(found[2].1[0].pod, "ml/amd-0");
        assert!(nowhere.unwrap().reason.starts_with("2 assigned devices are none"));
    }
}
