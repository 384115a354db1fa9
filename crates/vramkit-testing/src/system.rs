//! A scripted machine: a folder whose `proc` and `sys` stand for the kernel's, with main memory, control groups, cards of
//! AMD's and processes.
//!
//! Sources read it by their root (`AmdSource::at`), the program by `VRAMKIT_SYSTEM_ROOT`. What is written here has the form of
//! the kernel's files; anything else is [`put`](SystemTree::put).
//!
//! ```
//! use vramkit::ByteSize;
//! use vramkit_testing::system::{ScriptedGroup, SystemTree};
//!
//! let folder = std::env::temp_dir().join(format!("machine-{}", std::process::id()));
//! let machine = SystemTree::at(&folder);
//! machine.memory(ByteSize::gib(64), ByteSize::gib(48));
//! machine.group("/system.slice/a.service", ScriptedGroup { max: Some(ByteSize::mib(64)), ..Default::default() });
//! assert!(folder.join("sys/fs/cgroup/system.slice/a.service/memory.max").exists());
//! # std::fs::remove_dir_all(folder).unwrap();
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use vramkit::ByteSize;

/// See the module's first lines. Every method panics where the folder cannot be written.
///
/// ```
/// let folder = std::env::temp_dir().join(format!("empty-machine-{}", std::process::id()));
/// vramkit_testing::system::SystemTree::at(&folder).put("proc/loadavg", "0 0 0 1/1 1");
/// assert!(folder.join("proc/loadavg").exists());
/// # std::fs::remove_dir_all(folder).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct SystemTree {
    root: PathBuf,
}

/// A control group of version 2.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScriptedGroup {
    /// Its limit; none when not given.
    pub max: Option<ByteSize>,
    /// From where on it is slowed down.
    pub high: Option<ByteSize>,
    /// What it holds, page cache included.
    pub current: ByteSize,
    /// Page cache that is in use, that is not, and that is to be written first.
    pub active_file: ByteSize,
    /// See `active_file`.
    pub inactive_file: ByteSize,
    /// See `active_file`.
    pub file_dirty: ByteSize,
    /// What the kernel could give up of its own.
    pub slab_reclaimable: ByteSize,
}

/// A card of AMD's.
#[derive(Clone, Debug)]
pub struct ScriptedCard<'a> {
    /// Its place on the bus: `0000:c5:00.0`.
    pub bus: &'a str,
    /// What it is called.
    pub name: &'a str,
    /// Total and used.
    pub vram: [ByteSize; 2],
    /// Total and used.
    pub gtt: [ByteSize; 2],
    /// The number in `/dev/dri/renderD128`.
    pub render: u32,
}

impl SystemTree {
    /// In a folder, which is made.
    pub fn at(root: &Path) -> Self {
        let tree = Self { root: root.to_owned() };
        tree.put("proc/self/cgroup", "0::/\n");
        tree
    }

    /// The folder: what `VRAMKIT_SYSTEM_ROOT` is set to.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file, with its folders.
    pub fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.root.join(path);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Removes a file, or a folder with all that is in it.
    pub fn remove(&self, path: &str) {
        let path = self.root.join(path);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Main memory: all of it, and what could be had.
    pub fn memory(&self, total: ByteSize, available: ByteSize) {
        let kib = |size: ByteSize| size.bytes() >> 10;
        self.put(
            "proc/meminfo",
            format!("MemTotal: {} kB\nMemFree: 1 kB\nMemAvailable: {} kB\n", kib(total), kib(available)),
        );
    }

    /// A control group of version 2, which readers are then in.
    pub fn group(&self, path: &str, group: ScriptedGroup) {
        let path = path.trim_end_matches('/');
        let folder = format!("sys/fs/cgroup{path}");
        let limit = |limit: Option<ByteSize>| {
            limit.map_or_else(|| "max\n".to_owned(), |limit| format!("{}\n", limit.bytes()))
        };
        self.put("proc/self/cgroup", format!("0::{}\n", if path.is_empty() { "/" } else { path }));
        self.put(&format!("{folder}/memory.max"), limit(group.max));
        self.put(&format!("{folder}/memory.high"), limit(group.high));
        self.put(&format!("{folder}/memory.current"), format!("{}\n", group.current.bytes()));
        let stat = [
            ("file", group.active_file.saturating_add(group.inactive_file)),
            ("file_dirty", group.file_dirty),
            ("file_writeback", ByteSize::ZERO),
            ("inactive_file", group.inactive_file),
            ("active_file", group.active_file),
            ("slab_reclaimable", group.slab_reclaimable),
        ];
        let stat: String = stat.iter().map(|(name, size)| format!("{name} {}\n", size.bytes())).collect();
        self.put(&format!("{folder}/memory.stat"), stat);
    }

    /// A card, as `/sys/class/drm/cardNUMBER`.
    #[cfg(unix)]
    pub fn amd_card(&self, number: u32, card: &ScriptedCard<'_>) {
        let folder = format!("sys/devices/pci0000:00/{}", card.bus);
        let put = |name: &str, text: String| self.put(&format!("{folder}/{name}"), text + "\n");
        put("vendor", "0x1002".to_owned());
        put("product_name", card.name.to_owned());
        for (memory, sizes) in [("vram", card.vram), ("gtt", card.gtt)] {
            put(&format!("mem_info_{memory}_total"), sizes[0].bytes().to_string());
            put(&format!("mem_info_{memory}_used"), sizes[1].bytes().to_string());
        }
        put("unique_id", format!("{number:016x}"));
        put(&format!("drm/renderD{}/dev", card.render), format!("226:{}", card.render));
        let link = self.root.join(format!("sys/class/drm/card{number}/device"));
        if !link.exists() {
            let target = format!("../../../devices/pci0000:00/{}", card.bus);
            let made = link.parent().map_or(Ok(()), fs::create_dir_all);
            made.and_then(|()| std::os::unix::fs::symlink(target, &link))
                .unwrap_or_else(|error| panic!("{}: {error}", link.display()));
        }
    }

    /// A process: its name, and the group it is in.
    pub fn process(&self, pid: u32, name: &str) {
        self.put(&format!("proc/{pid}/comm"), format!("{name}\n"));
        self.put(&format!("proc/{pid}/stat"), format!("{pid} ({name}) S{}\n", " 0".repeat(20)));
        self.put(&format!("proc/{pid}/cgroup"), "0::/\n");
        self.put(&format!("proc/{pid}/fdinfo/0"), "pos:\t0\n");
    }

    /// An open file of a process on a card of AMD's: a client's, with what it holds.
    pub fn opens(&self, pid: u32, file: u32, bus: &str, client: u64, vram: ByteSize, gtt: ByteSize) {
        let mut text = format!("pos:\t0\ndrm-driver:\tamdgpu\ndrm-pdev:\t{bus}\ndrm-client-id:\t{client}\n");
        for (memory, size) in [("vram", vram), ("gtt", gtt)] {
            for figure in ["memory", "resident"] {
                text += &format!("drm-{figure}-{memory}:\t{} KiB\n", size.bytes() >> 10);
            }
        }
        self.put(&format!("proc/{pid}/fdinfo/{file}"), text);
    }

    /// What AMD's compute driver says a process holds of the card that it numbers so.
    pub fn computes(&self, pid: u32, gpu_id: u64, bytes: ByteSize) {
        self.put(&format!("sys/class/kfd/kfd/proc/{pid}/vram_{gpu_id}"), format!("{}\n", bytes.bytes()));
    }

    /// A node of the compute driver's: its number, the card's render node, and how many processor cores it has beside SIMDs.
    pub fn compute_node(&self, node: u32, gpu_id: u64, render: u32, cpu_cores: u32) {
        let folder = format!("sys/class/kfd/kfd/topology/nodes/{node}");
        self.put(&format!("{folder}/gpu_id"), format!("{gpu_id}\n"));
        self.put(
            &format!("{folder}/properties"),
            format!("cpu_cores_count {cpu_cores}\nsimd_count 80\ndrm_render_minor {render}\ndomain 0\n"),
        );
    }
}
