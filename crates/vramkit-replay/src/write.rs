//! Recorders: what a pool tells of its allocations and releases, written to a file that can be replayed.
//!
//! Two forms are written: JSON Lines, and the CSV of RMM's logging adaptor, which its own tools read.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use vramkit_pool::pool::Recorded;
use vramkit_units::ByteSize;

/// A recorder that writes JSON Lines. The first error ends the recording, and is logged.
pub fn json_lines(writer: impl Write + Send + 'static) -> impl Fn(&Recorded) + Send + Sync + 'static {
    lines(writer, |out, recorded| {
        serde_json::to_writer(&mut *out, recorded)?;
        out.write_all(b"\n")
    })
}

/// A recorder that writes `Thread,Time,Action,Pointer,Size,Stream`, times in UTC. The first error ends the recording,
/// and is logged.
pub fn rmm_csv(writer: impl Write + Send + 'static) -> impl Fn(&Recorded) + Send + Sync + 'static {
    // RMM's rows of frees have the pointer and the size again.
    let mut live: HashMap<String, (u64, ByteSize)> = HashMap::new();
    let mut begun = false;
    lines(writer, move |out, recorded| {
        if !begun {
            writeln!(out, "Thread,Time,Action,Pointer,Size,Stream")?;
            begun = true;
        }
        let (action, (address, size)) = match recorded {
            Recorded::Allocate { id, bytes, address, .. } => {
                live.insert(id.clone(), (*address, *bytes));
                ("allocate", (*address, *bytes))
            }
            // What was live before the recording began has no row of its own.
            Recorded::Release { id } => match live.remove(id) {
                Some(found) => ("free", found),
                None => return Ok(()),
            },
            // RMM's rows have no word for it.
            Recorded::Trim {} => return Ok(()),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = now.as_secs() % 86_400;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let (thread, micros, bytes) = (std::process::id(), now.subsec_micros(), size.bytes());
        writeln!(
            out,
            "{thread},{hour:02}:{minute:02}:{second:02}.{micros:06},{action},{address:#x},{bytes},0x0"
        )
    })
}

fn lines<W: Write + Send + 'static>(
    writer: W,
    write: impl FnMut(&mut W, &Recorded) -> io::Result<()> + Send + 'static,
) -> impl Fn(&Recorded) + Send + Sync + 'static {
    let state = Mutex::new(Some((writer, write)));
    move |recorded| {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((writer, write)) = state.as_mut() else { return };
        if let Err(error) = write(writer, recorded) {
            tracing::error!(%error, "recording a pool ends: a line could not be written");
            *state = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn recorded() -> [Recorded; 2] {
        let allocate = Recorded::Allocate {
            id: "1.1".to_owned(),
            bytes: ByteSize::new(100),
            address: 0x7f00,
            owner: "m (kv)".to_owned(),
            tag: "t".to_owned(),
        };
        [allocate, Recorded::Release { id: "1.1".to_owned() }]
    }

    #[test]
    fn lines_of_json_are_what_was_recorded() {
        let written = Written::default();
        recorded().iter().for_each(json_lines(written.clone()));
        let read: Vec<Recorded> =
            written.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, recorded());
    }

    #[test]
    fn rows_are_as_rmm_writes_them() {
        let written = Written::default();
        let write = rmm_csv(written.clone());
        write(&Recorded::Release { id: "from before".to_owned() });
        recorded().iter().for_each(write);
        let text = written.text();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(rows[0], ["Thread", "Time", "Action", "Pointer", "Size", "Stream"]);
        assert_eq!(rows[1][2..], ["allocate", "0x7f00", "100", "0x0"]);
        assert_eq!((rows[2][2], rows[2][3], rows.len()), ("free", "0x7f00", 3));
    }
}
