//! To which pods cards are assigned, joined with the devices that other sources list: by identity, or by place on the bus.
//!
//! An assignment says what a pod may use, not what it does: who holds memory is what the driver says. Beside each other they
//! name a pod that only its number is known of, and show a card that somebody else uses.

use std::collections::{BTreeMap, BTreeSet};

use vramkit::monitor::{PoolUse, ProcessIdentity};

use crate::source::{Assignment, DeviceReading};
use crate::tick::AssignedTo;

/// Most pods that are named in a note.
const NAMED: usize = 3;

/// Who may use which of the devices.
#[derive(Debug, Default)]
pub(crate) struct Assigned(BTreeMap<String, Vec<AssignedTo>>);

impl Assigned {
    /// Of assignments; `places` has the names of devices that are known by their place.
    pub(crate) fn of(assignments: Vec<Assignment>, places: &BTreeMap<String, String>) -> Self {
        let mut by_device: BTreeMap<String, Vec<AssignedTo>> = BTreeMap::new();
        for Assignment { device, pod, container } in assignments {
            let device = places.get(&device).cloned().unwrap_or(device);
            by_device.entry(device).or_default().push(AssignedTo { pod, container });
        }
        Self(by_device)
    }

    /// Who may use a device. Processes and pools on it whose pod is only a number get the name of the only pod that may; a note
    /// tells those whose pod may not.
    pub(crate) fn join(&self, reading: &mut DeviceReading, pools: &mut [PoolUse]) -> Vec<AssignedTo> {
        let by_uuid = reading.device.uuid.as_ref().and_then(|uuid| self.0.get(uuid));
        let Some(assigned) = by_uuid.or_else(|| self.0.get(&reading.device.id)) else { return Vec::new() };
        let may: BTreeSet<&str> = assigned.iter().map(|to| to.pod.as_str()).collect();
        let only = may.first().copied().filter(|_| may.len() == 1);
        let processes = reading.processes.value.iter_mut().flatten();
        let of_processes = processes.map(|process| &mut process.identity);
        let identities = of_processes.chain(pools.iter_mut().filter_map(|pool| pool.process.as_mut()));
        let mut others = BTreeSet::new();
        for ProcessIdentity { pod, .. } in identities {
            let Some(name) = pod else { continue };
            match only {
                Some(only) if !name.contains('/') => *pod = Some(format!("{only} (by its card)")),
                _ if name.contains('/') && !may.contains(name.as_str()) => {
                    others.insert(name.clone());
                }
                _ => {}
            }
        }
        if !others.is_empty() {
            let more = others.len().saturating_sub(NAMED);
            let names = others.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            reading
                .notes
                .push(format!("held by processes of pods that it is not assigned to: {names}{more}"));
        }
        assigned.clone()
    }
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

    fn assigned(to: &[(&str, &str)]) -> Assigned {
        let one = |(device, pod): &(&str, &str)| Assignment {
            device: (*device).to_owned(),
            pod: (*pod).to_owned(),
            container: "main".to_owned(),
        };
        let places = BTreeMap::from([("0000:c1:00.0".to_owned(), "amd:0".to_owned())]);
        Assigned::of(to.iter().map(one).collect(), &places)
    }

    fn pods(reading: &DeviceReading) -> Vec<Option<&str>> {
        let processes = reading.processes.value.as_ref().unwrap();
        processes.iter().map(|process| process.identity.pod.as_deref()).collect()
    }

    #[test]
    fn a_pod_that_is_a_number_is_named_by_the_only_one_that_may() {
        let alone = assigned(&[("GPU-1", "ml/train-0")]);
        let mut reading = card("cuda:0", Some("GPU-1"), &[Some(UID), None, Some("ml/train-0")]);
        let to = alone.join(&mut reading, &mut []);
        assert_eq!((to[0].pod.as_str(), to[0].container.as_str()), ("ml/train-0", "main"));
        assert_eq!(pods(&reading), [Some("ml/train-0 (by its card)"), None, Some("ml/train-0")]);
        assert_eq!(reading.notes, [""; 0]);
        // Of two nobody knows which.
        let shared = assigned(&[("GPU-1", "ml/train-0"), ("GPU-1", "ml/serve-0")]);
        let mut reading = card("cuda:0", Some("GPU-1"), &[Some(UID)]);
        assert_eq!(shared.join(&mut reading, &mut []).len(), 2);
        assert_eq!(pods(&reading), [Some(UID)]);
    }

    #[test]
    fn who_uses_a_card_of_somebody_else_is_told() {
        let assigned = assigned(&[("GPU-1", "ml/train-0"), ("0000:c1:00.0", "ml/amd-0")]);
        let mut reading = card("cuda:0", Some("GPU-1"), &[Some("ops/probe"), Some("ml/train-0"), None]);
        assigned.join(&mut reading, &mut []);
        assert_eq!(reading.notes, ["held by processes of pods that it is not assigned to: ops/probe"]);
        // A card that nobody is said to have may be given in ways that the kubelet does not list.
        let mut free = card("cuda:1", Some("GPU-2"), &[Some("ops/probe")]);
        assert!(assigned.join(&mut free, &mut []).is_empty() && free.notes.is_empty());
        let mut placed = card("amd:0", Some("0xabc"), &[]);
        assert_eq!(assigned.join(&mut placed, &mut [])[0].pod, "ml/amd-0");
    }
}
