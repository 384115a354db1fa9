//! Publishers that speak in time, late, too much or not at all.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;

use super::*;

const NOTHING: &str = r#"{"schema":"vramkit.published/1","pid":7,"pools":[]}"#;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("vramkit-reader-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Asks one that says something, piece by piece, each after a time.
fn asked(name: &str, pieces: Vec<(Duration, Vec<u8>)>) -> Result<Heard, WhyLeftOut> {
    let folder = folder(name);
    let listener = UnixListener::bind(folder.join("7.sock")).expect("a socket");
    let speaker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody asks");
        for (wait, piece) in pieces {
            std::thread::sleep(wait);
            if stream.write_all(&piece).is_err() {
                break;
            }
        }
    });
    let mut reader = PublishedReader::default();
    let mut found = reader.read(&folder);
    speaker.join().expect("it spoke");
    fs::remove_dir_all(folder).expect("the folder is there");
    found.pop().ok_or_else(|| reader.left_out[0].why.clone())
}

fn said(text: &str) -> Vec<(Duration, Vec<u8>)> {
    vec![(Duration::ZERO, text.as_bytes().to_vec())]
}

#[test]
fn a_document_is_one_of_ours_whole_and_in_time() {
    let heard = asked("whole", said(NOTHING)).expect("a document");
    assert_eq!(heard.claimed_pid, 7);
    if cfg!(target_os = "linux") {
        let own = Peer { pid: Some(std::process::id()), uid: user() };
        assert_eq!(heard.peer, own, "whatever the document says");
    }
    let pieces = NOTHING.as_bytes().chunks(20).map(|piece| (Duration::from_millis(10), piece.to_vec()));
    assert!(asked("pieces", pieces.collect()).is_ok());
    assert!(matches!(asked("nothing", said("")), Err(WhyLeftOut::NoDocument(_))));
    assert!(matches!(asked("other", said("{}")), Err(WhyLeftOut::NoDocument(_))));
    // Half of one: its publisher gave up.
    assert_eq!(asked("half", said(&NOTHING[..30])), Err(WhyLeftOut::Silent));
    // A byte at a time, each in time, and all together not.
    let slow = (0..40).map(|_| (Duration::from_millis(60), b" ".to_vec())).collect();
    assert_eq!(asked("slow", slow), Err(WhyLeftOut::Silent));
    let late = vec![(PATIENCE + Duration::from_millis(300), NOTHING.as_bytes().to_vec())];
    assert_eq!(asked("late", late), Err(WhyLeftOut::Silent));
}

#[test]
fn what_is_too_large_is_left() {
    let padded = |bytes: usize| {
        let mut text = NOTHING.as_bytes().to_vec();
        text.resize(bytes, b' ');
        vec![(Duration::ZERO, text)]
    };
    assert!(asked("largest", padded(LARGEST)).is_ok());
    assert_eq!(asked("larger", padded(LARGEST + (1 << 17))), Err(WhyLeftOut::TooLarge));
}

#[test]
fn the_dead_count_for_nothing_and_go() {
    let folder = folder("dead");
    let listen = |name: String| UnixListener::bind(folder.join(name)).expect("a socket");
    let dead: Vec<_> = (0..600).map(|number| listen(format!("{number:04}.sock"))).collect();
    let lives = listen("9.sock".into());
    fs::write(folder.join("0000.txt"), "no socket").expect("a file");
    let _other = listen("other".into());
    drop(dead);
    let speaker = std::thread::spawn(move || {
        lives.accept().expect("somebody asks").0.write_all(NOTHING.as_bytes()).expect("it reads");
    });
    let mut reader = PublishedReader::default();
    assert_eq!(reader.read(&folder).len(), 1);
    speaker.join().expect("it spoke");
    assert_eq!(reader.left_out(), []);
    if cfg!(target_os = "linux") {
        let left = fs::read_dir(&folder).expect("the folder is there").count();
        assert_eq!(left, 3, "the live one and what is no socket of ours");
    }
    fs::remove_dir_all(folder).expect("the folder is there");
}

#[test]
fn so_many_of_a_user_are_asked_and_the_rest_is_counted() {
    let folder = folder("many");
    let listeners: Vec<_> = (0..MOST + 3)
        .map(|number| UnixListener::bind(folder.join(format!("{number:04}.sock"))).expect("a socket"))
        .collect();
    // All hang up at once, so that no patience is spent.
    let speakers: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            listener.set_nonblocking(false).expect("it may");
            std::thread::Builder::new().stack_size(1 << 16).spawn(move || drop(listener.accept()))
        })
        .collect();
    let mut reader = PublishedReader::default();
    assert!(reader.read(&folder).is_empty());
    let many: Vec<_> = reader.left_out().iter().filter(|left| left.why == WhyLeftOut::TooMany).collect();
    assert_eq!((many.len(), many[0].count), (1, 3), "{:?}", reader.left_out());
    assert_eq!(many[0].socket.file_name(), Some("0256.sock".as_ref()));
    drop(speakers);
    fs::remove_dir_all(folder).expect("the folder is there");
}

#[test]
fn large_ones_are_read_in_turn_and_up_to_a_share() {
    let folder = folder("share");
    let mut text = NOTHING.as_bytes().to_vec();
    text.resize(LARGEST, b' ');
    let text = std::sync::Arc::new(text);
    for number in 0..12 {
        let listener = UnixListener::bind(folder.join(format!("{number:02}.sock"))).expect("a socket");
        let text = text.clone();
        std::thread::spawn(move || {
            let _ = listener.accept().and_then(|(mut stream, _)| stream.write_all(&text));
        });
    }
    let mut reader = PublishedReader::default();
    let found = reader.read(&folder).len();
    let left: usize = reader.left_out().iter().map(|left| left.count).sum();
    // On a loaded machine time may be up before the share is.
    assert!((1..=8).contains(&found) && found + left == 12, "{found} {:?}", reader.left_out());
    assert!(reader.left_out().iter().all(|left| left.why != WhyLeftOut::Silent));
    fs::remove_dir_all(folder).expect("the folder is there");
}

#[test]
fn who_was_slow_is_left_alone_for_a_while_and_then_for_longer() {
    let folder = folder("rest");
    let path = folder.join("1.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let mut reader = PublishedReader::default();
    let read = |reader: &mut PublishedReader| {
        let begun = Instant::now();
        assert!(reader.read(&folder).is_empty());
        assert_eq!((reader.left_out[0].count, &reader.left_out[0].socket), (1, &path));
        assert_eq!(reader.left_out[0].why, WhyLeftOut::Silent);
        assert_eq!(reader.silent(), std::slice::from_ref(&path));
        begun.elapsed() >= PATIENCE
    };
    assert!(read(&mut reader));
    // However long the first read took on a loaded machine.
    for rest in reader.resting.values_mut() {
        rest.until = Instant::now() + REST;
    }
    assert!(!read(&mut reader), "it rests");
    assert!(REST <= Duration::from_secs(2), "one that was late once is soon heard again");
    let lengths = (0..9).map(|times| (REST * (1 << times)).min(LONGEST_REST));
    for length in lengths {
        assert_eq!(reader.resting[&path].length, length);
        for rest in reader.resting.values_mut() {
            rest.until = Instant::now();
        }
        assert!(read(&mut reader), "after its rest it is asked again");
    }
    drop(listener);
    fs::remove_dir_all(&folder).expect("the folder is there");
}
