//! `docs/commands.md` says what the programs say.

#[path = "../examples/command_reference/markdown.rs"]
mod markdown;

use std::process::Command;

#[test]
fn the_page_is_what_the_commands_say() {
    let page = std::fs::read_to_string(markdown::PAGE).unwrap();
    assert!(
        page == markdown::page(),
        "docs/commands.md is out of date: cargo run -p t81-qat --example command_reference -- target/command-reference"
    );
    for name in ["t81-qat", "t81-convert", "t81-gguf"] {
        assert!(page.contains(&format!("\n## {name}\n")), "{name}");
    }
    for (name, flag) in [("t81-qat report", "--output"), ("t81-gguf check", "--json")] {
        let (_, rest) = page.split_once(&format!("\n### {name}\n")).unwrap();
        assert!(rest.contains(flag), "{name}");
    }
}

#[test]
fn the_version_names_the_commit_if_there_is_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_t81-qat"))
        .arg("--version")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let rest = said
        .strip_prefix(concat!("t81-qat ", env!("CARGO_PKG_VERSION")))
        .unwrap()
        .trim();
    let commit = rest
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    match commit {
        Some(commit) => assert!(
            commit.len() == 10 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{said}"
        ),
        None => assert_eq!(rest, ""),
    }
}
