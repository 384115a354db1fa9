//! Labels along a line, moved apart so that none covers another.

/// Moves labels, each with the place of its middle and its length, along a line from `low` to `high` until they are apart, in
/// their order and as near to their places as that allows. Where there is not room for all, they stand evenly.
pub(crate) fn spread(labels: &[(f64, f64)], low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|&a, &b| labels[a].0.total_cmp(&labels[b].0));
    let total: f64 = labels.iter().map(|label| label.1).sum();
    let shrink = if total > high - low { (high - low) / total } else { 1.0 };
    // Neighbours that touch become a group, which stands where the middles of its labels are on average.
    let mut groups: Vec<(f64, f64, Vec<usize>)> = Vec::new();
    let start_of = |group: &(f64, f64, Vec<usize>)| {
        let (sum, length) = (group.0, group.1);
        (sum / group.2.len() as f64 - length / 2.0).clamp(low, (high - length).max(low))
    };
    for i in order {
        let mut group = (labels[i].0, labels[i].1 * shrink, vec![i]);
        while let Some(last) = groups.pop() {
            if start_of(&last) + last.1 <= start_of(&group) {
                groups.push(last);
                break;
            }
            let members = last.2.into_iter().chain(group.2).collect();
            group = (last.0 + group.0, last.1 + group.1, members);
        }
        groups.push(group);
    }
    let mut places = vec![0.0; labels.len()];
    for group in &groups {
        let mut at = start_of(group);
        for &i in &group.2 {
            let length = labels[i].1 * shrink;
            places[i] = at + length / 2.0;
            at += length;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_with_room_stay_and_others_move_apart() {
        assert_eq!(spread(&[(20.0, 10.0), (60.0, 10.0)], 0.0, 100.0), [20.0, 60.0]);
        assert_eq!(spread(&[(50.0, 10.0), (50.0, 10.0)], 0.0, 100.0), [45.0, 55.0]);
        assert_eq!(spread(&[(99.0, 10.0), (0.0, 10.0)], 0.0, 100.0), [95.0, 5.0]);
        assert!(spread(&[], 0.0, 1.0).is_empty());
    }

    #[test]
    fn many_labels_share_the_room_in_their_order() {
        let places = spread(&[(3.0, 40.0), (1.0, 40.0), (2.0, 40.0)], 0.0, 60.0);
        assert!(places[1] < places[2] && places[2] < places[0], "{places:?}");
        assert!(places.iter().all(|place| (0.0..=60.0).contains(place)), "{places:?}");
    }
}
