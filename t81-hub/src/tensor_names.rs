//! Tensor names as training frameworks leave them: with what they put around the model.

use std::path::Path;

use crate::files::TensorFiles;
use crate::{HubError, ModelConfig};

/// Modules without a weight of their own that stand anywhere in a name: `torch.compile` and PyTorch's wrappers for sharded and
/// checkpointed parts.
const WRAPPERS: [&str; 3] = [
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];

/// Modules that hold the whole model: `DataParallel`, PEFT, Lightning and models that also see.
const CONTAINERS: [&str; 5] = [
    "module",
    "base_model",
    "model",
    "language_model",
    "transformer",
];

/// What PEFT adds beside or in place of a weight.
const ADAPTER_PARTS: [&str; 9] = [
    "lora_A",
    "lora_B",
    "lora_embedding_A",
    "lora_embedding_B",
    "lora_magnitude_vector",
    "base_layer",
    "modules_to_save",
    "original_module",
    "token_adapter",
];

/// The output matrix, which every architecture calls so.
pub(crate) const HEAD: &str = "lm_head.weight";

/// Gives the tensors the names that the architecture has for them, and returns what was taken off, for the user.
///
/// # Errors
/// [`HubError::Adapter`], and [`HubError::UnknownPrefix`] if all names begin with something else.
pub(crate) fn normalize(
    files: &mut TensorFiles,
    config: &ModelConfig,
) -> Result<Vec<String>, HubError> {
    let is_part = |name: &&str| name.split('.').any(|part| ADAPTER_PARTS.contains(&part));
    if let Some(name) = files.names().find(is_part) {
        return Err(HubError::Adapter {
            name: name.to_owned(),
            place: files.directory().to_path_buf(),
        });
    }
    let mut taken_off: Vec<String> = Vec::new();
    for wrapper in WRAPPERS {
        let inside = format!("{wrapper}.");
        if files.names().any(|name| name.contains(&inside)) {
            files.rename(|name| unwrapped(name, wrapper));
            taken_off.push(inside);
        }
    }
    if let Some(prefix) = outer_prefix(files, config)? {
        taken_off.push(prefix);
    }
    Ok(taken_off)
}

/// The name without the parts that are `wrapper`; none if it has no such part.
fn unwrapped(name: &str, wrapper: &str) -> Option<String> {
    let kept: Vec<&str> = name.split('.').filter(|part| *part != wrapper).collect();
    let kept = kept.join(".");
    (kept != name).then_some(kept)
}

/// Puts the architecture's prefix in place of what stands before the token embedding; returns what that was, if it was more
/// than nothing: a checkpoint saved from the bare model has no prefix (`gpt2` on the Hub).
fn outer_prefix(files: &mut TensorFiles, config: &ModelConfig) -> Result<Option<String>, HubError> {
    let prefix = config.architecture.family().prefix;
    let Some(embedding) = config.tensors().into_iter().next() else {
        return Ok(None);
    };
    if files.get(&embedding.name).is_some() {
        return Ok(None);
    }
    let bare = embedding.name.strip_prefix(prefix).unwrap_or_default();
    let before = |name: &str| {
        let before = name.strip_suffix(bare)?;
        (before.is_empty() || before.ends_with('.')).then(|| before.to_owned())
    };
    let mut found: Vec<String> = files.names().filter_map(before).collect();
    let (Some(outer), true) = (found.pop(), found.is_empty()) else {
        return Ok(None);
    };
    let mut parts = outer.split_terminator('.');
    if !parts.all(|part| CONTAINERS.contains(&part)) {
        return Err(HubError::UnknownPrefix {
            place: files.directory().to_path_buf(),
            found: format!("{outer}{bare}"),
            expected: embedding.name,
        });
    }
    let is_head = |name: &str| {
        let before = name
            .split_once("lm_head.")
            .map(|(before, _)| before)
            .filter(|before| before.is_empty() || before.ends_with('.'));
        before.is_some_and(|before| outer.starts_with(before))
    };
    files.rename(|name| {
        if is_head(name) {
            return name.find("lm_head.").map(|at| name[at..].to_owned());
        }
        let inner = name.strip_prefix(&outer)?;
        let named_already = outer.is_empty() && name.starts_with(prefix);
        (!named_already).then(|| format!("{prefix}{inner}"))
    });
    Ok(Some(outer).filter(|outer| !outer.is_empty()))
}

/// The names of shards that need no index to be one model: all of `X-00001-of-0000N.safetensors`, and no other set.
pub(crate) fn numbered_shards<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Vec<String>> {
    let mut shards: Vec<(&str, usize, usize)> = names.into_iter().filter_map(numbered).collect();
    shards.sort_unstable();
    shards.dedup();
    let (_, _, count) = *shards.first()?;
    let stem = |name: &str| {
        name.rsplit_once("-of-")
            .map(|(stem, _)| stem[..stem.len() - 5].to_owned())
    };
    let first = stem(shards[0].0);
    let complete = shards.len() == count
        && shards.iter().enumerate().all(|(at, (name, number, of))| {
            *number == at + 1 && *of == count && stem(name) == first
        });
    complete.then(|| shards.iter().map(|(name, ..)| (*name).to_owned()).collect())
}

/// Number and count of a shard's name.
fn numbered(name: &str) -> Option<(&str, usize, usize)> {
    let (rest, count) = name.strip_suffix(".safetensors")?.rsplit_once("-of-")?;
    let (_, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(number) || !digits(count) || name.contains(['/', '\\']) {
        return None;
    }
    Some((name, number.parse().ok()?, count.parse().ok()?))
}

/// Names of the safetensors files of a directory, in alphabetical order.
pub(crate) fn safetensors_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names
        .filter(|name| name.ends_with(".safetensors"))
        .collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_numbered_from_first_to_last() {
        let all = |count: usize| -> Vec<String> {
            (1..=count)
                .map(|shard| format!("model-{shard:05}-of-{count:05}.safetensors"))
                .collect()
        };
        let found = |names: &[String]| numbered_shards(names.iter().map(String::as_str));
        let names = all(3);
        let mut mixed = names.clone();
        mixed.reverse();
        mixed.push("vision.safetensors".to_owned());
        assert_eq!(found(&mixed), Some(names.clone()));
        assert_eq!(found(&names[..2]), None);
        assert_eq!(found(&names[1..]), None);
        assert_eq!(found(&[names, all(2)].concat()), None);
        assert_eq!(
            found(&[
                "other-00001-of-00002.safetensors".to_owned(),
                all(2)[1].clone()
            ]),
            None
        );
        assert_eq!(found(&["model-1-of-1.safetensors".to_owned()]), None);
        assert_eq!(
            found(&["../model-00001-of-00001.safetensors".to_owned()]),
            None
        );
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn wrappers_go_wherever_they_stand() {
        assert_eq!(
            unwrapped("_orig_mod.a._orig_mod.weight", "_orig_mod").as_deref(),
            Some("a.weight")
        );
        assert_eq!(unwrapped("a_orig_mod.weight", "_orig_mod"), None);
    }
}
