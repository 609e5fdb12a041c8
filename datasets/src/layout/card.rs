//! The part of a dataset card's front matter that says where the data is.

use serde::Deserialize;

/// A configuration that a card declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CardConfiguration {
    pub(crate) name: String,
    /// Whether it is the one to take when none is asked for.
    pub(crate) default: bool,
    /// `data_dir`: what the patterns are relative to.
    pub(crate) folder: Option<String>,
    /// File patterns by split; empty where the splits are to be told from names.
    pub(crate) splits: Vec<(String, Vec<String>)>,
}

#[derive(Deserialize)]
struct FrontMatter {
    #[serde(default)]
    configs: Option<Vec<Configuration>>,
}

#[derive(Deserialize)]
struct Configuration {
    config_name: String,
    #[serde(default)]
    default: Option<bool>,
    #[serde(default)]
    data_dir: Option<String>,
    #[serde(default)]
    data_files: Option<Files>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Files {
    One(String),
    Many(Vec<Entry>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Pattern(String),
    Split { split: String, path: Paths },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Paths {
    One(String),
    Many(Vec<String>),
}

/// The configurations of a dataset card (`README.md`): none if it has no front matter or declares none.
///
/// # Errors
///
/// Why the front matter cannot be understood.
pub(crate) fn read_card(text: &str) -> Result<Vec<CardConfiguration>, String> {
    let Some(front_matter) = front_matter(text) else {
        return Ok(Vec::new());
    };
    let parsed: FrontMatter = serde_saphyr::from_str(front_matter)
        .map_err(|error| error.to_string().lines().next().unwrap_or("").to_owned())?;
    Ok(parsed
        .configs
        .unwrap_or_default()
        .into_iter()
        .map(|entry| CardConfiguration {
            name: entry.config_name,
            default: entry.default.unwrap_or(false),
            folder: entry.data_dir,
            splits: entry.data_files.map(splits).unwrap_or_default(),
        })
        .collect())
}

/// Patterns without a split are for training.
fn splits(files: Files) -> Vec<(String, Vec<String>)> {
    let entries = match files {
        Files::One(pattern) => vec![Entry::Pattern(pattern)],
        Files::Many(entries) => entries,
    };
    let mut splits: Vec<(String, Vec<String>)> = Vec::new();
    for entry in entries {
        let (split, patterns) = match entry {
            Entry::Pattern(pattern) => ("train".to_owned(), vec![pattern]),
            Entry::Split { split, path } => match path {
                Paths::One(pattern) => (split, vec![pattern]),
                Paths::Many(patterns) => (split, patterns),
            },
        };
        match splits.iter_mut().find(|(name, _)| *name == split) {
            Some((_, known)) => known.extend(patterns),
            None => splits.push((split, patterns)),
        }
    }
    splits
}

/// What stands between the `---` in the first line and the next `---`.
fn front_matter(text: &str) -> Option<&str> {
    let text = text.trim_start_matches('\u{feff}');
    let body = text
        .strip_prefix("---\n")
        .or_else(|| text.strip_prefix("---\r\n"))?;
    let mut end = 0;
    for line in body.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Some(&body[..end]);
        }
        end += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_data_files_are_read() {
        let card = "---\nlanguage:\n- en\ntags: [a, b]\ndataset_info:\n- config_name: x\n  features:\n  - name: text\n    \
            dtype: string\n  splits:\n  - name: train\n    num_bytes: 1270947.0\nconfigs:\n- config_name: all\n  data_files: \
            '*.jsonl'\n- config_name: two\n  default: true\n  data_files:\n  - a/*\n  - b/*\n- config_name: splits\n  \
            data_dir: sub\n  data_files:\n  - split: train\n    path:\n    - \"t1/*\"\n    - t2/*\n  - split: dev\n    path: \
            d.txt\n- config_name: '2020'\n  data_dir: y\n---\n# A dataset\n---\n";
        let configurations = read_card(card).unwrap();
        let names: Vec<&str> = configurations.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["all", "two", "splits", "2020"]);
        let list = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect();
        let train = || "train".to_owned();
        assert_eq!(configurations[0].splits, [(train(), list(&["*.jsonl"]))]);
        assert_eq!(configurations[1].splits, [(train(), list(&["a/*", "b/*"]))]);
        assert!(configurations[1].default && !configurations[0].default);
        assert_eq!(
            configurations[2].splits,
            [
                (train(), list(&["t1/*", "t2/*"])),
                ("dev".to_owned(), list(&["d.txt"]))
            ]
        );
        assert_eq!(configurations[2].folder.as_deref(), Some("sub"));
        assert!(configurations[3].splits.is_empty());
    }

    #[test]
    fn a_card_without_configurations_has_none() {
        for text in [
            "",
            "# Title\n",
            "---\nlicense: mit\n---\n",
            "---\nlicense: mit\n",
            "---\nconfigs:\n---\n",
        ] {
            assert_eq!(read_card(text).unwrap(), [], "{text:?}");
        }
    }

    #[test]
    fn a_malformed_card_is_told() {
        for text in [
            "---\nconfigs: 3\n---\n",
            "---\nconfigs:\n- data_files: x\n---\n",
            "---\n: : [\n---\n",
            "---\nconfigs:\n- config_name: x\n  data_files: {a: 1}\n---\n",
        ] {
            assert!(!read_card(text).unwrap_err().is_empty(), "{text:?}");
        }
    }
}
