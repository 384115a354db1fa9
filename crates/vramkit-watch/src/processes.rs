//! Whose process is this? From `/proc`, the names of users and the folders of Kubernetes' logs, kept for as long as the
//! process lives, because reading them costs more than everything else in a tick.
//!
//! ```text
//! stat (every few ticks) ──► is it still that process, is it still called so? ──no──► status, cmdline, cgroup, environ
//!                                                                                    └─► user, command, container, pod, job
//! ```
//!
//! Names and command lines are the processes' own, and cleaned here. Reading `cmdline` and `environ` locks the process's memory,
//! which one that is stuck in a driver may hold for ever: who has not answered is looked at again at the next tick.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use vramkit::device::{Origin, Reading};
use vramkit::monitor::ProcessIdentity;
use vramkit::monitor::text::{NAME, WORDS, clean};

use crate::environment::Environment;
use crate::groups::{container, pod, slurm_job};
use crate::slow::{Patience, Slow};
use crate::users::{PodNames, UserNames};

/// Ticks after which an entry is looked at again: numbers are given to new processes, and processes rename themselves.
const FRESH: u64 = 8;
/// Ticks for which one that nobody asks for is remembered.
const REMEMBERED: u64 = 16;
/// Entries kept.
const MOST: usize = 8192;
/// Most bytes of a file, and of an environment.
const FILE: u64 = 64 << 10;
const ENVIRONMENT: u64 = 256 << 10;

/// See the module's first lines.
///
/// ```
/// use vramkit_watch::Processes;
///
/// let mut processes = Processes::default();
/// processes.begin();
/// let (name, _identity) = processes.describe(std::process::id());
/// assert!(name.value.is_some() || name.unavailable.is_some());
/// ```
#[derive(Debug)]
pub struct Processes {
    root: PathBuf,
    known: HashMap<u32, Known>,
    users: UserNames,
    pods: PodNames,
    /// By number and start.
    slow: Patience<(u32, u64), Memory>,
    tick: u64,
}

#[derive(Clone, Debug)]
struct Known {
    started: Option<u64>,
    name: Reading<String>,
    identity: ProcessIdentity,
    environment: Environment,
    looked: u64,
    seen: u64,
    /// Whether it has not answered.
    is_open: bool,
}

impl Known {
    /// Whether it need not be looked at at a tick: not all of them are in the same one.
    fn stands(&self, tick: u64) -> bool {
        if self.is_open { self.seen == tick } else { tick - self.looked < FRESH }
    }
}

/// What a process keeps in its own memory, as far as it may be read.
#[derive(Debug)]
struct Memory {
    line: Option<Vec<u8>>,
    environment: Option<Vec<u8>>,
}

impl Default for Processes {
    fn default() -> Self {
        Self::at(&crate::kernel::system_root())
    }
}

impl Processes {
    /// Reads `proc`, `etc/passwd` and `var/log/pods` below `root`.
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            known: HashMap::new(),
            users: UserNames::at(root),
            pods: PodNames::at(root),
            slow: Patience::default(),
            tick: 0,
        }
    }

    /// A new tick begins: what was not asked for in the last ones is forgotten.
    pub fn begin(&mut self) {
        self.tick += 1;
        let tick = self.tick;
        self.known.retain(|_, known| tick - known.seen < REMEMBERED);
        self.users.begin();
        self.pods.begin();
        self.slow.begin();
    }

    /// A process's name, and whose it is.
    pub fn describe(&mut self, pid: u32) -> (Reading<String>, ProcessIdentity) {
        let known = self.known(pid);
        (known.name.clone(), known.identity.clone())
    }

    /// What its environment said of cards when it began.
    pub(crate) fn environment(&mut self, pid: u32) -> Environment {
        self.known(pid).environment.clone()
    }

    /// The name of a user: the number where there is none.
    pub(crate) fn user(&mut self, uid: u32) -> String {
        self.users.name(uid)
    }

    fn known(&mut self, pid: u32) -> std::borrow::Cow<'_, Known> {
        use std::borrow::Cow;
        let tick = self.tick;
        let known = match self.known.remove(&pid) {
            Some(known) if known.stands(tick) => known,
            known => {
                let stat = self.stat(pid);
                match (known, &stat) {
                    (Some(known), Ok((started, name)))
                        if !known.is_open
                            && known.started == Some(*started)
                            && known.name.value.as_ref() == Some(name) =>
                    {
                        Known { looked: tick, ..known }
                    }
                    _ => self.look(pid, stat),
                }
            }
        };
        let known = Known { seen: tick, ..known };
        if self.known.len() >= MOST {
            return Cow::Owned(known);
        }
        Cow::Borrowed(self.known.entry(pid).or_insert(known))
    }

    fn file(&self, pid: u32, name: &str, most: u64) -> io::Result<Vec<u8>> {
        read(&self.root.join(format!("proc/{pid}/{name}")), most)
    }

    fn memory(&mut self, pid: u32, started: u64) -> Slow<Memory> {
        let key = (pid, started);
        if let Some(memory) = self.slow.late(&key) {
            return Slow::Answered(memory);
        }
        let own = self.root.join(format!("proc/{pid}"));
        self.slow.ask(key, move || Memory {
            line: read(&own.join("cmdline"), FILE).ok(),
            environment: read(&own.join("environ"), ENVIRONMENT).ok(),
        })
    }

    /// When it started, in the kernel's ticks, and its name: the 22nd field, counted after the name, which may contain
    /// anything.
    fn stat(&self, pid: u32) -> io::Result<(u64, String)> {
        let stat = self.file(pid, "stat", FILE)?;
        let stat = String::from_utf8_lossy(&stat);
        let fields = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
        let started = |rest: &str| rest.split_whitespace().nth(19)?.parse().ok();
        let found = fields.and_then(|(name, rest)| Some((started(rest)?, clean(name, NAME).into_owned())));
        found.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat says nonsense"))
        })
    }

    fn look(&mut self, pid: u32, stat: io::Result<(u64, String)>) -> Known {
        let (tick, looked) = (self.tick, self.tick.saturating_sub(u64::from(pid) % (FRESH / 2)));
        let (started, name) = match stat {
            Ok((started, name)) => (Some(started), Reading::known(name, Origin::System)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let why =
                    "no such process here: it has ended, or runs outside this container, or /proc hides it";
                (None, Reading::unavailable(Origin::System, why))
            }
            Err(error) => (None, Reading::unavailable(Origin::System, error.to_string())),
        };
        let Some(start) = started else {
            let (identity, environment) = (ProcessIdentity::default(), Environment::default());
            return Known { started, name, identity, environment, looked, seen: tick, is_open: false };
        };
        let text = |name: &str| {
            let bytes = self.file(pid, name, FILE).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let uid = text("status").as_deref().and_then(effective_user);
        let groups = text("cgroup").unwrap_or_default();
        let memory = self.memory(pid, start);
        let why_not = memory.reason(&format!("/proc/{pid}/cmdline"));
        let is_open = why_not.is_some();
        let (line, environment) = match memory {
            Slow::Answered(Memory { line, environment }) => (line, environment),
            Slow::Late | Slow::NotAsked => (None, None),
        };
        let line = line.map(|line| String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " "));
        let command = line.or(why_not.map(|why| format!("({why})")));
        let environment = environment.map(|text| Environment::of(&text)).unwrap_or_default();
        let by_environment = environment.slurm_job.map(|job| format!("slurm:{job} (by its environment)"));
        let identity = ProcessIdentity {
            user: uid.map(|uid| self.users.name(uid)),
            command: command.filter(|line| !line.is_empty()).map(|line| clean(&line, WORDS).into_owned()),
            container: container(&groups).map(|name| clean(&name, NAME).into_owned()),
            pod: pod(&groups).map(|uid| clean(&self.pods.name(&uid), WORDS).into_owned()),
            job: slurm_job(&groups).map(|job| format!("slurm:{job}")).or(by_environment),
        };
        Known { started, name, identity, environment, looked, seen: tick, is_open }
    }
}

fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The user as whom it acts: the second of the numbers.
fn effective_user(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn process(&self, pid: u32, name: &str, start: u64) {
            let stat = format!("{pid} ({name}) S {} {start} 0", "0 ".repeat(18));
            self.put(&format!("proc/{pid}/stat"), &stat);
        }
    }

    #[test]
    fn names_are_read_again_and_a_number_given_to_another_process_is_noticed() {
        let machine = Machine::new();
        machine.process(77, "a) b", 5);
        machine.put("proc/77/cmdline", "first\0");
        let mut processes = Processes::at(machine.0.path());
        let mut after = |ticks: u64| {
            let mut found = None;
            for _ in 0..ticks {
                processes.begin();
                let (name, identity) = processes.describe(77);
                found = name.value.map(|name| (name, identity.command.unwrap_or_default()));
            }
            found
        };
        let is = |name: &str, command: &str| Some((name.to_owned(), command.to_owned()));
        assert_eq!(after(1), is("a) b", "first"));
        machine.put("proc/77/cmdline", "second\0");
        assert_eq!(after(FRESH), is("a) b", "first"), "the same process: not read again");
        machine.process(77, "VLLM::Worker_0", 5);
        assert_eq!(after(FRESH), is("VLLM::Worker_0", "second"), "it renamed itself");
        machine.put("proc/77/cmdline", "third\0");
        machine.process(77, "VLLM::Worker_0", 6);
        assert_eq!(after(FRESH), is("VLLM::Worker_0", "third"), "another one of that number");
        fs::remove_dir_all(machine.0.path().join("proc/77")).unwrap();
        assert_eq!(after(FRESH), None);
        assert!(processes.describe(78).0.unavailable.unwrap().contains("outside this container"));
        machine.put("proc/79/stat", "nonsense");
        assert!(processes.describe(79).0.unavailable.unwrap().contains("nonsense"));
    }

    impl Machine {
        /// Opening a pipe that nobody writes to waits for ever.
        #[cfg(unix)]
        fn hang(&self, pid: u32) -> PathBuf {
            self.process(pid, "python3", 5);
            let pipe = self.0.path().join(format!("proc/{pid}/cmdline"));
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            pipe
        }
    }

    #[cfg(unix)]
    #[test]
    fn processes_that_hang_leave_those_that_are_well_their_names() {
        let machine = Machine::new();
        let stuck: Vec<PathBuf> = (100..108).map(|pid| machine.hang(pid)).collect();
        machine.process(200, "python3", 5);
        machine.put("proc/200/cmdline", "train.py\0");
        machine.put("proc/200/environ", "SLURM_JOB_ID=7\0CUDA_VISIBLE_DEVICES=1\0");
        let mut processes = Processes::at(machine.0.path());
        let mut commands = || {
            processes.begin();
            let mut all = (100..108).map(|pid| processes.describe(pid).1.command.unwrap());
            assert!(all.all(|command| command.ends_with("/cmdline has not answered)")));
            let identity = processes.describe(200).1;
            (identity.command, identity.job)
        };
        let own = (Some("train.py".to_owned()), Some("slurm:7 (by its environment)".to_owned()));
        // However loaded this machine is, at the next reading if not at this one.
        assert!((0..100).any(|_| commands() == own));
        for pipe in stuck {
            drop(fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap());
        }
    }

    #[cfg(unix)]
    #[test]
    fn processes_that_answer_slowly_are_named_at_a_later_reading() {
        let machine = Machine::new();
        let pipes: Vec<PathBuf> = (100..140).map(|pid| machine.hang(pid)).collect();
        let mut processes = Processes::at(machine.0.path());
        let mut named = || {
            processes.begin();
            let is_named = |pid: &u32| processes.describe(*pid).1.command.as_deref() == Some("x");
            (100..140).filter(is_named).count()
        };
        let start = std::time::Instant::now();
        assert_eq!(named(), 0);
        assert!(start.elapsed() < std::time::Duration::from_secs(1), "{:?}", start.elapsed());
        // Each is opened, and closed, by whoever waits for it.
        let writers = pipes.into_iter().map(|pipe| {
            std::thread::spawn(move || {
                use std::io::Write;
                fs::OpenOptions::new().write(true).open(pipe).unwrap().write_all(b"x").unwrap();
            })
        });
        let writers: Vec<_> = writers.collect();
        let all = (0..10_000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            named() == 40
        });
        assert!(all);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn a_process_whose_files_hang_is_named_and_said_to_until_they_answer() {
        let machine = Machine::new();
        let pipe = machine.hang(77);
        let mut processes = Processes::at(machine.0.path());
        processes.begin();
        let (name, identity) = processes.describe(77);
        assert_eq!(name.value.as_deref(), Some("python3"));
        assert_eq!(identity.command.as_deref(), Some("(/proc/77/cmdline has not answered)"));
        // Whoever waits for a writer has one now.
        fs::write(&pipe, "train.py\0").unwrap();
        let command = |_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            processes.begin();
            processes.describe(77).1.command
        };
        assert!((0..10_000).map(command).any(|command| command.as_deref() == Some("train.py")));
    }

    #[test]
    fn a_process_has_a_user_a_command_a_container_a_pod_and_a_job() {
        let machine = Machine::new();
        let id = "0123456789abcdef".repeat(4);
        machine.put("etc/passwd", "root:x:0:0::/:/bin/sh\nann:x:1001:1001::/:/bin/sh\n");
        let uid = "11111111-2222-3333-4444-555555555555";
        machine.put(&format!("var/log/pods/research_train-0_{uid}/main/0.log"), "");
        machine.process(5, "python3", 1);
        machine.put("proc/5/status", "Name:\tpython3\nUid:\t0\t1001\t0\t0\n");
        machine.put("proc/5/cmdline", "/usr/bin/python3\0--model\0train_a.py\u{1b}[2J\0");
        let slice = format!("kubepods-burstable-pod{}.slice", uid.replace('-', "_"));
        machine.put(
            "proc/5/cgroup",
            &format!("0::/kubepods.slice/kubepods-burstable.slice/{slice}/cri-containerd-{id}.scope\n"),
        );
        machine.put("proc/5/environ", "A=1\0SLURM_JOB_ID=77\0");
        machine.process(6, "sh", 1);
        machine.put("proc/6/status", "Uid:\t4242\t4242\t4242\t4242\n");
        machine.put("proc/6/cgroup", "0::/system.slice/slurmstepd.scope/job_1234/step_0/user/task_0\n");
        machine.put("proc/6/environ", "SLURM_JOB_ID=77\0");
        let mut processes = Processes::at(machine.0.path());
        processes.begin();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            processes.describe(5).1,
            ProcessIdentity {
                user: text("ann"),
                command: text("/usr/bin/python3 --model train_a.py [2J"),
                container: text("cri-containerd:0123456789ab"),
                pod: text("research/train-0"),
                job: text("slurm:77 (by its environment)"),
            }
        );
        let other = processes.describe(6).1;
        assert_eq!(
            (other.user, other.command),
            (text("4242"), None),
            "no name, and a kernel's thread has no line"
        );
        assert_eq!((other.job, other.pod, other.container), (text("slurm:1234"), None, None));
    }
}
