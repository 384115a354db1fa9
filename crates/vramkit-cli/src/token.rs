//! The token that a server's requests carry, in a file.

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
