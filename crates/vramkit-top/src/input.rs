//! What somebody does at the screen.

/// A key, or the mouse on a place of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A character.
    Char(char),
    /// An arrow.
    Up,
    /// An arrow.
    Down,
    /// An arrow: a recording's tick before.
    Left,
    /// An arrow: a recording's next tick.
    Right,
    /// A page back.
    PageUp,
    /// A page on.
    PageDown,
    /// To the start.
    Home,
    /// To the end.
    End,
    /// To the next table.
    Tab,
    /// Opens what is chosen; ends what is being typed.
    Enter,
    /// Closes what is open; takes back what is being typed.
    Escape,
    /// Takes back a character.
    Backspace,
    /// Asks whether the chosen process is to end.
    Delete,
    /// A click.
    Click {
        /// From the left, from 0.
        column: u16,
        /// From the top, from 0.
        row: u16,
    },
    /// A turn of the wheel.
    Wheel {
        /// From the left, from 0.
        column: u16,
        /// From the top, from 0.
        row: u16,
        /// Towards the end.
        down: bool,
    },
    /// Ends the program, whatever is being typed.
    Quit,
}
