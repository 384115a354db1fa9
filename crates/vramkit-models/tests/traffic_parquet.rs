//! Logs in Parquet, written by the same crate that reads them, whole and broken.

#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use vramkit_models::ReadError;
use vramkit_models::traffic::{BadRows, Traffic, TrafficOptions, read_traffic_as};

/// A log of lengths, with text beside them, one of the lengths optional.
fn write(rows: &[(i32, Option<i64>)], names: (&str, &str), codec: Compression) -> Vec<u8> {
    let message = format!(
        "message log {{ required binary text (UTF8); optional group usage {{ required int32 {}; optional int64 {}; }} required double timestamp; }}",
        names.0, names.1
    );
    let schema = Arc::new(parse_message_type(&message).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(codec).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    for rows in rows.chunks(1000) {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let text = vec!["a long prompt, and its answer".into(); rows.len()];
        column.typed::<ByteArrayType>().write_batch(&text, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let prompts: Vec<i32> = rows.iter().map(|row| row.0).collect();
        column.typed::<Int32Type>().write_batch(&prompts, Some(&vec![1; rows.len()]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let outputs: Vec<i64> = rows.iter().filter_map(|row| row.1).collect();
        let levels: Vec<i16> = rows.iter().map(|row| if row.1.is_some() { 2 } else { 1 }).collect();
        column.typed::<Int64Type>().write_batch(&outputs, Some(&levels), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let times: Vec<f64> = (0..rows.len()).map(|at| at as f64).collect();
        column.typed::<DoubleType>().write_batch(&times, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

fn read_with(content: &[u8], options: &TrafficOptions) -> Result<Traffic, ReadError> {
    thread_local!(static FOLDER: tempfile::TempDir = tempfile::tempdir().unwrap());
    let path: PathBuf = FOLDER.with(|folder| folder.path().join("requests"));
    // A new file: some file systems wait for the disk where an old one is overwritten.
    let _ = fs::remove_file(&path);
    fs::write(&path, content).unwrap();
    read_traffic_as(&path, options)
}

fn read(content: &[u8]) -> Result<Traffic, ReadError> {
    read_with(content, &TrafficOptions::default())
}

const NAMES: (&str, &str) = ("prompt_tokens", "completion_tokens");

#[test]
fn columns_by_their_names_and_rows_without_lengths() {
    for codec in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::GZIP(Default::default())] {
        let rows = [(374, Some(44)), (5, None), (396, Some(109))];
        let file = write(&rows, NAMES, codec);
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains("line 2: no column of output lengths"), "{error}");
        let options = TrafficOptions { bad_rows: BadRows::LeaveOut, ..Default::default() };
        let traffic = read_with(&file, &options).unwrap();
        let lengths: Vec<_> = traffic.requests.iter().map(|r| (r.prompt, r.output)).collect();
        assert_eq!((lengths, traffic.left_out), (vec![(374, 44), (396, 109)], 1));
        assert!(
            traffic.notes.iter().any(|note| note.contains("`usage.prompt_tokens`")),
            "{:?}",
            traffic.notes
        );
    }
    let file = write(&[(374, Some(44))], ("a", "b"), Compression::SNAPPY);
    let error = read(&file).unwrap_err().to_string();
    assert!(error.contains("`usage.a`, `usage.b`"), "{error}");
    let options =
        TrafficOptions { columns: "prompt=usage.a,output=usage.b".parse().unwrap(), ..Default::default() };
    assert_eq!(read_with(&file, &options).unwrap().requests.len(), 1);
}

#[test]
fn beginnings_and_changes_are_errors_or_lengths() {
    let rows: Vec<_> = (1..30).map(|at| (at, Some(i64::from(at) * 2))).collect();
    let file = write(&rows, NAMES, Compression::SNAPPY);
    for end in 4..file.len() {
        assert!(read(&file[..end]).is_err(), "{end}");
    }
    for at in 4..file.len() {
        for change in [0xff, 0x80] {
            let mut changed = file.clone();
            changed[at] = change;
            let _ = read(&changed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn written_lengths_come_back(written in prop::collection::vec((1i32..1 << 24, 1i64..1 << 24), 1..2500)) {
        let rows: Vec<_> = written.iter().map(|&(prompt, output)| (prompt, Some(output))).collect();
        let traffic = read(&write(&rows, NAMES, Compression::SNAPPY)).unwrap();
        let found: Vec<_> = traffic.requests.iter().map(|r| (r.prompt as i32, i64::from(r.output))).collect();
        prop_assert_eq!(found, written);
    }

    #[test]
    fn any_bytes_between_the_magics(bytes in prop::collection::vec(any::<u8>(), 0..400), length in any::<u32>()) {
        let file = [&b"PAR1"[..], &bytes, &length.to_le_bytes(), b"PAR1"].concat();
        prop_assert!(read(&file).is_err());
        let file = [&b"PAR1"[..], &bytes, &(bytes.len() as u32).to_le_bytes(), b"PAR1"].concat();
        prop_assert!(read(&file).is_err());
    }
}
