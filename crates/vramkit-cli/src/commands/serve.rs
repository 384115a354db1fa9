//! `vramkit serve`.

use vramkit_ask::TopQuestion;
use vramkit_serve::ServeConfig;

use crate::args::ServeOptions;
use crate::failure::Failure;

/// A shorter one can be guessed.
const SHORTEST_TOKEN: usize = 8;

pub fn run(options: &ServeOptions) -> Result<bool, Failure> {
    let token = match &options.token_file {
        Some(path) => {
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
            Some(token)
        }
        None => None,
    };
    let config = ServeConfig {
        listen: options.listen,
        token,
        interval: options.interval,
        record: options.record.clone().map(|path| (path, options.record_size.bytes())),
    };
    let ready = |address| anstream::eprintln!("listening on http://{address}/");
    let question = TopQuestion { levels: options.levels.map(|levels| levels.0) };
    vramkit_serve::serve(&config, question.watcher()?, ready, std::future::pending())?;
    Ok(true)
}
