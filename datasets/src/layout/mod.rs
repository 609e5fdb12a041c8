//! Which files of a dataset repository hold which split: what its card says, else what the names say, by the rules of the
//! Python library `datasets`.

mod card;
mod format;
mod inference;

use std::collections::HashSet;

use globset::GlobBuilder;

use crate::error::DataError;

pub(crate) use card::{CardConfiguration, read_card};
pub(crate) use format::{Compression, FileKind, Format};

/// The card of a dataset repository.
pub(crate) const CARD: &str = "README.md";

/// Data files by split. Names are relative to the repository, with `/` between folders, and sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataFiles {
    /// The configuration chosen, where the dataset has any.
    pub(crate) configuration: Option<String>,
    /// Splits in the order of the card, or else train, validation, test.
    pub(crate) splits: Vec<(String, Vec<String>)>,
    /// Files of the splits that could be read but have another format than the others.
    pub(crate) left_out: Vec<String>,
}

impl DataFiles {
    /// The files of a split.
    pub(crate) fn split(&self, name: &str) -> Option<&[String]> {
        let (_, files) = self.splits.iter().find(|(split, _)| split == name)?;
        Some(files)
    }

    /// Names of the splits, for an error.
    pub(crate) fn split_names(&self) -> Vec<String> {
        self.splits.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// Chooses the data files of the repository `dataset`, which holds the files `names`, for a configuration. `card` is what
/// [`read_card`] found.
///
/// A configuration that the card does not know may be a folder. Without a card, the splits are told from names: first
/// `data/SPLIT-00000-of-00001.*`, then keywords (train, validation, dev, test, ...) in folders, then in file names; if
/// there are none of these, all files are for training.
pub(crate) fn choose_files(
    dataset: &str,
    names: &[String],
    card: &[CardConfiguration],
    configuration: Option<&str>,
) -> Result<DataFiles, DataError> {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    let known = |found: Vec<&str>| found.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let declared = || known(card.iter().map(|entry| entry.name.as_str()).collect());
    let chosen = match configuration {
        Some(asked) => card.iter().find(|entry| entry.name == asked),
        None => default_configuration(card),
    };
    if let Some(entry) = chosen {
        return from_card(dataset, &names, entry);
    }
    if let Some(asked) = configuration {
        let folder = format!("{asked}/");
        let inside: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| name.starts_with(&folder))
            .collect();
        if inside.is_empty() {
            let mut configurations = declared();
            if configurations.is_empty() {
                configurations = known(inference::folders(&names));
            }
            return Err(DataError::UnknownConfiguration {
                dataset: dataset.to_owned(),
                configuration: asked.to_owned(),
                known: configurations,
            });
        }
        let splits = inference::splits(&inside, folder.len());
        return finish(dataset, &names, Some(asked), splits);
    }
    if !card.is_empty() {
        return Err(DataError::SeveralConfigurations {
            dataset: dataset.to_owned(),
            known: declared(),
        });
    }
    let exported = inference::exported_configurations(&names);
    match exported.as_slice() {
        [] => finish(dataset, &names, None, inference::splits(&names, 0)),
        configurations => {
            let only = match configurations {
                [only] => Some(*only),
                several => several.iter().copied().find(|&name| name == "default"),
            };
            match only {
                Some(only) => choose_files(dataset, &known(names), &[], Some(only)),
                None => Err(DataError::SeveralConfigurations {
                    dataset: dataset.to_owned(),
                    known: known(exported),
                }),
            }
        }
    }
}

fn default_configuration(card: &[CardConfiguration]) -> Option<&CardConfiguration> {
    match card {
        [only] => Some(only),
        several => several
            .iter()
            .find(|entry| entry.default)
            .or_else(|| several.iter().find(|entry| entry.name == "default")),
    }
}

/// The files of a configuration that the card describes.
fn from_card(
    dataset: &str,
    names: &[&str],
    entry: &CardConfiguration,
) -> Result<DataFiles, DataError> {
    let folder = match &entry.folder {
        Some(folder) => {
            let folder = folder.trim_start_matches("./").trim_end_matches('/');
            if folder.is_empty() || folder == "." {
                String::new()
            } else {
                format!("{folder}/")
            }
        }
        None => String::new(),
    };
    let mut splits = Vec::new();
    if entry.splits.is_empty() {
        let inside: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| name.starts_with(&folder))
            .collect();
        splits = inference::splits(&inside, folder.len());
    }
    let mut unmatched = None;
    for (split, patterns) in &entry.splits {
        let mut files: Vec<&str> = Vec::new();
        for pattern in patterns {
            let pattern = pattern.trim_start_matches("./");
            let matched = matching(names, &format!("{folder}{pattern}"));
            if matched.is_empty() {
                unmatched = Some(pattern);
            }
            files.extend(matched);
        }
        let mut seen = HashSet::new();
        files.retain(|name| seen.insert(*name));
        if !files.is_empty() {
            splits.push((split.clone(), files));
        }
    }
    // A split without files is left out: offline, those that were never asked for are not there.
    if let (Some(pattern), true) = (unmatched, splits.is_empty()) {
        return Err(DataError::CardPattern {
            dataset: dataset.to_owned(),
            configuration: entry.name.clone(),
            pattern: pattern.to_owned(),
        });
    }
    finish(dataset, names, Some(&entry.name), splits)
}

/// The data files that match a pattern of a card (`*` within a folder, `**` through folders).
fn matching<'n>(names: &[&'n str], pattern: &str) -> Vec<&'n str> {
    if let Some(name) = names.iter().find(|name| **name == pattern) {
        return vec![name];
    }
    let pattern = match pattern.strip_suffix('/') {
        Some(folder) => format!("{folder}/**"),
        None => pattern.to_owned(),
    };
    let Ok(glob) = GlobBuilder::new(&pattern).literal_separator(true).build() else {
        return Vec::new();
    };
    let glob = glob.compile_matcher();
    let hidden_wanted = pattern.split('/').any(|part| part.starts_with(['.', '_']));
    names
        .iter()
        .copied()
        .filter(|name| glob.is_match(name))
        .filter(|name| hidden_wanted || inference::is_data_candidate(name))
        .collect()
}

/// Keeps the files of the format that most files of the first split have.
fn finish(
    dataset: &str,
    names: &[&str],
    configuration: Option<&str>,
    splits: Vec<(String, Vec<&str>)>,
) -> Result<DataFiles, DataError> {
    let first = splits.first().map_or(&[][..], |(_, files)| files);
    let format = format::prevailing(first).map_err(|found| DataError::NoDataFiles {
        dataset: dataset.to_owned(),
        hint: format::hint(names, found.as_deref()),
    })?;
    let has_format = |name: &str| FileKind::of(name).is_some_and(|kind| kind.format == format);
    let left_out = splits
        .iter()
        .flat_map(|(_, files)| files)
        .filter(|name| FileKind::of(name).is_some() && !has_format(name))
        .map(|name| (*name).to_owned())
        .collect();
    let splits: Vec<_> = splits
        .into_iter()
        .map(|(split, files)| {
            let files: Vec<String> = files
                .into_iter()
                .filter(|name| has_format(name))
                .map(str::to_owned)
                .collect();
            (split, files)
        })
        .filter(|(_, files)| !files.is_empty())
        .collect();
    Ok(DataFiles {
        configuration: configuration.map(str::to_owned),
        splits,
        left_out,
    })
}

#[cfg(test)]
mod tests;
