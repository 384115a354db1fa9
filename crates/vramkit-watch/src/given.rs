//! Cards that were seen at their places on the bus, and that a virtual machine has now: there the driver `vfio-pci` holds them.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::Kernel;

/// A link for each device that is held for virtual machines.
const HELD: &str = "sys/bus/pci/drivers/vfio-pci";

/// The places at which cards were seen.
#[derive(Debug, Default)]
pub(crate) struct Given(BTreeSet<String>);

impl Given {
    /// Places of cards that were given away; `places` are those of cards that are here, by id.
    pub(crate) fn look(&mut self, kernel: &Kernel, places: &BTreeMap<String, String>) -> BTreeSet<String> {
        self.0.extend(places.values().cloned());
        let is_held = |place: &&String| kernel.path(&format!("{HELD}/{place}")).exists();
        self.0.iter().filter(is_held).cloned().collect()
    }
}
