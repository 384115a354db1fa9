//! What models keep of a sequence, as a table: `kept FILE...`, each a GGUF file, a `config.json` or a folder with one.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use vramkit_models::header::ModelHeader;

fn main() -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let mut refused = 0;
    writeln!(
        out,
        "file,architecture,layers,bytes_per_token_f16,growing_bytes_per_token_f16,constant_numbers"
    )?;
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match ModelHeader::read(&path) {
            Ok(model) => {
                let (shape, kept) = (&model.shape, model.shape.elements(1));
                let bytes =
                    [kept.per_token(), kept.growing_per_token].map(|numbers| numbers.saturating_mul(2));
                let layers = shape.layers.len();
                writeln!(
                    out,
                    "{name},{},{layers},{},{},{}",
                    shape.architecture, bytes[0], bytes[1], kept.constant
                )?;
            }
            Err(error) => {
                refused += 1;
                writeln!(io::stderr(), "{error}")?;
            }
        }
    }
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
