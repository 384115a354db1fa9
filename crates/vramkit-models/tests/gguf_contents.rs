//! Arrays and weights that stay in a GGUF file until asked for.

mod common;

use std::io::{Seek, SeekFrom, Write};

use common::{Gguf, llama};
use vramkit_models::gguf::{GgufFile, Texts};

fn opened(gguf: &Gguf) -> (tempfile::TempDir, GgufFile) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("model.gguf");
    gguf.write(&path);
    let file = GgufFile::open(&path).expect("opened");
    (folder, file)
}

fn array(kind: u32, count: u64, values: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), values].concat()
}

#[test]
fn arrays_by_their_types() {
    let floats: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let many: Vec<u8> = (0..5000i32).flat_map(|value| (value - 2500).to_le_bytes()).collect();
    let file = llama()
        .texts("words", &["ä", "", "bc"])
        .raw("floats", 9, &array(6, 2, &floats))
        .raw("many", 9, &array(5, 5000, &many))
        .numbers("few", &[7, 8]);
    let (_folder, file) = opened(&file);
    let words = file.texts("words").expect("texts").expect("there");
    assert_eq!(words, ["ä", "", "bc"].iter().collect::<Texts>());
    assert_eq!((words.len(), words.get(0), words.get(2), words.get(3)), (3, Some("ä"), Some("bc"), None));
    assert_eq!(file.floats("floats").expect("floats"), Some(vec![1.5, -2.0]));
    assert_eq!(file.integers("few").expect("integers"), Some(vec![7, 8]));
    let many = file.integers("many").expect("integers").expect("there");
    assert_eq!((many.len(), many[0], many[4999]), (5000, -2500, 2499));
    assert_eq!(file.texts("none").expect("nothing"), None);
    for refused in [
        file.texts("floats").map(|_| ()),
        file.floats("words").map(|_| ()),
        file.integers("words").map(|_| ()),
    ] {
        assert!(refused.expect_err("another type").to_string().contains("is no array of"));
    }
    assert!(file.texts("general.architecture").is_err());
}

#[test]
fn texts_that_are_no_text() {
    // A character cut in two: together they are UTF-8, apart they are not.
    let halves = [&1u64.to_le_bytes()[..], &[0xc3], &1u64.to_le_bytes(), &[0xa4]].concat();
    let (_folder, file) = opened(&llama().raw("words", 9, &array(8, 2, &halves)));
    assert!(file.texts("words").expect_err("halves").to_string().contains("no UTF-8"));
}

#[test]
fn parts_of_tensors() {
    let (folder, file) = opened(&llama());
    let path = folder.path().join("model.gguf");
    let (_, end) = llama().bytes();
    let mut bytes = std::fs::OpenOptions::new().write(true).open(&path).expect("open");
    // The last number of the last tensor.
    bytes.seek(SeekFrom::Start(end - 4)).expect("seek");
    bytes.write_all(&2.5f32.to_le_bytes()).expect("write");
    let mut last = [0; 4];
    file.read_tensor(1, 64 * 100 * 4 - 4, &mut last).expect("read");
    assert_eq!(f32::from_le_bytes(last), 2.5);
    assert!(file.read_tensor(1, 64 * 100 * 4 - 3, &mut last).is_err());
    assert!(file.read_tensor(2, 0, &mut last).is_err());
    // It has been written to since it was opened.
    bytes.set_len(end + 1).expect("longer");
    assert!(file.check_unchanged().expect_err("changed").to_string().contains("has changed"));
}

#[test]
fn tensors_of_several_files() {
    let folder = tempfile::tempdir().expect("folder");
    let part = |at: u16| Gguf::default().short("split.no", at).short("split.count", 2);
    let first = part(0).text("general.architecture", "llama").tensor("a", &[8]);
    first.write(&folder.path().join("m-00001-of-00002.gguf"));
    let second = folder.path().join("m-00002-of-00002.gguf");
    part(1).tensor("b", &[8]).write(&second);
    let length = std::fs::metadata(&second).expect("there").len();
    let mut bytes = std::fs::OpenOptions::new().write(true).open(&second).expect("open");
    bytes.seek(SeekFrom::Start(length - 32)).expect("seek");
    bytes.write_all(&7f32.to_le_bytes()).expect("write");
    drop(bytes);
    let file = GgufFile::open(&folder.path().join("m-00001-of-00002.gguf")).expect("opened");
    let mut value = [0; 4];
    file.read_tensor(1, 0, &mut value).expect("read");
    assert_eq!((&*file.header().tensors[1].name, f32::from_le_bytes(value)), ("b", 7.0));
}
