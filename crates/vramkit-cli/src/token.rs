//! The token that a server's requests carry, in a file.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::failure::Failure;

/// A shorter one can be guessed.
const SHORTEST: usize = 8;

/// Reads it.
pub fn read(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Input(format!("cannot read `{}`: {error}", path.display())))?;
    let token = text.trim().to_owned();
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.len() < SHORTEST || !is_plain {
        return Err(Failure::Input(format!(
            "`{}` holds no token: one line of at least {SHORTEST} letters, digits and signs; try `openssl rand -hex 32`",
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
