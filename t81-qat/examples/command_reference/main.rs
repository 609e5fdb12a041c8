//! Writes what follows from the command lines: shell completions and man pages into a directory, and `docs/commands.md`.
//!
//! ```text
//! cargo run -p t81-qat --example command_reference -- target/command-reference
//! ```

mod markdown;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use clap_complete::Shell;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("error: pass the directory for completions and man pages");
        return ExitCode::FAILURE;
    };
    match write(&PathBuf::from(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &std::path::Path) -> std::io::Result<()> {
    let (completions, manual) = (directory.join("completions"), directory.join("man"));
    fs::create_dir_all(&completions)?;
    fs::create_dir_all(&manual)?;
    for command in markdown::commands() {
        for shell in Shell::value_variants() {
            let name = command.get_name().to_string();
            clap_complete::generate_to(*shell, &mut command.clone(), name, &completions)?;
        }
        clap_mangen::generate_to(command, &manual)?;
    }
    fs::write(markdown::PAGE, markdown::page())?;
    println!(
        "{}, {}, {}",
        completions.display(),
        manual.display(),
        markdown::PAGE
    );
    Ok(())
}
