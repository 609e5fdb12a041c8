//! The files that go along with a model's weights.

use std::path::Path;

use super::chat_templates::{TEMPLATE_DIRECTORY, is_template_path, template_files};
use crate::HubError;

/// Files of the tokenizer, then generation defaults and the license.
const COMPANIONS: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "LICENSE",
    "LICENSE.txt",
    "LICENSE.md",
    "NOTICE",
    "USE_POLICY.md",
];

/// Whether the file of a repository at `path` belongs to the tokenizer or goes along with a model.
pub(crate) fn is_companion(path: &str) -> bool {
    COMPANIONS.contains(&path) || is_template_path(path)
}

/// The files of a model directory that go along with `config.json` and the weights: tokenizer, chat templates, generation
/// defaults, license. Paths are relative to `directory`, with `/`; a program that writes a model copies them all.
///
/// # Errors
/// If the directory of the chat templates cannot be listed.
pub fn companion_files(directory: impl AsRef<Path>) -> Result<Vec<String>, HubError> {
    let directory = directory.as_ref();
    let mut files: Vec<String> = COMPANIONS
        .iter()
        .filter(|name| directory.join(name).is_file())
        .map(|&name| name.to_owned())
        .collect();
    let templates = template_files(directory)?;
    files.extend(
        templates
            .iter()
            .map(|name| format!("{TEMPLATE_DIRECTORY}/{name}")),
    );
    Ok(files)
}
