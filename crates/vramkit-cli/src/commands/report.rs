//! `vramkit report`.

use std::fs;
use std::path::{Path, PathBuf};

use vramkit_ask::{Drawing, ReadError};

use crate::args::{FormatArg, ReportOptions};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::output;

/// Pixels of a PNG for each of the SVG's.
const SCALE: f32 = 2.0;
/// The largest document that is read.
const MOST_BYTES: u64 = 256 << 20;

pub fn run(options: &ReportOptions, caller: &mut Caller) -> Result<bool, Failure> {
    let documents = options.files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let drawing = Drawing::of(&documents)?;
    let stem = match (&options.output, options.files.first()) {
        (Some(stem), _) => stem.clone(),
        (None, Some(first)) => first.with_extension(""),
        (None, None) => PathBuf::from("report"),
    };
    let formats: &[FormatArg] = match options.format.as_slice() {
        [] if drawing.html().is_some() => &[FormatArg::Pdf, FormatArg::Svg, FormatArg::Png, FormatArg::Html],
        [] => &[FormatArg::Pdf, FormatArg::Svg, FormatArg::Png],
        chosen => chosen,
    };
    let same = |path: &PathBuf| formats.iter().any(|format| output::is_same(&named(&stem, *format), path));
    if let Some(file) = options.files.iter().find(|path| same(path)) {
        return Err(Failure::Input(format!("`{}` would be written over: give --output", file.display())));
    }
    for path in write(&drawing, &stem, formats)? {
        caller.text(&format!("{}\n", path.display()))?;
    }
    Ok(true)
}

/// Writes a drawing; the files that are written.
pub fn write(drawing: &Drawing, stem: &Path, formats: &[FormatArg]) -> Result<Vec<PathBuf>, Failure> {
    let mut written = Vec::new();
    for format in formats {
        let content = match format {
            FormatArg::Pdf => drawing.pdf()?,
            FormatArg::Svg => drawing.svg().as_bytes().to_vec(),
            FormatArg::Png => drawing.png(SCALE)?,
            FormatArg::Html => match drawing.html() {
                Some(html) => html.as_bytes().to_vec(),
                None => {
                    return Err(Failure::Input(
                        "there is a page for a browser of validations alone".to_owned(),
                    ));
                }
            },
        };
        let path = named(stem, *format);
        output::replace(&path, &content)?;
        written.push(path);
    }
    Ok(written)
}

/// What a drawing is called in a format.
fn named(stem: &Path, format: FormatArg) -> PathBuf {
    let ending = match format {
        FormatArg::Pdf => "pdf",
        FormatArg::Svg => "svg",
        FormatArg::Png => "png",
        FormatArg::Html => "html",
    };
    let mut path = stem.as_os_str().to_owned();
    path.push(format!(".{ending}"));
    PathBuf::from(path)
}

fn read(path: &Path) -> Result<serde_json::Value, Failure> {
    let cannot = |error| Failure::Ask(ReadError::Io { path: path.to_owned(), error }.into());
    let metadata = fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err(Failure::Input(format!("`{}` is no file", path.display())));
    }
    let bytes = metadata.len();
    if bytes > MOST_BYTES {
        return Err(Failure::Input(format!(
            "`{}` has {bytes} bytes; documents are read up to {MOST_BYTES}",
            path.display()
        )));
    }
    let text = fs::read(path).map_err(cannot)?;
    // Some editors begin a file with a mark of its byte order.
    serde_json::from_slice(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text))
        .map_err(|error| Failure::Input(format!("`{}` is no JSON: {error}", path.display())))
}
