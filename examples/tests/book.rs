//! The book holds together: links lead somewhere, every page is in it, and the figures of its diagrams are those measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every page of the book and the other texts that link to them, by their paths.
fn texts() -> Vec<PathBuf> {
    let pages = fs::read_dir(root().join("docs")).unwrap();
    let mut texts: Vec<PathBuf> = pages
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    texts.extend(["README.md", "CHANGELOG.md"].map(|name| root().join(name)));
    texts.sort();
    texts
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines outside of blocks of code, each with its number from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut in_code = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            lines.push((index + 1, line));
        }
    }
    lines
}

/// The line without what stands in backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// Targets of the inline links and images of a line.
fn targets(line: &str) -> Vec<String> {
    without_code(line)
        .split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

/// The part of an address that leads to a heading, as GitHub and mdBook make it.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|character| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            _ => character.is_alphanumeric().then_some(character),
        })
        .collect()
}

/// The anchors of a page, each with the text from its heading to the next one of its level or above.
fn sections(text: &str) -> BTreeMap<String, String> {
    let headings: Vec<(usize, usize, &str)> = prose(text)
        .into_iter()
        .filter_map(|(number, line)| {
            let title = line.trim_start_matches('#');
            let level = line.len() - title.len();
            (level > 0 && title.starts_with(' ')).then_some((number, level, title))
        })
        .collect();
    let mut sections = BTreeMap::new();
    for (index, &(number, level, title)) in headings.iter().enumerate() {
        let next = headings[index + 1..]
            .iter()
            .find(|&&(_, other, _)| other <= level);
        let length = next.map_or(usize::MAX, |&(next, ..)| next - number);
        let lines: Vec<&str> = text.lines().skip(number - 1).take(length).collect();
        // A title that was there before gets a number, from 1.
        let first = anchor(title);
        let mut name = first.clone();
        for repeat in 1.. {
            if !sections.contains_key(&name) {
                break;
            }
            name = format!("{first}-{repeat}");
        }
        sections.insert(name, lines.join("\n"));
    }
    sections
}

/// File and anchor that a relative link of a page leads to; `None` for an address elsewhere.
fn destination(page: &Path, target: &str) -> Option<(PathBuf, Option<String>)> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (target, None),
    };
    let file = match path {
        "" => page.to_owned(),
        path => page.parent().unwrap().join(path),
    };
    Some((file, anchor))
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for page in texts() {
        let text = read(&page);
        for (number, line) in prose(&text) {
            for target in targets(line) {
                let Some((file, anchor)) = destination(&page, &target) else {
                    continue;
                };
                followed += 1;
                let found = file.exists()
                    && anchor.is_none_or(|anchor| sections(&read(&file)).contains_key(&anchor));
                if !found {
                    broken.push(format!("{}:{number}: {target}", page.display()));
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "no such file or heading:\n{}",
        broken.join("\n")
    );
    assert!(followed > 100, "only {followed} links were found");
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = read(&root().join("docs/SUMMARY.md"));
    for page in texts() {
        let name = page.file_name().unwrap().to_str().unwrap();
        if page.parent().unwrap().ends_with("docs") && name != "SUMMARY.md" {
            assert!(
                summary.contains(&format!("]({name})")),
                "{name} is not in the summary"
            );
        }
    }
}

/// The numbers of a text that stand apart from letters (`5,900`, not the 135 of `135M`), without their commas.
fn numbers(text: &str) -> Vec<String> {
    text.split(|character: char| character.is_whitespace() || "()[]|\"/:;`*x".contains(character))
        .map(|word| word.trim_matches(['.', ',', '%']).replace(',', ""))
        .filter(|word| word.starts_with(|first: char| first.is_ascii_digit()))
        .filter(|word| word.parse::<f64>().is_ok())
        .collect()
}

/// Whether a number is in the text, with all of its places or rounded to those of `number`.
fn holds(text: &str, number: &str) -> bool {
    let places = number.split_once('.').map_or(0, |(_, places)| places.len());
    numbers(text)
        .iter()
        .any(|other| format!("{:.places$}", other.parse::<f64>().unwrap()) == number)
}

/// Cells of the rows of a table that has a third column of links.
fn rows(section: &str) -> Vec<[&str; 3]> {
    section
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let cells: [&str; 3] = cells.try_into().ok()?;
            cells[2].contains("](").then_some(cells)
        })
        .collect()
}

/// A measurement in a diagram: its words between `(["` and `"])`.
fn measurement(line: &str) -> Option<&str> {
    Some(line.split_once("([\"")?.1.split_once("\"])")?.0)
}

#[test]
fn figures_of_the_diagrams_are_those_measured() {
    let page = root().join("docs/workflows.md");
    let mut wrong = Vec::new();
    let mut compared = 0;
    for section in sections(&read(&page)).into_values() {
        if section.starts_with("# ") {
            continue;
        }
        let mut table = String::new();
        for [what, figure, link] in rows(&section) {
            let target = &targets(link)[0];
            let (file, anchor) = destination(&page, target).unwrap();
            let source = &sections(&read(&file))[&anchor.unwrap()];
            let cells = format!("{what} {figure} ");
            for number in numbers(&cells) {
                compared += 1;
                if !holds(source, &number) {
                    wrong.push(format!("{number} ({what}) is not in {target}"));
                }
            }
            table.push_str(&cells);
        }
        for words in section.lines().filter_map(measurement) {
            for number in numbers(words) {
                compared += 1;
                if !holds(&table, &number) {
                    wrong.push(format!("{number} (`{words}`) is not in the table below"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 30, "only {compared} figures were found");
}
