//! Chat templates as metadata.

use t81_hub::ChatTemplates;

use crate::metadata::Metadata;

const KEY: &str = "tokenizer.chat_template";

/// Writes the templates under the keys of gguf-py's `add_chat_template`, and returns remarks on what llama.cpp will not use.
pub(super) fn write(templates: &ChatTemplates, metadata: &mut Metadata) -> Vec<String> {
    let mut notes = templates.notes.clone();
    let mut names = Vec::new();
    for (name, template) in &templates.named {
        let plain: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        if plain.is_empty() || plain == "default" || names.contains(&plain) {
            notes.push(format!(
                "the chat template {name:?} is left out: GGUF allows letters, digits and _ in its name, and {plain:?} is taken"
            ));
            continue;
        }
        metadata.set(format!("{KEY}.{plain}"), template.as_str());
        names.push(plain);
    }
    match &templates.default {
        Some(template) => metadata.set(KEY, template.as_str()),
        None if names.is_empty() => {}
        None => {
            let instead = match names.iter().any(|name| name == "tool_use") {
                true => "tool_use",
                false => "ChatML",
            };
            notes.push(format!(
                "no chat template is named default (there are: {}); llama.cpp takes {instead}",
                names.join(", ")
            ));
        }
    }
    if !names.is_empty() {
        metadata.set("tokenizer.chat_templates", names);
    }
    notes
}
