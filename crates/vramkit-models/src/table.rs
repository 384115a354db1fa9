//! Lifetimes as comma-separated values, in MiniMalloc's format: a header, then a tensor a row.
//!
//! Columns `id,lower,upper,size` and, where wanted, `alignment`, `offset` (a pin), `group` (aliases) and `gaps`
//! (`10-12 20-25`: from the first step of each to before the second the content does not matter); empty cells say
//! nothing. MiniMalloc also writes `buffer` or `buffer_id` for `id`, `start` or `begin` for `lower`, and `end` for
//! `upper`: as in its own reader, `end` names the last step of a life, and gaps beside it the last of theirs, where
//! `upper` names the first step after. Where several clocks (threads, streams) count, `lower` and `upper` have a counter of each,
//! `3;0;5`: one life is over before another begins when its `upper` is at most the other's `lower` in every counter. Other names change nothing. What comes out is a [`LifetimeTable`]: the tensors, and the
//! rows as they were, to be written back with an `offset` column.
//!
//! ```
//! use vramkit_models::table;
//!
//! let text = b"id,lower,upper,size,alignment\na,0,2,100,\nb,1,3,100,64\n";
//! let table = table::parse("net.csv", text, "net", 1)?;
//! assert_eq!((table.tensors[0].alignment, table.tensors[1].alignment), (1, 64));
//! # Ok::<(), vramkit_models::ReadError>(())
//! ```

use std::collections::HashSet;

use vramkit_plan::{ClockLife, TensorLifetime, steps_of_clocks};
use vramkit_units::{ByteSize, Step};

use crate::error::{ReadError, nearest};
use crate::table_cells::{GapCell, after, gap, leave_out, moment, whole_number};

/// A file of lifetimes.
#[derive(Clone, Debug)]
pub struct LifetimeTable {
    /// The tensors, a row each; those without an `alignment` of their own have the one given to [`parse`].
    pub tensors: Vec<TensorLifetime>,
    /// How many clocks `lower` and `upper` count on. With several, the tensors' steps are sets of tensors that may all be live
    /// together, and say nothing about what is first: see [`steps_of_clocks`].
    pub clocks: usize,
    headers: Vec<String>,
    /// The file: its rows take several times as much, each by itself.
    text: Vec<u8>,
}

/// The life of a tensor whose steps are one clock's.
fn on_one_clock(tensor: &TensorLifetime) -> ClockLife {
    ClockLife { start: vec![tensor.start.0], end: vec![tensor.end.0], size: tensor.size }
}

/// What a column means, by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Id,
    Lower,
    /// The first step after a life.
    Upper,
    /// The last step of a life.
    Last,
    Size,
    Alignment,
    Offset,
    /// Where it may be tried first.
    Hint,
    Group,
    Gaps,
}

/// Every header that is known.
const HEADERS: [(&str, Column); 14] = [
    ("id", Column::Id),
    ("lower", Column::Lower),
    ("upper", Column::Upper),
    ("size", Column::Size),
    ("alignment", Column::Alignment),
    ("offset", Column::Offset),
    ("group", Column::Group),
    ("gaps", Column::Gaps),
    ("hint", Column::Hint),
    ("buffer", Column::Id),
    ("buffer_id", Column::Id),
    ("start", Column::Lower),
    ("begin", Column::Lower),
    ("end", Column::Last),
];

/// Reads a table. Errors name the line.
pub fn parse(name: &str, text: &[u8], model: &str, alignment: u64) -> Result<LifetimeTable, ReadError> {
    let at = |line: u64, reason: String| ReadError::At { file: name.to_owned(), line, reason };
    let mut reader = rows_of(text);
    let broken = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                at(line, format!("{len} cells where the header has {expected_len}"))
            }
            csv::ErrorKind::Utf8 { .. } => {
                at(line, "not UTF-8 text; a lifetime table is plain text".to_owned())
            }
            _ => at(line, error.to_string()),
        }
    };
    let headers: Vec<String> = reader.headers().map_err(broken)?.iter().map(str::to_owned).collect();
    let columns = columns(&headers).map_err(|reason| at(1, reason))?;
    let mut table = LifetimeTable { tensors: Vec::new(), clocks: 1, headers, text: text.to_vec() };
    let mut lives = Vec::new();
    let mut lines = Vec::new();
    let mut ids = HashSet::new();
    for row in reader.records() {
        let row = row.map_err(broken)?;
        let line = row.position().map_or(0, csv::Position::line);
        let (tensor, life) = tensor(&row, &columns, model, alignment).map_err(|reason| at(line, reason))?;
        table.clocks = table.clocks.max(life.start.len()).max(life.end.len());
        // A table of one clock, the usual one, has its lives in its tensors.
        if table.clocks > 1 {
            if lives.is_empty() {
                lives.extend(table.tensors.iter().map(on_one_clock));
            }
            lives.push(life);
        }
        if !ids.insert(tensor.id.clone()) {
            return Err(at(line, format!("id `{}` is there twice; ids name one tensor each", tensor.id)));
        }
        table.tensors.push(tensor);
        lines.push(line);
    }
    if table.clocks > 1 {
        let steps = steps_of_clocks(&lives).map_err(|error| match error.life() {
            Some(life) => at(lines[life], format!("`{}`: {error}", table.tensors[life].id)),
            None => ReadError::within(name, error.to_string()),
        })?;
        for (tensor, steps) in table.tensors.iter_mut().zip(steps) {
            (tensor.start, tensor.end, tensor.gaps) = (steps.start, steps.end, steps.gaps);
        }
    }
    Ok(table)
}

fn rows_of(text: &[u8]) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text)
}

/// The meaning of each column, or why the header is not one of a lifetime table.
fn columns(headers: &[String]) -> Result<Vec<Column>, String> {
    let mut columns = Vec::new();
    for header in headers {
        let known = HEADERS.iter().find(|(name, _)| name.eq_ignore_ascii_case(header));
        let Some(&(name, column)) = known else {
            let hint = nearest(header, HEADERS.iter().map(|(name, _)| *name));
            return Err(format!("unknown column `{header}`{hint}"));
        };
        if columns.contains(&column) {
            return Err(format!("column `{name}` is there twice"));
        }
        columns.push(column);
    }
    if columns.contains(&Column::Upper) && columns.contains(&Column::Last) {
        return Err(
            "columns `upper` (the first step after) and `end` (the last step); give one of them".to_owned()
        );
    }
    for (name, column) in &HEADERS[..4] {
        let ends = *column == Column::Upper && columns.contains(&Column::Last);
        if !ends && !columns.contains(column) {
            return Err(format!("no column `{name}`; a lifetime table has the columns id,lower,upper,size"));
        }
    }
    Ok(columns)
}

fn tensor(
    row: &csv::StringRecord,
    columns: &[Column],
    model: &str,
    alignment: u64,
) -> Result<(TensorLifetime, ClockLife), String> {
    let mut life = ClockLife { start: Vec::new(), end: Vec::new(), size: ByteSize::ZERO };
    let mut tensor = TensorLifetime::new(model, "", Step(0), Step(0), ByteSize::ZERO);
    tensor.alignment = alignment;
    let mut gaps: Vec<GapCell> = Vec::new();
    // What a last step lacks to the first step after it.
    let beyond = u64::from(columns.contains(&Column::Last));
    for (cell, column) in row.iter().zip(columns) {
        let optional =
            !matches!(column, Column::Id | Column::Lower | Column::Upper | Column::Last | Column::Size);
        if optional && cell.is_empty() {
            continue;
        }
        let name = HEADERS.iter().find(|(_, known)| known == column).map_or("", |(name, _)| name);
        let number = || whole_number(cell).map_err(|reason| format!("{name} `{cell}` {reason}"));
        match column {
            Column::Id if cell.is_empty() => return Err("a row without an id".to_owned()),
            Column::Id => tensor.id = cell.into(),
            Column::Lower => life.start = moment(cell).map_err(|reason| format!("{name} {reason}"))?,
            Column::Upper => life.end = moment(cell).map_err(|reason| format!("{name} {reason}"))?,
            Column::Last => {
                let last = number().map_err(|reason| match cell.contains(';') {
                    true => format!("{reason}; moments of several clocks are given as `lower` and `upper`"),
                    false => reason,
                })?;
                life.end = vec![after(last, 1).map_err(|reason| format!("end `{cell}` {reason}"))?.0];
            }
            Column::Size => tensor.size = ByteSize::new(number()?),
            Column::Alignment => tensor.alignment = number()?,
            Column::Offset => tensor.pinned = Some(ByteSize::new(number()?)),
            // MiniMalloc's word for none.
            Column::Hint if cell == "-1" => {}
            Column::Hint => tensor.hint = Some(ByteSize::new(number()?)),
            Column::Group => tensor.alias_group = Some(cell.into()),
            Column::Gaps => {
                gaps = cell.split_whitespace().map(|text| gap(text, beyond)).collect::<Result<_, _>>()?;
            }
        }
    }
    life.size = tensor.size;
    (tensor.start, tensor.end) = (Step(life.start[0]), Step(life.end[0]));
    if !gaps.is_empty() && life.start.len() > 1 {
        return Err(format!("`{}` has gaps, which are steps of one clock, and lives on several", tensor.id));
    }
    if tensor.alias_group.is_some() && life.start.len() > 1 {
        return Err(format!(
            "`{}` is in a group, whose life is one stretch of one clock, and lives on several",
            tensor.id
        ));
    }
    let free = gaps.into_iter().filter_map(|gap| gap.free_of(tensor.size).transpose());
    let free: Vec<(Step, Step)> = free.collect::<Result<_, _>>()?;
    leave_out(&mut tensor, free)?;
    if tensor.end < tensor.start {
        return Err(format!(
            "`{}` ends at {}, before its start at {}",
            tensor.id, tensor.end.0, tensor.start.0
        ));
    }
    if !tensor.alignment.is_power_of_two() {
        return Err(format!("alignment {} of `{}` is not a power of two", tensor.alignment, tensor.id));
    }
    Ok((tensor, life))
}

impl LifetimeTable {
    /// The rows as they were read, with each tensor's offset in a column `offset` (the last, unless there was
    /// one).
    pub fn write_with_offsets(&self, offsets: &[ByteSize], into: impl std::io::Write) -> std::io::Result<()> {
        let mut writer = csv::Writer::from_writer(into);
        let column = self.headers.iter().position(|header| header.eq_ignore_ascii_case("offset"));
        let with = |cells: &mut Vec<String>, cell: String| match column {
            Some(column) => cells[column] = cell,
            None => cells.push(cell),
        };
        let mut headers = self.headers.clone();
        with(&mut headers, "offset".to_owned());
        writer.write_record(&headers)?;
        for (row, offset) in rows_of(&self.text).records().zip(offsets) {
            let mut cells: Vec<String> = row?.iter().map(str::to_owned).collect();
            with(&mut cells, offset.bytes().to_string());
            writer.write_record(&cells)?;
        }
        writer.flush()
    }
}

/// Lifetimes of any origin as a table with offsets: `id,lower,upper,size,alignment,offset`, the id led by the
/// model's name where there are several.
pub fn write_plan(plan: &vramkit_plan::AllocationPlan, into: impl std::io::Write) -> std::io::Result<()> {
    let mut writer = csv::Writer::from_writer(into);
    writer.write_record(["id", "lower", "upper", "size", "alignment", "offset"])?;
    for (tensor, offset) in plan.tensors.iter().zip(&plan.offsets) {
        let id = match plan.models.len() {
            1 => tensor.id.to_string(),
            _ => format!("{}/{}", tensor.model, tensor.id),
        };
        let numbers = [tensor.start.0, tensor.end.0, tensor.size.bytes(), tensor.alignment, offset.bytes()];
        writer.write_record(std::iter::once(id).chain(numbers.map(|n| n.to_string())))?;
    }
    writer.flush()
}

/// As [`write_plan`], with the pool that each tensor is in.
pub fn write_pools(plan: &vramkit_plan::PooledPlan, into: impl std::io::Write) -> std::io::Result<()> {
    let mut writer = csv::Writer::from_writer(into);
    writer.write_record(["id", "lower", "upper", "size", "alignment", "pool", "offset"])?;
    for (pool, plan) in &plan.pools {
        for (tensor, offset) in plan.tensors.iter().zip(&plan.offsets) {
            let id = match plan.models.len() {
                1 => tensor.id.to_string(),
                _ => format!("{}/{}", tensor.model, tensor.id),
            };
            let numbers = [tensor.start.0, tensor.end.0, tensor.size.bytes(), tensor.alignment];
            let cells = std::iter::once(id).chain(numbers.map(|n| n.to_string()));
            writer.write_record(cells.chain([pool.name.to_string(), offset.bytes().to_string()]))?;
        }
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<LifetimeTable, String> {
        parse("t.csv", text.as_bytes(), "t", 1).map_err(|error| error.to_string())
    }

    #[test]
    fn rows_become_tensors_and_go_back_with_offsets() {
        let table = read("id,lower,upper,size,alignment\nb1, 0,3,4,\nb2,3,9,4,8\n").unwrap();
        assert_eq!(table.tensors.len(), 2);
        assert_eq!((table.tensors[0].alignment, table.tensors[1].alignment), (1, 8));
        let mut out = Vec::new();
        table.write_with_offsets(&[ByteSize::new(0), ByteSize::new(16)], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "id,lower,upper,size,alignment,offset\nb1,0,3,4,,0\nb2,3,9,4,8,16\n");
        let again = read(&text).unwrap();
        assert_eq!(again.tensors[1].pinned, Some(ByteSize::new(16)), "an offset read back is a pin");
    }

    #[test]
    fn an_end_is_the_last_step_of_a_life() {
        let life = |tensor: &TensorLifetime| (tensor.start.0, tensor.end.0);
        let lives = |text: &str| read(text).unwrap().tensors.iter().map(life).collect::<Vec<_>>();
        assert_eq!(lives("buffer,start,end,size\na,0,2,4\nb,2,4,4\n"), [(0, 3), (2, 5)]);
        assert_eq!(lives("buffer_id,begin,upper,size\na,0,2,4\nb,2,4,4\n"), [(0, 2), (2, 4)]);
        assert_eq!(lives("id,lower,END,size\na,3,3,4\n"), [(3, 4)]);
        assert_eq!(lives("id,start,end,size\na,3,2,4\n"), [(3, 3)]);
        let table = read("id,start,end,size,gaps\na,0,9,4,2-4\n").unwrap();
        assert_eq!(table.tensors[0].gaps, [(Step(2), Step(5))]);
        let mut out = Vec::new();
        table.write_with_offsets(&[ByteSize::new(8)], &mut out).unwrap();
        assert_eq!(out, b"id,start,end,size,gaps,offset\na,0,9,4,2-4,8\n");
    }

    #[test]
    fn gaps_are_taken_out_of_a_life() {
        let gaps = |cell: &str| {
            let table = read(&format!("id,lower,upper,gaps,size\na,0,9,{cell},4\n")).unwrap();
            let tensor = table.tensors[0].clone();
            (
                tensor.start.0,
                tensor.end.0,
                tensor.gaps.iter().map(|gap| (gap.0.0, gap.1.0)).collect::<Vec<_>>(),
            )
        };
        assert_eq!(gaps("6-7 2-4"), (0, 9, vec![(2, 4), (6, 7)]));
        assert_eq!(gaps("4-6 2-4"), (0, 9, vec![(2, 6)]));
        assert_eq!(gaps("0-2 7-9"), (2, 7, vec![]));
        assert_eq!(gaps("0-9"), (9, 9, vec![]));
        // A window of no bytes leaves all free, one of all bytes nothing.
        assert_eq!(gaps("2-4@3:3 5-6@0:4"), (0, 9, vec![(2, 4)]));
    }

    #[test]
    fn hints_are_kept_and_none_is_minus_one() {
        let table = read("id,lower,upper,size,hint\na,0,9,4,8\nb,0,9,4,-1\nc,0,9,4,\n").unwrap();
        let hints: Vec<_> = table.tensors.iter().map(|tensor| tensor.hint).collect();
        assert_eq!(hints, [Some(ByteSize::new(8)), None, None]);
    }

    #[test]
    fn lives_on_several_clocks_meet_where_neither_is_first() {
        let text = "id,lower,upper,size\na,0;0,1;0,4\nb,1;0,2;0,4\nc,0;0,0;3,4\nd,2;3,3;3,4\n";
        let table = read(text).unwrap();
        assert_eq!(table.clocks, 2);
        let meet = |i: usize, j: usize| table.tensors[i].overlaps(&table.tensors[j]);
        assert!(!meet(0, 1) && meet(0, 2) && meet(1, 2));
        assert!((0..3).all(|i| !meet(i, 3)));
        let mut out = Vec::new();
        table.write_with_offsets(&[ByteSize::ZERO; 4], &mut out).unwrap();
        assert!(out.starts_with(b"id,lower,upper,size,offset\na,0;0,1;0,4,0\n"));
    }

    #[test]
    fn every_fault_names_its_line() {
        for (text, line, reason) in [
            ("id,lower,upper,size\na,0,3\n", 2, "3 cells where the header has 4"),
            ("id,lower,upper,size\na,0,3,4\nb,0,3,4,5\n", 3, "5 cells"),
            ("id,lower,upper,size\na,0,3,-4\n", 2, "size `-4` is negative"),
            ("id,lower,upper,size\na,0,3,18446744073709551616\n", 2, "more than 2^64"),
            ("id,lower,upper,size\na,0,3,1e3\n", 2, "not a whole number"),
            ("id,lower,upper,size\na,5,3,4\n", 2, "before its start"),
            ("id,lower,upper,size\na,0,3,4\na,0,3,4\n", 3, "twice"),
            ("id,lower,upper,sise\na,0,3,4\n", 1, "unknown column `sise`; did you mean `size`?"),
            ("id,lower,size\na,0,3\n", 1, "no column `upper`"),
            ("id,lower,upper,end,size\na,0,3,3,1\n", 1, "give one of them"),
            ("id,start,end,size\na,0,18446744073709551615,1\n", 2, "none is after it"),
            ("id,start,end,size\na,5,3,1\n", 2, "before its start"),
            ("id,lower,upper,size,alignment\na,0,3,4,3\n", 2, "not a power of two"),
            ("id,lower,upper,size,gaps\na,0,9,4,3\n", 2, "gap `3` is not of the form"),
            ("id,lower,upper,size,gaps\na,0,9,4,3-5@0:2\n", 2, "leaves a window of some of the bytes in use"),
            ("id,lower,upper,size,gaps\na,0,9,4,3-5@0\n", 2, "not of the form first-end@low:high"),
            ("id,lower,upper,size,gaps\na,0,9,4,3-5@3:2\n", 2, "ends before it begins"),
            ("id,lower,upper,gaps,size\na,0,9,3-5@2:5,4\n", 2, "beyond the size, 4"),
            ("id,lower,upper,size,gaps\na,0,9,4,5-3\n", 2, "has no steps"),
            ("id,lower,upper,size,gaps\na,0,9,4,5-7 3-6\n", 2, "overlap at step 5"),
            ("id,lower,upper,size,hint\na,0,9,4,-2\n", 2, "hint `-2` is negative"),
            ("id,lower,upper,size\na,0;0,1;1,4\nb,0;0;0,1;1;1,4\n", 3, "a moment of 3 counters"),
            ("id,lower,upper,size\na,0;0,1;1,4\nb,0,1,4\n", 3, "a moment of 1 counters"),
            ("id,lower,upper,size\na,0;4,1;1,4\n", 2, "ends at 1 on clock 1"),
            ("id,lower,upper,size\na,0;,1;1,4\n", 2, "lower `0;` is not"),
            ("id,lower,end,size\na,0;0,1;1,4\n", 2, "given as `lower` and `upper`"),
            ("id,lower,upper,gaps,size\na,0;0,9;9,2-3,4\n", 2, "steps of one clock"),
            ("id,lower,upper,group,size\na,0;0,9;9,g,4\n", 2, "is in a group"),
            ("id,lower,start,upper,size\na,0,0,9,4\n", 1, "column `start` is there twice"),
            ("id,lower,upper,size,gaps\na,0,9,4,3-x\n", 2, "not a whole number"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(&format!("line {line}")) && error.contains(reason), "{text:?}: {error}");
        }
        assert!(read("").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), header: bool) {
            let mut text = if header { b"id,lower,upper,size\n".to_vec() } else { Vec::new() };
            text.extend(bytes);
            let _ = parse("t.csv", &text, "t", 1);
        }
    }
}
