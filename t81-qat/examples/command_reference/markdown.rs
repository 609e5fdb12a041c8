//! The command lines as a page of Markdown.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

/// The page within the repository.
pub(crate) const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commands.md");

/// The three commands.
pub(crate) fn commands() -> [Command; 3] {
    [
        t81_qat::Cli::command(),
        t81_convert::command_line::Arguments::command(),
        t81_gguf::command_line::Cli::command(),
    ]
}

/// The whole page.
pub(crate) fn page() -> String {
    let mut page = String::from(
        "# Commands\n\n\
         Made from the programs by `cargo run -p t81-qat --example command_reference -- target/command-reference`, which also writes\n\
         completions for five shells and man pages into that directory.\n",
    );
    for mut command in commands() {
        command.build();
        describe(&mut command, 2, &mut page);
    }
    page
}

fn describe(command: &mut Command, level: usize, page: &mut String) {
    let name = command
        .get_bin_name()
        .unwrap_or(command.get_name())
        .to_string();
    let _ = writeln!(page, "\n{} {name}", "#".repeat(level));
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        let _ = writeln!(page, "\n{about}");
    }
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let lines: Vec<&str> = usage.lines().map(str::trim).collect();
    let _ = writeln!(page, "\n```text\n{}\n```", lines.join("\n"));

    let mut headings = Vec::new();
    for argument in command
        .get_arguments()
        .filter(|argument| is_shown(argument))
    {
        let heading = argument.get_help_heading().unwrap_or("Arguments and flags");
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for heading in headings {
        let _ = writeln!(page, "\n| {heading} | | default |\n|---|---|---|");
        for argument in command.get_arguments().filter(|argument| {
            is_shown(argument)
                && argument.get_help_heading().unwrap_or("Arguments and flags") == heading
        }) {
            row(argument, page);
        }
    }
    if let Some(text) = command.get_after_help() {
        let _ = writeln!(page, "\n```text\n{}\n```", text.to_string().trim_end());
    }
    for subcommand in command.get_subcommands_mut() {
        if subcommand.get_name() != "help" {
            describe(subcommand, level + 1, page);
        }
    }
}

fn is_shown(argument: &Arg) -> bool {
    !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
}

fn row(argument: &Arg, page: &mut String) {
    let help = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| takes_value(argument) && !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    let defaults: Vec<String> = argument
        .get_default_values()
        .iter()
        .filter(|_| takes_value(argument))
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    let choice = match values.is_empty() {
        true => String::new(),
        false => format!("; one of {}", values.join(", ")),
    };
    let cell = |text: String| text.replace('|', "\\|").replace('\n', " ");
    let _ = writeln!(
        page,
        "| {} | {}{} | {} |",
        cell(name(argument)),
        cell(help),
        cell(choice),
        cell(defaults.join(", "))
    );
}

/// The flag with its value and other names, or the name of a positional argument.
fn name(argument: &Arg) -> String {
    let values: Vec<String> = argument
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(|name| format!("<{name}>"))
        .collect();
    let values = values.join(" ");
    let Some(long) = argument.get_long() else {
        let id = argument.get_id().as_str().to_uppercase();
        let values = if values.is_empty() {
            format!("<{id}>")
        } else {
            values
        };
        return format!("`{values}`");
    };
    let mut names = Vec::new();
    names.extend(argument.get_short().map(|short| format!("`-{short}`")));
    names.push(match takes_value(argument) {
        true => format!("`--{long} {values}`"),
        false => format!("`--{long}`"),
    });
    let aliases = argument.get_visible_aliases().unwrap_or_default();
    names.extend(aliases.iter().map(|alias| format!("`--{alias}`")));
    names.join(", ")
}

fn takes_value(argument: &Arg) -> bool {
    argument
        .get_num_args()
        .is_some_and(|count| count.takes_values())
}
