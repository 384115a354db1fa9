//! The program's commands with their options, as data: for what makes functions of them.

use clap::{Arg, ArgAction, Command, CommandFactory};
use serde::Serialize;

use crate::args::Cli;

/// A command that answers a question.
#[derive(Clone, Debug, Serialize)]
pub struct CommandShape {
    /// As it is given to the program.
    pub name: String,
    /// What it does, in a line.
    pub about: String,
    /// What it does, whole.
    pub help: String,
    /// What it takes.
    pub options: Vec<OptionShape>,
}

/// What a command takes.
#[derive(Clone, Debug, Serialize)]
pub struct OptionShape {
    /// Without dashes: `cache-type`; of what stands without a name, what it is.
    pub name: String,
    /// Whether it stands without a name.
    pub is_positional: bool,
    /// Whether there may be several.
    pub is_repeated: bool,
    /// Whether it takes no value.
    pub is_flag: bool,
    /// Whether it must be given.
    pub is_required: bool,
    /// The values that it may have, where they are few.
    pub choices: Vec<String>,
    /// What it is when it is not given.
    pub default: Vec<String>,
    /// What it is for.
    pub help: String,
    /// What its value is called: `SIZE`, `FILE`, `N`.
    pub value: String,
}

/// Every command that is not hidden.
pub fn commands() -> Vec<CommandShape> {
    let mut program = Cli::command();
    program.build();
    program.get_subcommands().filter(|command| !command.is_hide_set()).map(command_shape).collect()
}

fn command_shape(command: &Command) -> CommandShape {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let help = command.get_long_about().map_or_else(|| about.clone(), ToString::to_string);
    let options =
        command.get_arguments().filter(|option| !is_of_the_program(option)).map(option_shape).collect();
    CommandShape { name: command.get_name().to_owned(), about, help, options }
}

/// Help, the version, and whether a document is wanted, which always is.
fn is_of_the_program(option: &Arg) -> bool {
    ["help", "version", "json"].contains(&option.get_id().as_str())
}

fn option_shape(option: &Arg) -> OptionShape {
    let is_flag = !option.get_action().takes_values();
    let values = option.get_num_args().is_some_and(|number| number.max_values() > 1);
    OptionShape {
        name: option.get_long().map_or_else(|| option.get_id().to_string(), str::to_owned),
        is_positional: option.is_positional(),
        is_repeated: values
            || matches!(option.get_action(), ArgAction::Append)
            || option.get_value_delimiter().is_some(),
        is_flag,
        is_required: option.is_required_set(),
        choices: option
            .get_possible_values()
            .iter()
            .filter(|_| !is_flag)
            .map(|value| value.get_name().to_owned())
            .collect(),
        default: option
            .get_default_values()
            .iter()
            .filter(|_| !is_flag)
            .map(|value| value.to_string_lossy().into_owned())
            .collect(),
        help: option.get_help().map(ToString::to_string).unwrap_or_default(),
        value: option
            .get_value_names()
            .and_then(|names| names.first())
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}
