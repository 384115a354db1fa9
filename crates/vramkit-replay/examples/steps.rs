//! A trace against a policy, a line for each operation: bytes held from the device after it, and whether it was refused.
//! `scripts/check-replay` holds these against another implementation of PyTorch's allocator.
//!
//!     steps FILE [--policy P] [--alloc-conf CONF] [--capacity BYTES]

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use vramkit_replay::{PolicyName, Setup, read_traces, steps};
use vramkit_units::ByteSize;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("which file?")?;
    let (mut policy, mut settings, mut capacity) = (PolicyName::Pytorch, String::new(), None);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--policy" => policy = value.parse()?,
            "--alloc-conf" => settings = value,
            "--capacity" => capacity = Some(ByteSize::new(value.parse()?)),
            _ => return Err(format!("{option} is not known").into()),
        }
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for trace in read_traces(Path::new(&file), &|_| ())? {
        for step in steps(&trace, &Setup::new(&trace, policy, &settings, capacity)?) {
            writeln!(out, "{} {}", step.committed, if step.refused { "refused" } else { "ok" })?;
        }
    }
    Ok(())
}
