//! `vramkit serve`.

use vramkit_ask::TopQuestion;
use vramkit_serve::ServeConfig;

use crate::args::ServeOptions;
use crate::failure::Failure;
use crate::heap;
use crate::token;

pub fn run(options: &ServeOptions) -> Result<bool, Failure> {
    heap::keep_little();
    let token = options.token_file.as_deref().map(token::read).transpose()?;
    let config = ServeConfig {
        listen: options.listen,
        token,
        interval: options.interval,
        record: options.record.clone().map(|path| (path, options.record_size.bytes())),
    };
    let ready = |address| {
        anstream::eprintln!("listening on http://{address}/");
        if let Some(warning) = options.token_file.as_deref().and_then(token::exposed) {
            anstream::eprintln!("{warning}");
        }
    };
    let question = TopQuestion { levels: options.levels.map(|levels| levels.0) };
    vramkit_serve::serve(&config, question.watcher()?, ready, std::future::pending())?;
    Ok(true)
}
