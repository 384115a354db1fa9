//! Publishers and readers, with those that misbehave on either side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Heard, PublishedReader, Publisher};
use crate::monitor::VramMonitor;
use crate::monitor::tests::{pool, wait_until};
use crate::pool::{Purpose, Request};
use crate::units::ByteSize;

fn published(folder: &std::path::Path) -> Vec<Heard> {
    PublishedReader::default().read(folder)
}

#[test]
fn published_pools_are_seen_by_name_and_only_while_they_live() {
    let folder = std::env::temp_dir().join(format!("vramkit-test-{}", std::process::id()));
    let pool = pool();
    let held = pool
        .allocate(
            Request::new(ByteSize::mib(3)).owner(pool.owner("llama", Purpose::Kv)).tag(pool.tag("blocks")),
        )
        .unwrap();
    let publisher = Publisher::within(&folder, &[("main", &pool)]).unwrap();
    let trace = Arc::new(crate::trace::TraceCollector::new());
    trace.record(crate::trace::Event::Evicted { model: "llama".into(), freed_bytes: ByteSize::mib(7) });
    assert!(publisher.show_decisions("main", &trace) && !publisher.show_decisions("other", &trace));
    let watching = VramMonitor::new(pool.clone());
    watching.increment_generation_count();
    assert!(publisher.show_monitor("main", &watching) && !publisher.show_monitor("other", &watching));
    let counts = published(&folder)[0].pools[0].monitor.clone().expect("it is shown");
    assert_eq!((counts.generations, counts.level), (1, None));
    drop(watching);
    assert!(published(&folder)[0].pools[0].monitor.is_none(), "and does not live by being shown");
    for _ in 0..3 {
        let found = published(&folder);
        assert_eq!(found.len(), 1);
        let seen = &found[0].pools[0];
        assert_eq!(
            (seen.name.as_str(), seen.pid, seen.stats.used_bytes),
            ("main", std::process::id(), ByteSize::mib(3))
        );
        let decided = &seen.decisions[0];
        assert_eq!((decided.kind.as_str(), decided.text.as_str()), ("evicted", "llama freed 7 MiB"));
        assert_eq!((seen.owners[0].model.as_str(), seen.ledger[0].tag.as_str()), ("llama", "blocks"));
        assert!(seen.stall.some.total_seconds > 0.0, "its memory had to be committed");
    }
    drop((held, pool));
    assert_eq!(published(&folder)[0].pools.len(), 0);
    drop(publisher);
    assert!(published(&folder).is_empty());
    // What is no such document is left out, and a socket that nobody listens on removed.
    let dead = folder.join("1.0.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    assert!(published(&folder).is_empty() && !dead.exists());
    let liar = std::os::unix::net::UnixListener::bind(folder.join("2.0.sock")).unwrap();
    let lying = std::thread::spawn(move || {
        use std::io::Write;
        liar.accept().unwrap().0.write_all(b"{\"schema\": \"vramkit.published/1\", \"pid\": -1}").unwrap();
    });
    assert!(published(&folder).is_empty());
    lying.join().unwrap();
    // One that listens and says nothing is waited for once.
    let _silent = std::os::unix::net::UnixListener::bind(folder.join("3.0.sock")).unwrap();
    let mut reader = PublishedReader::default();
    assert!(reader.read(&folder).is_empty());
    let start = Instant::now();
    assert!(reader.read(&folder).is_empty() && start.elapsed() < Duration::from_millis(400));
    std::fs::remove_dir_all(&folder).unwrap();
}

fn test_folder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("vramkit-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Twenty of them are waited for as one.
#[test]
fn who_does_not_answer_holds_nobody_up() {
    let folder = test_folder("slow");
    let bind = |name: String| std::os::unix::net::UnixListener::bind(folder.join(name)).unwrap();
    let _silent: Vec<_> = (0..20).map(|i| bind(format!("{i}.0.sock"))).collect();
    // One whose queue is full, as that of a stopped process is: connecting would wait for ever.
    let full = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None);
    let (full, path) = (full.unwrap(), folder.join("full.0.sock"));
    rustix::net::bind(&full, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let _queued = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let pool = pool();
    let _publisher = Publisher::within(&folder, &[("main", &pool)]).unwrap();
    let (mut reader, start) = (PublishedReader::default(), Instant::now());
    assert_eq!(reader.read(&folder).len(), 1);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(reader.left_out()[0].count, 21, "{:?}", reader.left_out());
    let start = Instant::now();
    assert_eq!(reader.read(&folder).len(), 1);
    assert!(start.elapsed() < Duration::from_millis(400), "they are left alone: {:?}", start.elapsed());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_publisher_ends_though_its_socket_is_gone() {
    let folder = test_folder("gone");
    let pool = pool();
    let publisher = Publisher::within(&folder, &[("main", &pool)]).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let ended = Arc::new(AtomicUsize::new(0));
    let end = ended.clone();
    std::thread::spawn(move || {
        drop(publisher);
        end.store(1, Ordering::SeqCst);
    });
    wait_until(|| ended.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_reader_removes_sockets_alone() {
    let folder = test_folder("files");
    std::fs::write(folder.join("notes.sock"), "important").unwrap();
    std::os::unix::fs::symlink(folder.join("notes.sock"), folder.join("link.sock")).unwrap();
    assert!(published(&folder).is_empty());
    assert!(folder.join("notes.sock").exists() && folder.join("link.sock").is_symlink());
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Who takes a byte at a time is hung up on.
#[test]
fn a_reader_that_dawdles_keeps_no_other_waiting() {
    use std::io::Read;
    let folder = test_folder("dawdles");
    let pool = pool();
    // A document that no socket takes at once.
    let held: Vec<_> = (0..4000)
        .map(|i| {
            let tag = pool.tag(&format!("{i}-{}", "x".repeat(100)));
            pool.allocate(Request::new(ByteSize::new(256)).tag(tag)).unwrap()
        })
        .collect();
    let publisher = Publisher::within(&folder, &[("main", &pool)]).unwrap();
    let socket = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let mut dawdler = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let dawdles = std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while dawdler.read(&mut buffer).is_ok_and(|read| read > 0) {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    wait_until(|| published(&folder).len() == 1);
    let start = Instant::now();
    drop(publisher);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    drop(held);
    drop(dawdles);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_strangers_texts_are_of_one_line() {
    use std::io::Write;
    let folder = test_folder("texts");
    let pool = pool();
    let owner = pool.owner("llama\nforged 1", Purpose::Kv);
    let request = Request::new(ByteSize::mib(1)).owner(owner).tag(pool.tag("a\r\nb"));
    let _held = pool.allocate(request).unwrap();
    let mut shown = crate::monitor::PoolUse::of("main\nforged 2", &pool);
    shown.device = "d\n".repeat(1000);
    let document = serde_json::json!({"schema": "vramkit.published/1", "pid": 7, "pools": [shown]});
    let listener = std::os::unix::net::UnixListener::bind(folder.join("1.0.sock")).unwrap();
    let says = std::thread::spawn(move || {
        listener.accept().unwrap().0.write_all(document.to_string().as_bytes()).unwrap();
    });
    let found = published(&folder).remove(0).pools.remove(0);
    says.join().unwrap();
    assert_eq!((found.name.as_str(), found.device.chars().count()), ("main forged 2", 128));
    assert_eq!(
        (found.owners[0].model.as_str(), found.ledger[0].model.as_str()),
        ("llama forged 1", "llama forged 1")
    );
    assert_eq!(found.ledger[0].tag, "a  b");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Containers may share a folder, and each have a process of the same number.
#[test]
fn publishers_of_one_number_do_not_take_each_others_names() {
    let folder = test_folder("numbers");
    let pool = pool();
    let first = Publisher::within(&folder, &[("first", &pool)]).unwrap();
    // What the next numbers would be is taken, by somebody else: who has the name, or is about to.
    let named = |number: u32, ending| folder.join(format!("{}.{number}.{ending}", std::process::id()));
    let bound = |number, ending| std::os::unix::net::UnixListener::bind(named(number, ending)).ok();
    let taken: Vec<_> = (0..200).filter_map(|number| bound(number, "sock")).collect();
    assert_eq!(taken.len(), 199, "but for the first one's");
    let begun: Vec<_> = (200..300).filter_map(|number| bound(number, "begun")).collect();
    assert_eq!(begun.len(), 100);
    let second = Publisher::within(&folder, &[("second", &pool)]).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 301, "and no name at which it began");
    let later: Vec<_> = (300..400).filter(|number| named(*number, "sock").exists()).collect();
    assert_eq!(later.len(), 1, "{later:?}");
    drop((first, second));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 299, "each removes its own");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// As in `/run/vramkit`: root's, sticky, with a group to give.
#[test]
fn in_a_folder_for_all_a_socket_is_its_users_and_its_groups() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    // Only root can make a folder of root's.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = test_folder("all");
    std::os::unix::fs::chown(&folder, None, Some(9835)).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o3777)).unwrap();
    let pool = pool();
    let publisher = Publisher::within(&folder, &[("main", &pool)]).unwrap();
    let socket = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().metadata().unwrap();
    assert_eq!((socket.gid(), socket.mode() & 0o777), (9835, 0o660));
    assert_eq!(published(&folder).len(), 1);
    drop(publisher);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    std::fs::remove_dir_all(&folder).unwrap();
}
