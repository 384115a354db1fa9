//! How values are read that several commands have.

use std::collections::BTreeMap;
use std::time::Duration;

use vramkit::ByteSize;
use vramkit_ask::TopQuestion;
use vramkit_watch::record::LEAST;

use crate::failure::Failure;

/// Fractions from which on memory is elevated, high, critical.
#[derive(Clone, Copy, Debug)]
pub struct Levels(pub [f64; 3]);

pub fn levels(text: &str) -> Result<Levels, String> {
    const THREE: &str = "three fractions are needed, such as 0.6,0.8,0.9";
    let number = |text: &str| text.trim().parse().map_err(|_| format!("`{text}` is not a fraction"));
    let numbers: Vec<f64> = text.split(',').take(3).map(number).collect::<Result<_, _>>()?;
    let levels: [f64; 3] = numbers.try_into().map_err(|_| THREE)?;
    if text.split(',').count() > 3 {
        return Err(THREE.to_owned());
    }
    TopQuestion { levels: Some(levels) }.check().map_err(|error| error.to_string())?;
    Ok(Levels(levels))
}

pub fn interval(text: &str) -> Result<Duration, String> {
    let interval = seconds(text)?;
    let bounds = Duration::from_millis(50)..=Duration::from_secs(3600);
    if bounds.contains(&interval) { Ok(interval) } else { Err("between 0.05 and 3600 seconds".into()) }
}

pub fn record_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error| format!("{error}"))?;
    if size < LEAST { Err(format!("no recording is kept within less than {LEAST}")) } else { Ok(size) }
}

pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match seconds {
        _ if seconds.is_nan() => Err("not a number of seconds".to_owned()),
        _ if seconds < 0.0 => Err("a time is not negative".to_owned()),
        // More than can be told is no limit.
        _ => Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)),
    }
}

/// Sizes of dimensions, each given once.
pub fn dimensions(given: &[(String, u64)]) -> Result<BTreeMap<String, u64>, Failure> {
    let mut sizes = BTreeMap::new();
    for (name, size) in given {
        match sizes.insert(name.clone(), *size) {
            Some(before) if before != *size => {
                return Err(Failure::Input(format!(
                    "dimension `{name}` is given twice, as {before} and {size}"
                )));
            }
            _ => {}
        }
    }
    Ok(sizes)
}

/// The size of a graph's symbolic dimension.
pub fn dimension(text: &str) -> Result<(String, u64), String> {
    let (name, size) = text.rsplit_once('=').ok_or("expected NAME=N, such as batch=8")?;
    let size = size.parse().map_err(|_| format!("`{size}` is not a whole number"))?;
    Ok((name.to_owned(), size))
}
