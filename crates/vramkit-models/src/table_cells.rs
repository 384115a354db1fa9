//! Numbers and gaps in the cells of a lifetime table.
//!
//! In: a cell's text. Out: whole numbers, steps, and the steps of a life during which a tensor's place is free; what is wrong with
//! a cell otherwise, for the reader to add the line.

use vramkit_plan::TensorLifetime;
use vramkit_units::{ByteSize, Step};

/// A number of 64 bits without sign, or what is wrong with it.
pub(crate) fn whole_number(cell: &str) -> Result<u64, &'static str> {
    cell.parse().map_err(|_| {
        let digits = cell.strip_prefix('-').unwrap_or(cell);
        let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        match (whole, cell.starts_with('-')) {
            (true, true) => "is negative",
            (true, false) => "is more than 2^64 - 1",
            _ => "is not a whole number",
        }
    })
}

/// A moment: a counter of each clock, `3;0;5`; of one clock a number.
pub(crate) fn moment(cell: &str) -> Result<Vec<u64>, String> {
    let counters = cell.split(';').map(|counter| whole_number(counter.trim()));
    counters.collect::<Result<_, _>>().map_err(|reason| format!("`{cell}` {reason}"))
}

/// The step so many after another.
pub(crate) fn after(step: u64, beyond: u64) -> Result<Step, &'static str> {
    step.checked_add(beyond).map(Step).ok_or("is the last step that there is, and none is after it")
}

/// A gap as it stands in a cell.
pub(crate) struct GapCell {
    text: String,
    steps: (Step, Step),
    /// The bytes of the tensor, half-open, that are in use all the same; none where there is no window.
    in_use: (u64, u64),
}

/// A gap, `first-end` or `first-end@low:high`, its end so many steps before the first one after it; during one with a window the bytes
/// `[low, high)` of the tensor stay in use, as in MiniMalloc's tables.
pub(crate) fn gap(text: &str, beyond: u64) -> Result<GapCell, String> {
    let refuse = |reason: &str| format!("gap `{text}` {reason}");
    let pair = |pair: &str, between: char, form: &str| match pair.split_once(between) {
        Some((first, last)) => Ok((first.to_owned(), last.to_owned())),
        None => Err(refuse(&format!("is not of the form {form}"))),
    };
    let number = |cell: &str| whole_number(cell).map_err(|reason| refuse(&format!("{reason}: `{cell}`")));
    let (steps, window) = match text.split_once('@') {
        Some((steps, window)) => (steps, Some(window)),
        None => (text, None),
    };
    let (start, end) = pair(steps, '-', "first-end")?;
    let end = after(number(&end)?, beyond).map_err(|reason| refuse(&format!("{reason}: `{end}`")))?;
    let in_use = match window {
        Some(window) => {
            let (low, high) = pair(window, ':', "first-end@low:high")?;
            (number(&low)?, number(&high)?)
        }
        None => (0, 0),
    };
    if in_use.1 < in_use.0 {
        return Err(refuse("has a window that ends before it begins"));
    }
    Ok(GapCell { text: text.to_owned(), steps: (Step(number(&start)?), end), in_use })
}

impl GapCell {
    /// The steps during which a tensor's whole place is free, if there are any. A part of a place cannot be planned.
    pub(crate) fn free_of(self, size: ByteSize) -> Result<Option<(Step, Step)>, String> {
        let (low, high) = self.in_use;
        let refuse = |reason: &str| Err(format!("gap `{}` {reason}", self.text));
        match () {
            () if low == high => Ok(Some(self.steps)),
            () if high > size.bytes() => refuse(&format!("has a window beyond the size, {}", size.bytes())),
            () if (low, high) == (0, size.bytes()) => Ok(None),
            () => refuse(
                "leaves a window of some of the bytes in use, which cannot be planned; without the gap the whole tensor \
                 stays in use, which is safe and may take a larger arena",
            ),
        }
    }
}

/// Takes gaps out of a life, in any order: those that meet are one, and those at an end of the life make it shorter.
pub(crate) fn leave_out(tensor: &mut TensorLifetime, mut gaps: Vec<(Step, Step)>) -> Result<(), String> {
    gaps.sort_unstable();
    for (start, end) in gaps {
        if end <= start {
            return Err(format!("gap `{}-{}` of `{}` has no steps", start.0, end.0, tensor.id));
        }
        match tensor.gaps.last_mut() {
            Some(last) if last.1 > start => {
                return Err(format!(
                    "gaps of `{}` overlap at step {}; a step is in one gap at most",
                    tensor.id, start.0
                ));
            }
            Some(last) if last.1 == start => last.1 = end,
            _ => tensor.gaps.push((start, end)),
        }
    }
    tensor.gaps.shrink_to_fit();
    if let Some(&(start, end)) = tensor.gaps.first()
        && start == tensor.start
        && end <= tensor.end
    {
        tensor.start = end;
        tensor.gaps.remove(0);
    }
    if let Some(&(start, end)) = tensor.gaps.last()
        && end == tensor.end
        && start >= tensor.start
    {
        tensor.end = start;
        tensor.gaps.pop();
    }
    Ok(())
}
