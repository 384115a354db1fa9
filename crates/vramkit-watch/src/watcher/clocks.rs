//! Clocks that are set while one watches, and in what was recorded.

use super::absence::{cards, presence};
use super::tests::{patient, watcher};
use super::*;
use crate::record::TickRecorder;

#[test]
fn when_the_clock_is_set_back_the_past_goes_with_it() {
    let (script, mut watcher) = watcher();
    script.lock().unwrap().devices = cards(&[]);
    let wall = |second: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + second);
    (0..5).for_each(|second| drop(watcher.tick_at(Duration::from_secs(second), wall(second))));
    script.lock().unwrap().devices = cards(&[4]);
    watcher.tick_at(Duration::from_secs(5), wall(5));
    // An hour back, and one second on.
    let tick = watcher.tick_at(Duration::from_secs(6), wall(6) - Duration::from_secs(3600));
    let kept = watcher.history();
    let times: Vec<f64> =
        kept.devices["cuda:0"].iter().map(|sample| sample.unix_seconds - 996_400.0).collect();
    assert_eq!(times, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let Presence::Lost { since, .. } = &presence(&tick, "GPU-4").presence else { panic!("it is lost") };
    assert_eq!(*since, utc(wall(5) - Duration::from_secs(3600)));
}

#[test]
fn when_a_clock_is_set_that_was_not_the_past_goes_with_it_and_a_machine_that_slept_has_a_gap() {
    let at = |year_2030: bool, second: u64| {
        let since = if year_2030 { 1_893_456_000 } else { 0 };
        SystemTime::UNIX_EPOCH + Duration::from_secs(since + second)
    };
    for (was_set, spans) in [(false, 6.0), (true, 4.0 + 28_800.0)] {
        let (script, mut watcher) = watcher();
        script.lock().unwrap().devices = cards(&[]);
        (0..4).for_each(|second| drop(watcher.tick_at(Duration::from_secs(second), at(was_set, second))));
        let later = if was_set { at(true, 28_804) } else { at(true, 6) };
        watcher.tick_at(Duration::from_secs(if was_set { 4 } else { 6 }), later);
        let kept = &watcher.history().devices["cuda:0"];
        let (first, last) = (kept[0].unix_seconds, kept.last().unwrap().unix_seconds);
        assert_eq!(last - first, spans, "was set: {was_set}");
        assert_eq!(kept.len(), 5);
    }
}

#[test]
fn a_clock_that_is_wrong_for_a_moment_moves_nothing_of_what_was_kept_right() {
    let wall = |second: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000 + second);
    let folder = tempfile::tempdir().unwrap();
    for hours in [3i64, -3] {
        let (script, mut watcher) = watcher();
        let path = folder.path().join(format!("{hours}.jsonl"));
        watcher.record(TickRecorder::open(&path, 1 << 20).unwrap());
        script.lock().unwrap().devices = cards(&[]);
        let mut tick = None;
        for second in 0..10u64 {
            if second == 2 {
                script.lock().unwrap().devices = cards(&[4]);
            }
            let wrong =
                Duration::from_secs(if (4..6).contains(&second) { 3600 * hours.unsigned_abs() } else { 0 });
            let time = if hours > 0 { wall(second) + wrong } else { wall(second) - wrong };
            tick = Some(watcher.tick_at(Duration::from_secs(second), time));
        }
        let seconds = |watcher: &Watcher| -> Vec<f64> {
            let kept = &watcher.history().devices["cuda:0"];
            let known = kept.iter().filter(|sample| sample.used_bytes.is_some());
            known.map(|sample| (sample.unix_seconds - 1_790_000_000.0).round()).collect()
        };
        assert_eq!(seconds(&watcher), (0..10).map(f64::from).collect::<Vec<_>>(), "{hours}");
        let Presence::Lost { since, .. } = &presence(&tick.unwrap(), "GPU-4").presence.clone() else {
            panic!("it is lost")
        };
        assert_eq!(*since, utc(wall(2)), "{hours}");
        drop(watcher);
        let mut after = Watcher::new(Vec::new(), patient()).unwrap();
        after.restore(&path).unwrap();
        let kept = seconds(&after);
        // Of the minute that the wrong clock was in, the largest reading may stand twice.
        let right = |second: u32| kept.iter().any(|at| (at - f64::from(second)).abs() <= 2.0);
        let is_within = kept.iter().all(|at| (-2.0..12.0).contains(at));
        assert!(kept.len() <= 11 && is_within && (0..10).all(right), "from the recording: {kept:?}");
    }
}
