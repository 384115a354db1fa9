//! `vramkit serve`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use vramkit_ask::TopQuestion;
use vramkit_serve::ServeConfig;

use crate::args::ServeOptions;
use crate::failure::Failure;

/// A shorter one can be guessed.
const SHORTEST_TOKEN: usize = 8;

pub fn run(options: &ServeOptions) -> Result<bool, Failure> {
    let token = options.token_file.as_deref().map(read_token).transpose()?;
    let config = ServeConfig {
        listen: options.listen,
        token,
        interval: options.interval,
        record: options.record.clone().map(|path| (path, options.record_size.bytes())),
    };
    let ready = |address| {
        anstream::eprintln!("listening on http://{address}/");
        if let Some(warning) = options.token_file.as_deref().and_then(exposed) {
            anstream::eprintln!("{warning}");
        }
    };
    let question = TopQuestion { levels: options.levels.map(|levels| levels.0) };
    vramkit_serve::serve(&config, question.watcher()?, ready, std::future::pending())?;
    Ok(true)
}

fn read_token(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Input(format!("cannot read `{}`: {error}", path.display())))?;
    let token = text.trim().to_owned();
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.len() < SHORTEST_TOKEN || !is_plain {
        return Err(Failure::Input(format!(
            "`{}` holds no token: one line of at least {SHORTEST_TOKEN} letters, digits and signs; try `openssl rand -hex 32`",
            path.display()
        )));
    }
    Ok(token)
}

/// Whom else the token's file is open to: no reason to refuse it, since that is how a secret is mounted into a container.
fn exposed(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        format!(
            "warning: other users may read or change `{}` (mode {mode:04o}); `chmod 600` it, unless it is a secret mounted into a container that has no other users",
            path.display()
        )
    })
}
