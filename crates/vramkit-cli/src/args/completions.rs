//! Options of `vramkit completions`.

use clap::Args;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit completions bash > ~/.local/share/bash-completion/completions/vramkit
  vramkit completions zsh > ~/.zfunc/_vramkit")]
pub struct CompletionsOptions {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}
