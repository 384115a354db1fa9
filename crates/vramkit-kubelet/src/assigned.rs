//! Which device each container has, by what the device's own source calls it: an identity (`GPU-…`, `MIG-…`) or a place on the bus.

use std::borrow::Cow;
use std::collections::BTreeSet;

use vramkit::monitor::text::{NAME, WORDS, clean};
use vramkit_watch::Assignment;

use crate::messages::{Claimed, PodList};

/// Most that are kept: 256 devices with 48 copies each.
const MOST: usize = 12_288;

/// What is assigned, and in words what of it names no device that another source could know.
pub(crate) fn of(list: PodList) -> (Vec<Assignment>, Vec<String>) {
    let mut assigned = BTreeSet::new();
    let (mut nameless, mut claimed, mut over) = (0u64, 0u64, 0u64);
    for pod in list.pods {
        // A namespace's name may have 63 characters and a pod's 253.
        let name = clean(&format!("{}/{}", text(&pod.namespace), text(&pod.name)), WORDS).into_owned();
        for container in pod.containers {
            let container_name = clean(&text(&container.name), NAME).into_owned();
            let ids = container.devices.iter().filter(|devices| is_gpu(&text(&devices.resource)));
            for id in ids.flat_map(|devices| &devices.ids) {
                let Some(device) = device(&text(id)) else {
                    nameless += 1;
                    continue;
                };
                if assigned.len() == MOST {
                    over += 1;
                    continue;
                }
                // A container that has two copies of a card has that card.
                assigned.insert(Assignment { device, pod: name.clone(), container: container_name.clone() });
            }
            let claims = container.claims.iter().flat_map(|claim| &claim.devices);
            let of_gpu = |claimed: &&Claimed| {
                let names = claimed.parts.iter().map(|part| &part.name).chain([&claimed.driver]);
                names.into_iter().any(|name| text(name).contains("gpu"))
            };
            claimed += claims.filter(of_gpu).count() as u64;
        }
    }
    let mut unknown = Vec::new();
    if nameless > 0 {
        unknown.push(format!("{nameless} assigned devices have names of their plugin's, not identities: whose they are is not known"));
    }
    if claimed > 0 {
        unknown.push(format!("{claimed} devices are given by claims, under names that only the cluster knows: whose they are is not known"));
    }
    if over > 0 {
        unknown.push(format!("{over} assignments more than {MOST} are not followed"));
    }
    (assigned.into_iter().collect(), unknown)
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Whether a kind of devices is that of cards: `nvidia.com/gpu.shared`, `nvidia.com/mig-1g.10gb`, `amd.com/gpu`, `aliyun.com/gpu-mem`.
fn is_gpu(resource: &str) -> bool {
    let name = resource.rsplit('/').next().unwrap_or_default();
    name.contains("gpu") || name.starts_with("mig-")
}

/// The identity in a plugin's name: `GPU-…::3` is the fourth copy of one; `0000:c1:00.0` a place on the bus.
fn device(id: &str) -> Option<String> {
    let id = id.split("::").next()?;
    let is_place = || {
        let mut parts = id.split([':', '.']);
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        parts.clone().count() == 4 && parts.all(is_number)
    };
    let is_identity = id.starts_with("GPU-") || id.starts_with("MIG-");
    (id.len() <= NAME && (is_identity || is_place())).then(|| clean(id, NAME).into_owned())
}
