//! The battery on a model of Phi-3's shape, every check with its fault put in, and the report that it writes.
#![allow(clippy::unwrap_used)]

use vramkit::ByteSize;
use vramkit_stress::{StressQuestion, stress};

#[test]
fn vram_pressure_phi3() {
    let question =
        StressQuestion { context: Some(256), prove: true, threads: Some(2), ..StressQuestion::default() };
    let mut told = Vec::new();
    let report = stress(&question, &mut |check| told.push(check.to_string())).unwrap();
    assert!(report.passed, "{told:#?}");
    // All but the neighbour, for whom there is no program.
    assert_eq!((report.checks.len(), told.len()), (9, 9));
    assert!(report.checks.iter().all(|check| check.caught == Some(true)), "{told:#?}");
    assert_eq!(report.kv_bytes_per_token, ByteSize::new(393_216));
    let growth = report.checks.iter().find(|check| check.name == "linear_growth").unwrap();
    assert_eq!((growth.measured, growth.limit), (393_216.0, 393_216.0));
    for each in &report.usage {
        let blocks = each.tokens.div_ceil(16) as u64;
        assert_eq!(each.kv_bytes, ByteSize::new(blocks * 16 * 393_216), "{each:?}");
        assert!(each.committed_bytes >= each.used_bytes && each.used_bytes > each.kv_bytes, "{each:?}");
        assert!(each.resident_bytes.is_none_or(|bytes| bytes == each.committed_bytes), "{each:?}");
    }
    assert_eq!(report.usage.iter().map(|each| each.tokens).collect::<Vec<_>>(), [64, 128, 254]);

    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("vram_pressure_report.md");
    std::fs::write(&path, report.markdown()).unwrap();
    let written = std::fs::read_to_string(path).unwrap();
    assert!(written.contains("| linear_growth | passed | 393,216 | 393,216 | bytes a token |"), "{written}");
    assert!(!written.contains("**failed**") && !written.contains("**no**"), "{written}");
}
