//! The largest number of a range that fits, in few questions.

/// The largest of `0..=last` with a headroom of 0 or more that is found between one that fits and one that does not; `None`
/// when 0 does not fit. `headroom` gives bytes, or `None` for a number that is out of the question.
///
/// Need grows nearly in a line, so the next number to ask about is where a line through the two ends crosses 0; where that
/// does not halve what is left, the middle is. What is returned was asked about, and so was the number above it: where need
/// does not grow steadily another pair like it may lie higher.
pub(crate) fn largest(last: u64, mut headroom: impl FnMut(u64) -> Option<i128>) -> Option<u64> {
    let fits = |left: &i128| *left >= 0;
    let high = headroom(last);
    if high.as_ref().is_some_and(fits) {
        return Some(last);
    }
    let mut low = (0, headroom(0).filter(fits)?);
    let mut high = (last, high);
    let mut halve = false;
    while high.0 - low.0 > 1 {
        let width = high.0 - low.0;
        let crossing = match high.1 {
            Some(over) if !halve => crossing(width, low.1, over),
            _ => width / 2,
        };
        let next = low.0 + crossing.clamp(1, width - 1);
        match headroom(next) {
            Some(left) if fits(&left) => low = (next, left),
            left => high = (next, left),
        }
        halve = high.0 - low.0 > width / 2;
    }
    Some(low.0)
}

/// Where a line from `left` at 0 to `over`, which is negative, at `width` crosses 0.
fn crossing(width: u64, left: i128, over: i128) -> u64 {
    let part = left as f64 / (left as f64 - over as f64);
    (part * width as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_takes_five_questions() {
        for (each, room) in [(131_072, 5 << 30), (17, 1_000_000), (1, 3)] {
            let mut asked = 0;
            let found = largest(1 << 40, |n| {
                asked += 1;
                Some(room - i128::from(n) * each)
            });
            assert_eq!(found, Some(u64::try_from(room / each).expect("small")));
            assert!(asked <= 48, "{asked}");
        }
        let mut asked = 0;
        let found = largest(512, |n| {
            asked += 1;
            Some(40_000 - 100 * i128::from(n))
        });
        assert_eq!((found, asked), (Some(400), 4));
    }

    #[test]
    fn ends() {
        assert_eq!(largest(9, |_| Some(0)), Some(9));
        assert_eq!(largest(9, |_| Some(-1)), None);
        assert_eq!(largest(9, |_| None), None);
        assert_eq!(largest(0, |_| Some(1)), Some(0));
        assert_eq!(largest(9, |n| (n < 4).then_some(1)), Some(3));
    }

    proptest! {
        #[test]
        fn what_is_found_fits_and_the_next_does_not(
            last in 0_u64..3000,
            room in 0_i128..100_000,
            needs in proptest::collection::vec(0_i128..100, 3001),
        ) {
            // Any need that grows: the sum of what each number adds.
            let sums: Vec<i128> = needs.iter().scan(0, |sum, add| { *sum += add; Some(*sum) }).collect();
            let mut asked = 0;
            let headroom = |n: u64| room - sums[n as usize];
            let found = largest(last, |n| { asked += 1; Some(headroom(n)) });
            let slowly = (0..=last).take_while(|&n| headroom(n) >= 0).last();
            prop_assert_eq!(found, slowly);
            prop_assert!(asked <= 2 + 2 * 12, "{}", asked);
        }

        #[test]
        fn where_need_is_not_steady_what_is_found_fits(
            needs in proptest::collection::vec(-100_i128..100, 1..200),
        ) {
            let last = needs.len() as u64 - 1;
            if let Some(found) = largest(last, |n| Some(needs[n as usize])) {
                prop_assert!(needs[found as usize] >= 0);
            }
        }
    }
}
