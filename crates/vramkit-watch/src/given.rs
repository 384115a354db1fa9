//! Places on the bus of cards that a virtual machine has: there the driver `vfio-pci` holds them.
//!
//! Those that were seen at their places before, and NVIDIA's others where the machine's own virtual machines are run (`/dev/vfio` has
//! a file for each group that may be handed out, and a container has none of them).

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::Kernel;

/// A link for each device that is held for virtual machines.
const HELD: &str = "sys/bus/pci/drivers/vfio-pci";
/// A file for each group of devices that may be given to one.
const GROUPS: &str = "dev/vfio";
const NVIDIA: &str = "0x10de";
/// Display controllers; a card's sound and bridges are held beside it.
const CARD: &str = "0x03";

/// The places at which cards were seen.
#[derive(Debug, Default)]
pub(crate) struct Given(BTreeSet<String>);

impl Given {
    /// Places of cards that were given away; `places` are those of cards that are here, by id.
    pub(crate) fn look(&mut self, kernel: &Kernel, places: &BTreeMap<String, String>) -> BTreeSet<String> {
        self.0.extend(places.values().cloned());
        let hands_out = || kernel.names(GROUPS).iter().any(|name| name.parse::<u32>().is_ok());
        let says = |place: &str, file: &str, word: &str| {
            kernel.text(&format!("{HELD}/{place}/{file}")).is_ok_and(|text| text.starts_with(word))
        };
        let held = kernel.names(HELD).into_iter().filter(|place| {
            let is_card = || says(place, "vendor", NVIDIA) && says(place, "class", CARD);
            self.0.contains(place) || is_card() && hands_out()
        });
        held.collect()
    }
}
