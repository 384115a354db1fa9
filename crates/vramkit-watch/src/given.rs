//! Places on the bus of cards that a virtual machine has: there the driver `vfio-pci` holds them.
//!
//! Those that were seen at their places before, and others of a make where the machine's own virtual machines are run (`/dev/vfio` has
//! a file for each group that may be handed out, and a container has none of them).

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::Kernel;

/// A link for each device that is held for virtual machines.
const HELD: &str = "sys/bus/pci/drivers/vfio-pci";
/// A file for each group of devices that may be given to one.
const GROUPS: &str = "dev/vfio";
/// Makes, as the bus numbers them.
pub(crate) const NVIDIA: &str = "0x10de";
pub(crate) const AMD: &str = "0x1002";
/// Display controllers; a card's sound and bridges are held beside it.
const CARD: &str = "0x03";

/// See the module's first lines.
#[derive(Debug)]
pub(crate) struct Given {
    make: &'static str,
    /// The places at which cards were seen.
    seen: BTreeSet<String>,
}

impl Given {
    /// Of a make's cards.
    pub(crate) fn of(make: &'static str) -> Self {
        Self { make, seen: BTreeSet::new() }
    }

    /// Places of cards that were given away; `places` are those of cards that are here, by id.
    pub(crate) fn look(&mut self, kernel: &Kernel, places: &BTreeMap<String, String>) -> BTreeSet<String> {
        self.seen.extend(places.values().cloned());
        let hands_out = || kernel.names(GROUPS).iter().any(|name| name.parse::<u32>().is_ok());
        let says = |place: &str, file: &str, word: &str| {
            kernel.text(&format!("{HELD}/{place}/{file}")).is_ok_and(|text| text.starts_with(word))
        };
        let held = kernel.names(HELD).into_iter().filter(|place| {
            let is_card = || says(place, "vendor", self.make) && says(place, "class", CARD);
            self.seen.contains(place) || is_card() && hands_out()
        });
        held.collect()
    }
}
