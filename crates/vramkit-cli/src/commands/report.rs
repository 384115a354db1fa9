//! `vramkit report`.

use std::fs;
use std::path::{Path, PathBuf};

use vramkit_ask::{Drawing, ReadError};

use crate::args::{FormatArg, ReportOptions};
use crate::failure::Failure;
use crate::output;

/// Pixels of a PNG for each of the SVG's.
const SCALE: f32 = 2.0;
/// The largest document that is read.
const MOST_BYTES: u64 = 1 << 30;

pub fn run(options: &ReportOptions) -> Result<bool, Failure> {
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
    for path in write(&drawing, &stem, formats)? {
        output::text(&format!("{}\n", path.display()))?;
    }
    Ok(true)
}

/// Writes a drawing; the files that are written.
pub fn write(drawing: &Drawing, stem: &Path, formats: &[FormatArg]) -> Result<Vec<PathBuf>, Failure> {
    let mut written = Vec::new();
    for format in formats {
        let (ending, content) = match format {
            FormatArg::Pdf => ("pdf", drawing.pdf()?),
            FormatArg::Svg => ("svg", drawing.svg().as_bytes().to_vec()),
            FormatArg::Png => ("png", drawing.png(SCALE)?),
            FormatArg::Html => match drawing.html() {
                Some(html) => ("html", html.as_bytes().to_vec()),
                None => {
                    return Err(Failure::Input(
                        "there is a page for a browser of validations alone".to_owned(),
                    ));
                }
            },
        };
        let mut path = stem.as_os_str().to_owned();
        path.push(format!(".{ending}"));
        let path = PathBuf::from(path);
        output::replace(&path, &content)?;
        written.push(path);
    }
    Ok(written)
}

fn read(path: &Path) -> Result<serde_json::Value, Failure> {
    let cannot = |error| Failure::Ask(ReadError::Io { path: path.to_owned(), error }.into());
    let bytes = fs::metadata(path).map_err(cannot)?.len();
    if bytes > MOST_BYTES {
        return Err(Failure::Input(format!(
            "`{}` has {bytes} bytes; documents are read up to {MOST_BYTES}",
            path.display()
        )));
    }
    let text = fs::read(path).map_err(cannot)?;
    serde_json::from_slice(&text)
        .map_err(|error| Failure::Input(format!("`{}` is no JSON: {error}", path.display())))
}
