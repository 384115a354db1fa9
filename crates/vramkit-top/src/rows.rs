//! The table's rows: who holds a device, or all of them, as holders, processes, pools or models; sorted and filtered.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use vramkit::ByteSize;
use vramkit::monitor::{PoolUse, ProcessIdentity, Snapshot};
use vramkit_watch::DeviceTick;

use crate::filter::Filter;
use crate::row::Row;

/// Which table is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Who holds it, whatever they are.
    #[default]
    Holders,
    /// Processes.
    Processes,
    /// Pools with their owners.
    Pools,
    /// Owners of all pools, by model.
    Models,
}

/// By what the table is sorted. What has no such thing comes last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Most bytes first.
    #[default]
    Bytes,
    /// By name.
    Name,
    /// By whose it is, most bytes first.
    User,
    /// By model, most bytes first.
    Model,
    /// By pod or container, most bytes first.
    Pod,
}

impl Sort {
    /// The next one.
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Bytes => Self::Name,
            Self::Name => Self::User,
            Self::User => Self::Model,
            Self::Model => Self::Pod,
            Self::Pod => Self::Bytes,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Name => "name",
            Self::User => "user",
            Self::Model => "model",
            Self::Pod => "pod",
        }
    }
}

/// The rows of these devices.
pub(crate) fn rows<'a>(
    devices: impl IntoIterator<Item = &'a DeviceTick>,
    view: View,
    sort: Sort,
    filter: &Filter,
) -> Vec<Row> {
    // Each with its parts.
    let mut groups: Vec<(Row, Vec<Row>)> = Vec::new();
    for device in devices {
        match view {
            View::Holders => groups.extend(holders(device).map(alone)),
            View::Processes => groups.extend(processes(&device.snapshot).map(alone)),
            View::Pools => {
                groups.extend(device.snapshot.pools.iter().map(|pool| pool_rows(&device.snapshot, pool)))
            }
            View::Models => groups.extend(models(&device.snapshot).into_iter().map(alone)),
        }
    }
    groups.sort_by(|(a, _), (b, _)| {
        let more_bytes = || Reverse(a.bytes).cmp(&Reverse(b.bytes));
        let by =
            |a: Option<&str>, b: Option<&str>| (a.is_none(), a).cmp(&(b.is_none(), b)).then_with(more_bytes);
        let order = match sort {
            Sort::Bytes => more_bytes(),
            Sort::Name => a.name.cmp(&b.name),
            Sort::User => by(a.identity.user.as_deref(), b.identity.user.as_deref()),
            Sort::Model => by(a.model.as_deref(), b.model.as_deref()),
            Sort::Pod => by(a.place(), b.place()),
        };
        order.then_with(|| a.key().cmp(&b.key()))
    });
    let shown = groups.into_iter().flat_map(|(row, mut parts)| {
        parts.retain(|part| filter.admits(part));
        let is_shown = filter.admits(&row) || !parts.is_empty();
        is_shown.then_some(row).into_iter().chain(parts)
    });
    shown.collect()
}

fn alone(row: Row) -> (Row, Vec<Row>) {
    (row, Vec::new())
}

fn row(snapshot: &Snapshot, name: String) -> Row {
    Row {
        device: snapshot.device.id.clone(),
        name,
        detail: String::new(),
        bytes: None,
        pid: None,
        program: None,
        identity: ProcessIdentity::default(),
        model: None,
        read: snapshot.time,
        is_part: false,
    }
}

/// What a process's program is called, where its source says.
fn program(snapshot: &Snapshot, pid: u32) -> Option<String> {
    let mut processes = snapshot.processes.value.iter().flatten();
    processes.find(|process| process.pid == pid)?.name.value.clone()
}

/// The models in a process's pools.
fn models_of(snapshot: &Snapshot, pid: u32) -> Option<String> {
    let pools = snapshot.pools.iter().filter(|pool| pool.pid == pid);
    listed(pools.flat_map(|pool| &pool.owners).map(|owner| owner.model.as_str()))
}

/// Each once, in order; `None` of nothing.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: std::collections::BTreeSet<&str> = names.collect();
    (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(", "))
}

fn holders(device: &DeviceTick) -> impl Iterator<Item = Row> {
    let snapshot = &device.snapshot;
    let total = snapshot.usage.total_bytes.value.filter(|total| !total.is_zero());
    // A holder is named by its model and purpose.
    let owners = snapshot.pools.iter().flat_map(|pool| &pool.owners);
    let models: BTreeMap<String, &str> =
        owners.map(|owner| (format!("{} {}", owner.model, owner.purpose), owner.model.as_str())).collect();
    device.holders.iter().map(move |holder| Row {
        detail: total.map_or(String::new(), |total| format!("{:.1} %", 100.0 * holder.bytes.ratio_of(total))),
        bytes: Some(holder.bytes),
        pid: holder.pid,
        program: holder.pid.and_then(|pid| program(snapshot, pid)),
        identity: holder.identity.clone(),
        model: match models.get(&holder.name) {
            Some(model) => Some((*model).to_owned()),
            None => holder.pid.and_then(|pid| models_of(snapshot, pid)),
        },
        ..row(snapshot, holder.name.clone())
    })
}

fn processes(snapshot: &Snapshot) -> impl Iterator<Item = Row> {
    snapshot.processes.value.iter().flatten().map(|process| Row {
        detail: process.peak_bytes.value.map_or(String::new(), |peak| format!("peak {peak}")),
        bytes: process.used_bytes.value,
        pid: Some(process.pid),
        program: process.name.value.clone(),
        identity: process.identity.clone(),
        model: models_of(snapshot, process.pid),
        ..row(snapshot, format!("{} {}", process.pid, process.name))
    })
}

fn pool_rows(snapshot: &Snapshot, pool: &PoolUse) -> (Row, Vec<Row>) {
    let stats = &pool.stats;
    let of_process = |name: String| Row {
        pid: Some(pool.pid),
        program: program(snapshot, pool.pid),
        identity: pool.process.clone().unwrap_or_default(),
        ..row(snapshot, name)
    };
    let of_pool = Row {
        detail: format!(
            "of {}, {} held, {:.0} % fragmented, {} refused",
            stats.capacity_bytes,
            stats.committed_bytes,
            100.0 * stats.external_fragmentation_ratio(),
            stats.failures
        ),
        bytes: Some(stats.used_bytes),
        model: listed(pool.owners.iter().map(|owner| owner.model.as_str())),
        ..of_process(format!("{} (pid {})", pool.name, pool.pid))
    };
    let parts = pool.ledger.iter().map(|entry| Row {
        detail: format!("{} allocations", entry.allocations),
        bytes: Some(entry.granted_bytes),
        model: Some(entry.model.to_string()),
        is_part: true,
        ..of_process(format!("{} {} {}", entry.model, entry.purpose, entry.tag))
    });
    (of_pool, parts.collect())
}

fn models(snapshot: &Snapshot) -> Vec<Row> {
    #[derive(Default)]
    struct Model<'a> {
        bytes: ByteSize,
        parts: BTreeMap<String, ByteSize>,
        pools: Vec<&'a PoolUse>,
    }
    let mut models: BTreeMap<&str, Model<'_>> = BTreeMap::new();
    for pool in &snapshot.pools {
        for owner in &pool.owners {
            let model = models.entry(owner.model.as_str()).or_default();
            model.bytes = model.bytes.saturating_add(owner.granted_bytes);
            let part = model.parts.entry(owner.purpose.to_string()).or_default();
            *part = part.saturating_add(owner.granted_bytes);
            model.pools.push(pool);
        }
    }
    let rows = models.into_iter().map(|(name, model)| {
        let whose = |of: fn(&ProcessIdentity) -> Option<&str>| {
            listed(model.pools.iter().filter_map(|pool| of(pool.process.as_ref()?)))
        };
        let first = model.pools.first().map(|pool| pool.pid);
        let pid = first.filter(|pid| model.pools.iter().all(|pool| pool.pid == *pid));
        let mut parts: Vec<(String, ByteSize)> = model.parts.into_iter().collect();
        parts.sort_by_key(|(_, bytes)| Reverse(*bytes));
        let parts: Vec<String> = parts.into_iter().map(|(name, bytes)| format!("{name} {bytes}")).collect();
        Row {
            detail: parts.join(", "),
            bytes: Some(model.bytes),
            pid,
            program: pid.and_then(|pid| program(snapshot, pid)),
            identity: ProcessIdentity {
                user: whose(|identity| identity.user.as_deref()),
                command: whose(|identity| identity.command.as_deref()),
                container: whose(|identity| identity.container.as_deref()),
                pod: whose(|identity| identity.pod.as_deref()),
                job: whose(|identity| identity.job.as_deref()),
            },
            model: Some(name.to_owned()),
            ..row(snapshot, name.to_owned())
        }
    });
    rows.collect()
}
