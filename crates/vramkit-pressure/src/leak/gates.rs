//! What is asked of a window before anybody speaks of growth, scale by scale. Tuned on seeds 0 and up of
//! `cargo bench -p vramkit-testing --bench leaks`, reported on others.
//!
//! Who knows the card's capacity knows what is urgent, and can wait where nothing is: small growth far from full is
//! watched for longer, and growth that takes what is left is told at any level.

/// Growth below this is nobody's concern, whatever it is a part of: contexts, kernels and idle cards move by tens of MiB.
pub(super) const LEAST_BYTES: f64 = 64.0 * 1_048_576.0;
/// And growth below this part of the headroom.
pub(super) const LEAST_OF_HEADROOM: f64 = 0.01;

/// What is asked at one scale.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    /// Growth over the window, of the level at its start.
    pub(super) of_level: f64,
    /// Or of the headroom at its start, where that is known.
    pub(super) of_headroom: f64,
    /// For how many blocks all must hold, four times in five.
    pub(super) hold: u32,
}

/// The gate of a lane. Short windows see much by chance, so they ask for more growth and hold it for longer.
pub(super) fn gate(lane: usize, knows_capacity: bool) -> Gate {
    let (of_level, of_headroom, hold) = match (knows_capacity, lane) {
        (true, 0) => (0.20, 0.20, 20),
        (true, 1) => (0.14, 0.20, 20),
        (true, 2) => (0.10, 0.20, 9),
        (true, 3 | 4) => (0.12, 0.12, 2),
        (true, _) => (0.10, 0.12, 2),
        (false, 0) => (0.20, f64::INFINITY, 20),
        (false, 1) => (0.14, f64::INFINITY, 12),
        (false, 2) => (0.07, f64::INFINITY, 5),
        (false, 3) => (0.06, f64::INFINITY, 1),
        (false, 4) => (0.10, f64::INFINITY, 3),
        (false, _) => (0.10, f64::INFINITY, 3),
    };
    Gate { of_level, of_headroom, hold }
}

/// Fast growth: a fifth of the level over the first lane.
pub(super) const FAST_OF_LEVEL: f64 = 0.20;
/// Growth towards a full card: so much of the headroom over any window, so that it lasts for at most as long as four
/// windows.
pub(super) const SOON_OF_HEADROOM: f64 = 0.25;
/// Growth that took more than this of it over the window is told soon even if it is uneven or comes in steps: whoever
/// makes them has not many left.
pub(super) const MUCH_OF_HEADROOM: f64 = 0.35;
/// Both are told after so many blocks, because they cannot wait.
pub(super) const URGENT_HOLD: u32 = 3;
/// And so they must be the more even, but for what takes much: the smallest of five rises over their mean.
pub(super) const URGENT_EVENNESS: f64 = 0.3;
/// What can wait need not be: the second smallest of the rises.
pub(super) const EVENNESS: f64 = 0.1;

/// A window with fewer readings is not looked at.
pub(super) const READINGS: u32 = 5;
/// One with fewer than these only when its rises are nearly equal, as those of hardly anything but a line are.
pub(super) const FEW_READINGS: u32 = 12;
/// The smallest of the rises over their mean in a window of few readings.
pub(super) const FEW_EVENNESS: f64 = 0.8;

/// The last third's rise, of the one before, below which growth slows.
pub(super) const SLOWS: f64 = 0.7;
/// The part of the growth asked for by which the newest floors must be above all that was there before: a tooth, a day
/// and a tenant that came before are not news.
pub(super) const NEWS: f64 = 0.25;
/// From this lane on (windows of 40 minutes), steps in which much of the growth came are looked for.
pub(super) const STAIRS_FROM: usize = 3;
/// Levels of such stairs. More steps than these in a window are no longer made by hand.
pub(super) const STAIRS: usize = 5;
/// How much more the readings scatter within blocks at the window's end than at its start, of the growth, when it is a
/// load that grows: what more sequences hold fluctuates more, what is lost does not.
pub(super) const SCATTER: f64 = 0.05;
/// By which factor they must do so.
pub(super) const SCATTERS: f64 = 1.2;

/// Whether there is time to wait for more certainty: where the capacity is known, since what takes much of the headroom
/// is told anyway; and in the lanes of 80 minutes and more, whose growth is slow.
pub(super) fn can_wait(lane: usize, knows_capacity: bool) -> bool {
    knows_capacity || lane >= 4
}

/// Floors before the window (of twice the length) that show whether growth began with the program or later.
pub(super) const BEFORE: usize = 6;
/// Rising before the window by less than this part of the slope in it: growth began after a level time.
pub(super) const LEVEL: f64 = 0.3;
/// Rising by more than this: growth slows, as that of a cache does.
pub(super) const STEEPER: f64 = 1.25;
/// Where nothing is known from before: the last third's rise, of the one before, of what began within the window.
pub(super) const BEGAN: f64 = 1.4;
/// Growth since the program's start is most often a cache or an allocator's fill: where one can wait, it must not slow by as
/// little as this,
pub(super) const FILL_SLOWS: f64 = 0.95;
/// and hold for as many times longer.
pub(super) const FILL_HOLD: f64 = 2.0;

/// What was told is over when the last third rises by less than this part of what it did,
pub(super) const OVER: f64 = 0.25;
/// when the newest floor has given back all but this part of the growth,
pub(super) const GIVEN_BACK: f64 = 0.3;
/// or when there is less than this part of the level at which it began: it was restarted.
pub(super) const RESTARTED: f64 = 0.1;
