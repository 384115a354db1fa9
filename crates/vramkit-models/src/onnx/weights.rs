//! How many bytes of parameters a graph carries, in the file or beside it.
//!
//! Parameters beside the file are only looked at from outside: they must lie in the model's folder and be as long
//! as the graph says.

use std::path::{Component, Path};

use super::fact::stored;
use super::proto::{GraphProto, TensorProto};

/// Bytes of every initialiser.
pub(super) fn bytes(graph: &GraphProto, folder: &Path) -> Result<u64, String> {
    let mut total = 0u64;
    let mut add = |tensor: &TensorProto| -> Result<(), String> {
        let named = |reason: String| format!("initialiser `{}`: {reason}", tensor.name);
        let bytes = stored(tensor).and_then(|fact| fact.bytes()).map_err(named)?;
        if tensor.data_location == 1 {
            check_external(tensor, bytes, folder).map_err(named)?;
        } else if !tensor.raw_data.is_empty() && tensor.raw_data.len() as u64 != bytes {
            return Err(named(format!(
                "{} bytes are stored where its shape needs {bytes}",
                tensor.raw_data.len()
            )));
        }
        total = total.checked_add(bytes).ok_or("the initialisers have more than 2^64 bytes")?;
        Ok(())
    };
    graph.initializer.iter().try_for_each(&mut add)?;
    for sparse in &graph.sparse_initializer {
        sparse.values.iter().chain(&sparse.indices).try_for_each(&mut add)?;
    }
    Ok(total)
}

/// Checks that a tensor's bytes are where the graph says, inside the model's folder.
fn check_external(tensor: &TensorProto, bytes: u64, folder: &Path) -> Result<(), String> {
    let entry = |key: &str| {
        tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    };
    let location = entry("location").ok_or("its external data has no location")?;
    let number = |key: &str| match entry(key) {
        Some(text) => {
            text.parse::<u64>().map(Some).map_err(|_| format!("its external data has {key} `{text}`"))
        }
        None => Ok(None),
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if length.is_some_and(|length| length != bytes) {
        return Err(format!(
            "its external data has {} bytes where its shape needs {bytes}",
            length.unwrap_or(0)
        ));
    }
    let path = Path::new(location);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let outside = || format!("its external data `{location}` is outside the model's folder");
    if location.is_empty() || !inside {
        return Err(outside());
    }
    let missing = |error: std::io::Error| format!("its external data `{location}` cannot be read: {error}");
    let file = folder.join(path).canonicalize().map_err(missing)?;
    // A link may lead out of the folder though the name does not.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !file.starts_with(folder.canonicalize().map_err(missing)?) {
        return Err(outside());
    }
    let size = file.metadata().map_err(missing)?.len();
    match offset.checked_add(bytes) {
        Some(end) if end <= size => Ok(()),
        _ => Err(format!(
            "its external data `{location}` has {size} bytes; {bytes} from {offset} on are wanted"
        )),
    }
}
