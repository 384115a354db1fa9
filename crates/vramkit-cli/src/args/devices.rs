//! Options of `vramkit devices`.

use clap::Args;

/// Show what is here and how much memory it has
///
/// Main memory, cards that memory can be taken of, and every other card that `vramkit top` sees: AMD's, parts of a card, cards
/// without CUDA's driver. Each card once.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vramkit devices\n  vramkit devices --json")]
pub struct DevicesOptions {
    /// Print the result as JSON (vramkit.devices/1)
    #[arg(long)]
    pub json: bool,
}
