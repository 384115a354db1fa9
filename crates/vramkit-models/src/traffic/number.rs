//! What one cell holds: a whole number of tokens, or a time to put rows in order by.

/// What a cell holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Number(f64),
    Text(String),
    /// Nothing, and what is neither number nor text.
    Null,
}

/// What a comma within a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commas {
    /// It sets off thousands, as where commas are between the columns too.
    Thousands,
    /// It sets off thousands or decimals: the file's country writes numbers either way.
    Either,
}

/// A cell's whole number; none where the cell is empty.
pub(super) fn whole(cell: &Scalar, commas: Commas) -> Result<Option<f64>, String> {
    let number = match cell {
        Scalar::Null => return Ok(None),
        Scalar::Number(number) => Some(*number),
        Scalar::Text(text) => match text.trim() {
            "" | "null" | "None" => return Ok(None),
            text => text.parse().ok().or_else(|| with_thousands(text, commas)),
        },
    };
    match number {
        Some(number) if number.is_finite() && number.fract() == 0.0 => Ok(Some(number)),
        _ => Err(match cell {
            Scalar::Number(number) => number.to_string(),
            Scalar::Text(text) => text.chars().take(60).collect(),
            Scalar::Null => String::new(),
        }),
    }
}

/// `1,234`, where it can be nothing but one thousand two hundred and thirty-four.
fn with_thousands(text: &str, commas: Commas) -> Option<f64> {
    let groups: Vec<&str> = text.split(',').collect();
    let (first, others) = groups.split_first()?;
    let digits = |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
    let is_grouped =
        digits(first) && first.len() <= 3 && others.iter().all(|group| digits(group) && group.len() == 3);
    if others.is_empty() || others.len() > 5 || !is_grouped {
        return None;
    }
    // As decimals `1,234` would be no whole number, which a length is; `12,000` would be twelve.
    let could_be_decimals = others.len() == 1 && others[0] == "000";
    if commas == Commas::Either && could_be_decimals {
        return None;
    }
    text.replace(',', "").parse().ok()
}

/// Seconds, or whatever unit the column has, since whenever it counts from; not a number where there is no telling.
pub(super) fn time(cell: &Scalar) -> f64 {
    match cell {
        Scalar::Number(number) => *number,
        Scalar::Null => f64::NAN,
        Scalar::Text(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| calendar(text)).unwrap_or(f64::NAN)
        }
    }
}

/// `2023-11-16 18:15:46.68`, with `T` in the middle and an offset behind as well.
fn calendar(text: &str) -> Option<f64> {
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<f64>().ok();
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute) = (part(11, 13)?, part(14, 16)?);
    let behind = text.get(16..)?;
    let ends = behind.find(['Z', '+', '-', ' ']).unwrap_or(behind.len());
    let seconds = behind.get(1..ends).and_then(|seconds| seconds.parse::<f64>().ok()).unwrap_or(0.0);
    let zone = behind.get(ends..).unwrap_or_default();
    let offset = match zone.as_bytes().first() {
        Some(sign @ (b'+' | b'-')) => {
            let hours = zone.get(1..3).and_then(|hours| hours.parse::<f64>().ok()).unwrap_or(0.0);
            if *sign == b'+' { -hours } else { hours }
        }
        _ => 0.0,
    };
    // Only the order counts: a month of 31 days keeps it.
    let days = (year * 12.0 + month) * 31.0 + day;
    Some(((days * 24.0 + hour + offset) * 60.0 + minute) * 60.0 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_and_nothing_else() {
        let read = |text: &str, commas| whole(&Scalar::Text(text.to_owned()), commas);
        for (text, expected) in [
            ("374", Some(374.0)),
            (" 12.0 ", Some(12.0)),
            ("1,234", Some(1234.0)),
            ("12,000", Some(12000.0)),
            ("1,234,567", Some(1_234_567.0)),
            ("-4", Some(-4.0)),
            ("", None),
        ] {
            assert_eq!(read(text, Commas::Thousands), Ok(expected), "{text}");
        }
        for text in ["x", "NaN", "inf", "1.5", "1,23", ",123", "1234,567", "12,", "0x10", "1,234.5", "1,,234"]
        {
            assert!(read(text, Commas::Thousands).is_err(), "{text}");
        }
        assert_eq!(read("1,234", Commas::Either), Ok(Some(1234.0)));
        assert_eq!(read("12,000,000", Commas::Either), Ok(Some(12e6)));
        assert!(read("12,000", Commas::Either).is_err());
        assert_eq!(whole(&Scalar::Number(7.0), Commas::Either), Ok(Some(7.0)));
        assert_eq!(whole(&Scalar::Number(7.5), Commas::Either), Err("7.5".to_owned()));
    }

    #[test]
    fn times_are_in_order() {
        let text = |text: &str| time(&Scalar::Text(text.to_owned()));
        let ordered = [
            "2023-11-16 18:15:46.6805900",
            "2023-11-16T18:15:47Z",
            "2023-11-16T20:15:48+02:00",
            "2023-12-01 00:00:00",
            "2024-01-01T00:00:00.5",
        ];
        assert!(ordered.windows(2).all(|pair| text(pair[0]) < text(pair[1])));
        assert!(text("yesterday").is_nan() && text("").is_nan() && text("ä23-11-16T18:15:47Z").is_nan());
        assert_eq!(text("12.5"), 12.5);
    }
}
