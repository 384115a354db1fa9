//! The settings of PyTorch's allocator, written as its environment variable has them (`PYTORCH_CUDA_ALLOC_CONF`).

use std::fmt;
use std::str::FromStr;

const MIB: u64 = 1 << 20;
/// The least that may be set for either size of not splitting, in MiB.
const LEAST_SPLIT: u64 = 20;
/// From how many MiB on each power of two has divisions of its own: 1 MiB to 32 GiB and above.
const INTERVALS: usize = 16;

/// Settings that decide where memory is put. Others that PyTorch knows (of pinned memory, of locks) are read and change nothing here.
#[derive(Clone, Debug, PartialEq)]
pub struct AllocatorSettings {
    /// Blocks of so many bytes and more are not split, and serve no smaller requests.
    pub max_split_size: Option<u64>,
    /// How much larger a block that is not split may be than what it serves.
    pub max_non_split_rounding: u64,
    /// From which share of what is allowed old blocks are given back before more is asked for; only where there is a capacity.
    pub garbage_collection_threshold: Option<f64>,
    /// How many sizes there are between a power of two and the next, for sizes below 2 MiB, below 4 MiB, …; 0 and 1 for any size.
    pub roundup_power2_divisions: [u64; INTERVALS],
    /// Whether segments grow.
    pub expandable_segments: bool,
    /// The share of the device that the process may have; 1 is no bound.
    pub per_process_memory_fraction: Option<f64>,
}

impl Default for AllocatorSettings {
    fn default() -> Self {
        Self {
            max_split_size: None,
            max_non_split_rounding: LEAST_SPLIT * MIB,
            garbage_collection_threshold: None,
            roundup_power2_divisions: [0; INTERVALS],
            expandable_segments: false,
            per_process_memory_fraction: None,
        }
    }
}

/// A setting that PyTorch would refuse, or that is not modelled here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("allocator setting `{setting}`: {reason}")]
pub struct SettingsError {
    setting: String,
    reason: String,
}

impl AllocatorSettings {
    /// These settings with others on top, as the environment variable has them: what it does not name stays.
    ///
    /// ```
    /// use vramkit_replay::AllocatorSettings;
    ///
    /// let settings = AllocatorSettings::default().with("max_split_size_mb:128,expandable_segments:True")?;
    /// assert_eq!((settings.max_split_size, settings.expandable_segments), (Some(128 << 20), true));
    /// # Ok::<(), vramkit_replay::SettingsError>(())
    /// ```
    ///
    /// # Errors
    /// A name that PyTorch does not know, a value that it refuses, or a backend that is not modelled.
    pub fn with(mut self, text: &str) -> Result<Self, SettingsError> {
        for part in parts(text) {
            let error = |reason: String| SettingsError { setting: part.clone(), reason };
            let (name, value) = part
                .split_once(':')
                .ok_or_else(|| error("it has no value: write `NAME:VALUE`".to_owned()))?;
            let size = || -> Result<u64, SettingsError> {
                let most = u64::MAX / MIB;
                match value.parse::<u64>() {
                    Ok(mib) if mib >= LEAST_SPLIT => Ok(mib.min(most) * MIB),
                    _ => Err(error(format!("use a number of MiB, at least {LEAST_SPLIT}"))),
                }
            };
            let share = |one: bool| match value.parse::<f64>() {
                Ok(share) if (share > 0.0 || one && share == 0.0) && (share < 1.0 || one && share == 1.0) => {
                    Ok(share)
                }
                _ => Err(error(format!(
                    "use a share between 0 and 1{}",
                    if one { "" } else { ", both left out" }
                ))),
            };
            let flag = || match value {
                "True" => Ok(true),
                "False" => Ok(false),
                _ => Err(error("use True or False".to_owned())),
            };
            match name {
                "max_split_size_mb" => self.max_split_size = Some(size()?),
                "max_non_split_rounding_mb" => self.max_non_split_rounding = size()?,
                "garbage_collection_threshold" => self.garbage_collection_threshold = Some(share(false)?),
                "per_process_memory_fraction" => self.per_process_memory_fraction = Some(share(true)?),
                "expandable_segments" => self.expandable_segments = flag()?,
                "roundup_power2_divisions" => {
                    self.roundup_power2_divisions =
                        divisions(value, self.roundup_power2_divisions).map_err(error)?;
                }
                "backend" if value == "native" => {}
                "backend" => return Err(error("only the native allocator is modelled".to_owned())),
                "throw_on_cudamalloc_oom" if flag()? => return Err(error("it is not modelled".to_owned())),
                "throw_on_cudamalloc_oom" => {}
                // They change how fast memory is had, not where it is.
                "release_lock_on_cudamalloc"
                | "release_lock_on_hipmalloc"
                | "graph_capture_record_stream_reuse" => {
                    flag()?;
                }
                name if name.starts_with("pinned_") => {}
                _ => return Err(error("PyTorch knows no setting of this name".to_owned())),
            }
        }
        Ok(self)
    }

    /// What a request of this size takes.
    pub(super) fn round(&self, size: u64) -> u64 {
        const UNIT: u64 = 512;
        if size < UNIT {
            return UNIT;
        }
        let interval = (size.ilog2().saturating_sub(20) as usize).min(INTERVALS - 1);
        let divisions = self.roundup_power2_divisions[interval];
        if divisions > 1 && size > UNIT * divisions {
            if size.is_power_of_two() {
                return size;
            }
            let floor = 1 << size.ilog2();
            let division = floor >> divisions.ilog2();
            return size.next_multiple_of(division);
        }
        size.next_multiple_of(UNIT)
    }
}

/// `NAME:VALUE` parts between commas, those in brackets left alone, without blanks.
fn parts(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0_i32);
    for letter in text.chars().filter(|letter| !letter.is_whitespace()) {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("there is one from the start").push(letter);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// One number for all, or `[256:1,512:2,>:8]`: from so many MiB on.
fn divisions(value: &str, before: [u64; INTERVALS]) -> Result<[u64; INTERVALS], String> {
    let of = |text: &str, zero: bool| match text.parse::<u64>() {
        Ok(number) if number.is_power_of_two() || zero && number == 0 => Ok(number),
        _ => Err(format!("`{text}` is no power of two")),
    };
    let Some(list) = value.strip_prefix('[').and_then(|list| list.strip_suffix(']')) else {
        return Ok([of(value, false)?; INTERVALS]);
    };
    let (mut divisions, mut last) = (before, None);
    for item in list.split(',').filter(|item| !item.is_empty()) {
        let (from, number) =
            item.split_once(':').ok_or_else(|| format!("`{item}` has no number behind a `:`"))?;
        let number = of(number, true)?;
        if from == ">" {
            // Above the last one named. (Before version 2.9 PyTorch filled that one too.)
            divisions[last.map_or(0, |last: usize| last + 1)..].fill(number);
            continue;
        }
        let interval = (of(from, false)?.ilog2() as usize).min(INTERVALS - 1);
        if last.is_none() {
            divisions[..interval].fill(number);
        }
        divisions[interval] = number;
        last = Some(interval);
    }
    Ok(divisions)
}

impl FromStr for AllocatorSettings {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        Self::default().with(text)
    }
}

impl fmt::Display for AllocatorSettings {
    /// As the environment variable has them, those alone that are not as they come.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = Self::default();
        let mut parts = Vec::new();
        if let Some(bytes) = self.max_split_size {
            parts.push(format!("max_split_size_mb:{}", bytes / MIB));
        }
        if self.max_non_split_rounding != default.max_non_split_rounding {
            parts.push(format!("max_non_split_rounding_mb:{}", self.max_non_split_rounding / MIB));
        }
        if let Some(share) = self.garbage_collection_threshold {
            parts.push(format!("garbage_collection_threshold:{share}"));
        }
        if self.roundup_power2_divisions != default.roundup_power2_divisions {
            let list: Vec<String> = self
                .roundup_power2_divisions
                .iter()
                .enumerate()
                .map(|(interval, number)| format!("{}:{number}", 1_u64 << interval))
                .collect();
            parts.push(format!("roundup_power2_divisions:[{}]", list.join(",")));
        }
        if self.expandable_segments {
            parts.push("expandable_segments:True".to_owned());
        }
        if let Some(share) = self.per_process_memory_fraction {
            parts.push(format!("per_process_memory_fraction:{share}"));
        }
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = "max_split_size_mb:128, garbage_collection_threshold:0.8,roundup_power2_divisions:[256:1,512:2,1024:4,>:8]";
        let settings: AllocatorSettings = text.parse().unwrap();
        assert_eq!(settings.max_split_size, Some(128 << 20));
        assert_eq!(settings.roundup_power2_divisions, [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 8, 8, 8, 8, 8]);
        assert_eq!(settings.to_string().parse(), Ok(settings));
        let settings = AllocatorSettings::default().with("expandable_segments:True").unwrap();
        assert!(
            !settings
                .with("expandable_segments:False,backend:native,pinned_num_register_threads:8")
                .unwrap()
                .expandable_segments
        );
        assert_eq!("".parse(), Ok(AllocatorSettings::default()));
    }

    #[test]
    fn what_pytorch_refuses_is_refused() {
        for text in [
            "max_split_size_mb:19",
            "max_split_size_mb:-1",
            "max_split_size_mb",
            "garbage_collection_threshold:1",
            "garbage_collection_threshold:nan",
            "roundup_power2_divisions:3",
            "roundup_power2_divisions:[3:1]",
            "roundup_power2_divisions:[4]",
            "expandable_segments:true",
            "backend:cudaMallocAsync",
            "throw_on_cudamalloc_oom:True",
            "max_split_size:128",
        ] {
            assert!(text.parse::<AllocatorSettings>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_rounded_to_divisions() {
        let plain = AllocatorSettings::default();
        assert_eq!([1, 512, 513, 1200].map(|size| plain.round(size)), [512, 512, 1024, 1536]);
        let divided: AllocatorSettings = "roundup_power2_divisions:4".parse().unwrap();
        // 1200 is below 4 x 512; between 1024 and 2048 there would be 1280, 1536, 1792.
        assert_eq!(
            [1200, 2049, 3000, 4096, 4097].map(|size| divided.round(size)),
            [1536, 2560, 3072, 4096, 5120]
        );
    }
}
