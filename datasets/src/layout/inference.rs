//! Splits told from the names of files and folders.

/// Splits and the keywords that tell them.
const KEYWORDS: &[(&str, &[&str])] = &[
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

/// Files beside the data that have an extension of data.
const COMPANIONS: &[&str] = &[
    "README.md",
    "config.json",
    "dataset_info.json",
    "dataset_infos.json",
    "dummy_data.zip",
    "dataset_dict.json",
    "state.json",
];

/// The splits of `names`, of which the first `base` bytes are the folder that they are told in.
pub(super) fn splits<'n>(names: &[&'n str], base: usize) -> Vec<(String, Vec<&'n str>)> {
    let names: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| is_data_candidate(&name[base..]))
        .collect();
    let sharded = sharded_splits(&names, base);
    if !sharded.is_empty() {
        return sharded;
    }
    for matches in [in_folder, in_file_name] {
        let found: Vec<(String, Vec<&str>)> = KEYWORDS
            .iter()
            .map(|(split, keywords)| {
                let files = names
                    .iter()
                    .copied()
                    .filter(|name| keywords.iter().any(|word| matches(&name[base..], word)))
                    .collect();
                ((*split).to_owned(), files)
            })
            .filter(|(_, files): &(String, Vec<&str>)| !files.is_empty())
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    if names.is_empty() {
        Vec::new()
    } else {
        vec![("train".to_owned(), names)]
    }
}

/// Whether a file is neither hidden nor one that goes with the data.
pub(super) fn is_data_candidate(name: &str) -> bool {
    let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
    let visible = |part: &str| !part.starts_with('.') && !part.starts_with("__");
    !COMPANIONS.contains(&file) && !file.starts_with('.') && folders.split('/').all(visible)
}

/// Top-level folders.
pub(super) fn folders<'n>(names: &[&'n str]) -> Vec<&'n str> {
    let mut folders: Vec<&str> = names
        .iter()
        .filter(|name| is_data_candidate(name))
        .filter_map(|name| name.split_once('/'))
        .map(|(folder, _)| folder)
        .collect();
    folders.dedup();
    folders
}

/// The configurations of the Hub's own conversion to parquet, whose files are `CONFIGURATION/SPLIT/0000.parquet`.
pub(super) fn exported_configurations<'n>(names: &[&'n str]) -> Vec<&'n str> {
    let data = || names.iter().filter(|name| is_data_candidate(name));
    let exported = |name: &str| {
        let parts: Vec<&str> = name.split('/').collect();
        parts.len() == 3
            && parts[2]
                .strip_suffix(".parquet")
                .is_some_and(|number| number.len() == 4 && is_number(number))
    };
    if data().next().is_some() && data().all(|name| exported(name)) {
        folders(names)
    } else {
        Vec::new()
    }
}

/// `data/SPLIT-00000-of-00001*.*`, for splits of any name.
fn sharded_splits<'n>(names: &[&'n str], base: usize) -> Vec<(String, Vec<&'n str>)> {
    let mut splits: Vec<(String, Vec<&str>)> = Vec::new();
    for &name in names {
        let Some(split) = sharded_split(&name[base..]) else {
            continue;
        };
        match splits.iter_mut().find(|(known, _)| known == split) {
            Some((_, files)) => files.push(name),
            None => splits.push((split.to_owned(), vec![name])),
        }
    }
    let rank = |split: &str| {
        let known = KEYWORDS.iter().position(|(name, _)| *name == split);
        known.unwrap_or(KEYWORDS.len())
    };
    splits.sort_by(|(one, _), (other, _)| (rank(one), one).cmp(&(rank(other), other)));
    splits
}

fn sharded_split(name: &str) -> Option<&str> {
    let file = name.strip_prefix("data/")?;
    if file.contains('/') {
        return None;
    }
    let (before, after) = file.rsplit_once("-of-")?;
    let (split, shard) = before.rsplit_once('-')?;
    let total = after.get(..5)?;
    let rest = &after[5..];
    let is_split = !split.is_empty()
        && split
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.');
    let is_shard = shard.len() == 5 && is_number(shard) && is_number(total);
    (is_split && is_shard && rest.contains('.')).then_some(split)
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether one of the folders is the keyword, or has it between separators.
fn in_folder(name: &str, keyword: &str) -> bool {
    let Some((folders, _)) = name.rsplit_once('/') else {
        return false;
    };
    folders.split('/').any(|folder| {
        occurrences(folder, keyword)
            .any(|(before, after)| before.is_none_or(separates) && after.is_none_or(separates))
    })
}

/// Whether the file's name begins with the keyword or has it after a separator, with a separator behind.
fn in_file_name(name: &str, keyword: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    occurrences(file, keyword)
        .any(|(before, after)| before.is_none_or(separates) && after.is_some_and(separates))
}

/// The characters before and after each occurrence of `keyword`.
fn occurrences<'t>(
    text: &'t str,
    keyword: &'t str,
) -> impl Iterator<Item = (Option<char>, Option<char>)> + 't {
    text.match_indices(keyword).map(move |(start, _)| {
        (
            text[..start].chars().next_back(),
            text[start + keyword.len()..].chars().next(),
        )
    })
}

fn separates(character: char) -> bool {
    matches!(character, '-' | '.' | '_' | ' ' | '0'..='9')
}
