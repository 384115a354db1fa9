//! Which cards a process may see: what `CUDA_VISIBLE_DEVICES` leaves of those that a library lists, in its order.

/// Names them.
pub(super) const VARIABLE: &str = "CUDA_VISIBLE_DEVICES";

/// Where the library lists the `index`-th card that `CUDA_VISIBLE_DEVICES` leaves; why there is none.
pub(super) fn place(
    index: u32,
    count: u32,
    visible: Option<&str>,
    uuids: impl Fn() -> Vec<String>,
) -> Result<u32, String> {
    let cards =
        |count: u32| format!("{count} {}", if count == 1 { "card is listed" } else { "cards are listed" });
    let listed = |place: u32| if place < count { Ok(place) } else { Err(cards(count)) };
    let Some(visible) = visible else { return listed(index) };
    // As the driver reads it: up to the first entry that names no card.
    let mut places = Vec::new();
    for entry in visible.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let found = match entry.parse::<u32>() {
            Ok(place) => (place < count).then_some(place),
            Err(_) if entry.starts_with("MIG") => {
                return Err(format!("{VARIABLE} names a part of a card (`{entry}`): see `vramkit top`"));
            }
            Err(_) if entry.starts_with("GPU-") => {
                uuids().iter().position(|uuid| uuid.starts_with(entry)).map(|place| place as u32)
            }
            Err(_) => None,
        };
        match found {
            Some(place) => places.push(place),
            None => break,
        }
    }
    let left = || format!("{VARIABLE}={visible} leaves {} of {count}", places.len());
    places.get(index as usize).copied().ok_or_else(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visible_cards_are_counted() {
        let uuids = || vec!["GPU-aa11".to_owned(), "GPU-bb22".to_owned(), "GPU-bb33".to_owned()];
        let at = |index, visible| place(index, 3, visible, uuids);
        assert_eq!((at(0, None), at(2, None)), (Ok(0), Ok(2)));
        assert!(at(3, None).unwrap_err().contains("3 cards are listed"));
        assert_eq!((at(0, Some("2,0")), at(1, Some("2, 0"))), (Ok(2), Ok(0)));
        assert_eq!(at(0, Some("GPU-bb3")), Ok(2));
        // What names no card ends the list, as for the driver; none at all hides every card.
        assert!(at(1, Some("1,7,0")).unwrap_err().contains("leaves 1 of 3"));
        assert!(at(0, Some("")).is_err() && at(0, Some("-1")).is_err() && at(0, Some("MIG-x")).is_err());
    }
}
