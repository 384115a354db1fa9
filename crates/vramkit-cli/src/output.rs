//! How results are written: tables, files.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::failure::Failure;

/// What stands out.
pub const BOLD: Style = Style::new().bold();
/// What is good news.
pub const GOOD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
/// What is bad news.
pub const BAD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
/// What can be skipped.
pub const DIM: Style = Style::new().dimmed();

/// Rows in columns, the first one of headers; all but the first column to the right. Colours take no place, wide letters two.
pub fn table(rows: &[Vec<String>]) -> String {
    let seen = |cell: &str| anstream::adapter::strip_str(cell).map(UnicodeWidthStr::width).sum::<usize>();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| seen(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for (i, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            let blanks = " ".repeat(width - seen(cell));
            if column == 0 { format!("{cell}{blanks}") } else { format!("{blanks}{cell}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let line = line.trim_end();
        out += &if i == 0 { format!("  {DIM}{line}{DIM:#}\n") } else { format!("  {line}\n") };
    }
    out
}

/// A text of at most so many columns of a terminal, with an ellipsis where it was longer.
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let fits = |letter: &char| {
        let width = letter.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// Writes a file through a closure.
pub fn file(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), Failure> {
    let failed = |error| Failure::Write { path: path.to_owned(), error };
    let mut out = BufWriter::new(File::create(path).map_err(failed)?);
    write(&mut out).and_then(|()| out.flush()).map_err(failed)
}

/// That a file can be made in a folder, before the work that it is for. Nothing is left of the attempt.
pub fn try_folder(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".vramkit-{}", std::process::id()));
    std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe))
}

/// That a file can be put in its place, before the work that it is for.
pub fn can_be_written(path: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::Write { path: path.to_owned(), error };
    match path.metadata() {
        // What is in it stays.
        Ok(metadata) if metadata.is_file() => {
            std::fs::OpenOptions::new().append(true).open(path).map_err(failed)?;
        }
        // A pipe would wait for who reads it.
        Ok(_) => return Ok(()),
        Err(_) => {}
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    try_folder(folder.unwrap_or(Path::new("."))).map_err(failed)
}

/// Whether two paths are of one file that is there, under whatever names.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let which = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino())).ok();
    which(one).is_some_and(|file| which(other) == Some(file))
}

/// Puts a file in the place of another of its name, whole or not at all. What is no file, such as a pipe, is written to.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let failed = |error| Failure::Write { path: path.to_owned(), error };
    // A link stays one.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if target.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return std::fs::write(&target, content).map_err(failed);
    }
    let mut beside = target.clone().into_os_string();
    beside.push(format!(".{}", std::process::id()));
    let written = std::fs::write(&beside, content).and_then(|()| std::fs::rename(&beside, &target));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_letters_keep_columns_aligned_and_long_names_are_cut() {
        let row = |name: &str, size: &str| vec![name.to_owned(), size.to_owned()];
        let rows = [row("holder", "holds"), row("千问大模型", "1 GiB"), row("llama", "20 GiB")];
        let text = anstream::adapter::strip_str(&table(&rows)).to_string();
        let widths: Vec<usize> = text.lines().map(UnicodeWidthStr::width).collect();
        assert_eq!(widths, [widths[0]; 3], "{text}");
        assert_eq!((cut("llama", 5).as_str(), cut("llama-3", 5).as_str()), ("llama", "llam…"));
        assert_eq!((cut("千问大模型", 6).as_str(), cut("千问大模型", 5).as_str()), ("千问…", "千问…"));
        assert_eq!(cut(&"M".repeat(100_000), 60).width(), 60);
    }
}
