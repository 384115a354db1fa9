//! The token that a server's requests carry, in a file.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::failure::Failure;

/// A shorter one can be guessed.
const SHORTEST: usize = 8;
/// No request carries a longer one.
const LONGEST: u64 = 4096;

/// Reads it.
pub fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    // A device may never end.
    std::fs::File::open(path)
        .and_then(|file| file.take(2 * LONGEST).read_to_string(&mut text))
        .map_err(|error| Failure::Input(format!("cannot read `{}`: {error}", path.display())))?;
    let token = text.trim().to_owned();
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.len() < SHORTEST || token.len() as u64 > LONGEST || !is_plain {
        return Err(Failure::Input(format!(
            "`{}` holds no token: one line of {SHORTEST} to {LONGEST} letters, digits and signs; try `openssl rand -hex 32`",
            path.display()
        )));
    }
    Ok(token)
}

/// Whom else its file is open to: no reason to refuse it, since that is how a secret is mounted into a container.
pub fn exposed(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        format!(
            "warning: other users may read or change `{}` (mode {mode:04o}); `chmod 600` it, unless it is a secret mounted into a container that has no other users",
            path.display()
        )
    })
}
