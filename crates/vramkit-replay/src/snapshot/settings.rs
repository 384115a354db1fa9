//! The settings of PyTorch's allocator that a snapshot was recorded under.

use crate::values::{DIVISIONS, Key, Kind, Value, Values};

/// The settings of the recorded program, as its environment variable had them.
pub(super) fn settings(values: &Values, root: Value) -> String {
    let Some(Kind::Dict(dict)) = values.field(root, Key::AllocatorSettings) else { return String::new() };
    let dict = Value::dict(dict);
    let written = [Key::AllocConf, Key::NewAllocConf].into_iter().filter_map(|key| values.text_of(dict, key));
    let written = written.map(str::trim).find(|text| !text.is_empty()).unwrap_or_default();
    let mut parts: Vec<String> = Vec::new();
    if !written.is_empty() {
        parts.push(written.to_owned());
    }
    // They may have been set while the program ran.
    if values.field(dict, Key::ExpandableSegments) == Some(Kind::Bool(true))
        && !written.contains("expandable_segments")
    {
        parts.push("expandable_segments:True".to_owned());
    }
    match values.int_of(dict, Key::MaxSplitSize) {
        Some(bytes) if bytes >= 20 << 20 && !written.contains("max_split_size_mb") => {
            parts.push(format!("max_split_size_mb:{}", bytes >> 20));
        }
        _ => {}
    }
    match values.field(dict, Key::GarbageCollectionThreshold) {
        Some(Kind::Float(share)) if share > 0.0 && !written.contains("garbage_collection_threshold") => {
            parts.push(format!("garbage_collection_threshold:{share}"));
        }
        _ => {}
    }
    if let Some(Kind::Dict(divisions)) = values.field(dict, Key::Divisions)
        && !written.contains("roundup_power2_divisions")
    {
        let number = |key| values.int_of(Value::dict(divisions), key).unwrap_or(0);
        let list: Vec<String> =
            DIVISIONS.iter().enumerate().map(|(at, &key)| format!("{}:{}", 1 << at, number(key))).collect();
        if DIVISIONS.iter().any(|&key| number(key) > 0) {
            parts.push(format!("roundup_power2_divisions:[{}]", list.join(",")));
        }
    }
    parts.join(",")
}
