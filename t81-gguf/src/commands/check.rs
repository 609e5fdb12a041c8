//! `t81-gguf check FILE...`

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use t81_gguf::{CheckReport, GgufError, Problem, check};
use t81_hub::terminal::print_error;

use super::{Outcome, one_line, print_result, printable};

/// A file that could not be read, as diff(1) says it.
const UNREADABLE: u8 = 2;

pub(crate) fn run(files: &[PathBuf], as_json: bool) -> Outcome {
    let mut reports = Vec::new();
    let (mut unclean, mut unread) = (false, false);
    for file in files {
        let checked = check(file);
        match &checked {
            Ok(report) => unclean |= !report.is_clean(),
            Err(error) => {
                unread = true;
                print_error(format_args!("error: {}", one_line(error)));
            }
        }
        if as_json {
            reports.push(to_json(file, &checked));
        } else if let Ok(report) = &checked {
            let mut text = Vec::new();
            print(file, report, &mut text)?;
            print_result(&text)?;
        }
    }
    if as_json {
        let mut text = serde_json::to_vec_pretty(&reports)?;
        text.push(b'\n');
        print_result(&text)?;
    }
    Ok(if unread {
        ExitCode::from(UNREADABLE)
    } else if unclean {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print(file: &Path, report: &CheckReport, out: &mut impl Write) -> io::Result<()> {
    let shown = file.display();
    for problem in &report.problems {
        let line = problem.to_string().replace('\n', " ");
        writeln!(out, "{shown}: {}", printable(&line))?;
    }
    for remark in &report.remarks {
        let line = remark.to_string().replace('\n', " ");
        writeln!(out, "{shown}: note: {}", printable(&line))?;
    }
    if report.problems.is_empty() {
        let architecture = report.architecture.as_deref().unwrap_or_default();
        let known = if report.known {
            ""
        } else {
            "; its tensors and their shapes were not checked, as this architecture has no table here"
        };
        writeln!(
            out,
            "{shown}: ok, {} tensors, architecture {}{known}",
            report.tensors,
            printable(architecture)
        )
    } else {
        writeln!(out, "{shown}: {} problems", report.problems.len())
    }
}

fn to_json(file: &Path, checked: &Result<CheckReport, GgufError>) -> Value {
    let file = file.display().to_string();
    match checked {
        Ok(report) => {
            let listed = |problems: &[Problem]| -> Vec<Value> {
                problems
                    .iter()
                    .map(|problem| {
                        json!({
                            "rule": problem.rule.name(),
                            "subject": problem.subject,
                            "message": problem.message,
                        })
                    })
                    .collect()
            };
            json!({
                "file": file,
                "ok": report.is_clean(),
                "architecture": report.architecture,
                "architecture_known": report.known,
                "tensors": report.tensors,
                "problems": listed(&report.problems),
                "remarks": listed(&report.remarks),
            })
        }
        Err(error) => json!({"file": file, "ok": false, "error": one_line(error)}),
    }
}
