//! What there is once in a process: the state behind a lock, the faults that tests ask for, and the environment that
//! says what the cards are.

use std::ffi::c_int;
use std::sync::{Mutex, PoisonError};

use crate::code::{Code, ILLEGAL_ADDRESS, NO_DEVICE, NOT_INITIALIZED};
use crate::state::State;

#[derive(Default)]
struct Global {
    state: Option<State>,
    /// Functions whose n-th call from now fails with a code.
    faults: Vec<(String, u32, Code)>,
    /// What other processes hold of each card.
    others: u64,
    /// Whether work on streams stays undone.
    held: bool,
}

static GLOBAL: Mutex<Option<Global>> = Mutex::new(None);

fn global<R>(act: impl FnOnce(&mut Global) -> R) -> R {
    let mut guard = GLOBAL.lock().unwrap_or_else(PoisonError::into_inner);
    act(guard.get_or_insert_with(Global::default))
}

/// Runs a driver function: counts the call, and fails when that was asked for.
pub fn with(function: &str, act: impl FnOnce(&mut State) -> Result<(), Code>) -> Result<(), Code> {
    global(|global| {
        let state = global.state.as_mut().ok_or(NOT_INITIALIZED)?;
        for fault in global.faults.iter_mut().filter(|fault| fault.0 == function && fault.1 > 0) {
            fault.1 -= 1;
            if fault.1 == 0 {
                state.lost |= fault.2 >= ILLEGAL_ADDRESS;
                return Err(fault.2);
            }
        }
        if state.lost && !function.starts_with("cuCtx") {
            return Err(ILLEGAL_ADDRESS);
        }
        act(state)
    })
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// `GPU-…` or `MIG-…`, in hexadecimal digits.
fn uuid(text: &str) -> (bool, u128) {
    let digits: String = text.chars().skip(4).filter(|digit| *digit != '-').collect();
    (text.starts_with("MIG"), u128::from_str_radix(&digits, 16).unwrap_or_default())
}

pub fn initialise() -> Result<(), Code> {
    global(|global| {
        if global.state.is_some() {
            return Ok(());
        }
        let number = |name: &str, default: u64| setting(name).and_then(|n| n.parse().ok()).unwrap_or(default);
        let cards = number("VRAMKIT_STANDIN_CARDS", 1) as c_int;
        if cards == 0 {
            return Err(NO_DEVICE);
        }
        for fault in setting("VRAMKIT_STANDIN_FAULTS").iter().flat_map(|faults| faults.split(',')) {
            let parts = fault.split_once(':').and_then(|(name, rest)| Some((name, rest.split_once('=')?)));
            if let Some((name, (nth, code))) = parts {
                let (nth, code) = (nth.parse().unwrap_or(1), code.parse().unwrap_or(1));
                global.faults.push((name.to_owned(), nth, code));
            }
        }
        let bytes = number("VRAMKIT_STANDIN_BYTES", 1 << 30);
        let plain = setting("VRAMKIT_STANDIN_PLAIN").is_some();
        let mut state = State::new(cards, bytes, plain)?;
        state.uuids =
            setting("VRAMKIT_STANDIN_UUIDS").iter().flat_map(|list| list.split(',')).map(uuid).collect();
        (state.others, state.held) = (global.others, global.held);
        global.state = Some(state);
        Ok(())
    })
}

pub fn reset() {
    global(|global| *global = Global::default());
}

pub fn fail(function: String, nth: u32, code: Code) {
    global(|global| global.faults.push((function, nth, code)));
}

pub fn others_hold(bytes: u64) {
    global(|global| {
        global.others = bytes;
        global.state.iter_mut().for_each(|state| state.others = bytes);
    });
}

pub fn hold_streams(held: bool) {
    global(|global| {
        global.held = held;
        global.state.iter_mut().for_each(|state| state.hold(held));
    });
}

pub fn created() -> u64 {
    global(|global| {
        global.state.as_ref().map_or(0, |state| (0..state.cards).map(|card| state.taken(card)).sum())
    })
}
