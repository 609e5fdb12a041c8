//! What a user calls a repository of the Hub.

use std::fmt;

use super::RemoteError;

/// The branch that is meant where none is named.
const DEFAULT_REVISION: &str = "main";
/// The longest id that the Hub gives out.
const MAX_ID_LENGTH: usize = 96;
/// Longer than any branch or tag, short enough for a file name.
const MAX_REVISION_LENGTH: usize = 200;

/// Whether a repository holds a model or a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RepoKind {
    /// Weights, configuration, tokenizer.
    Model,
    /// Files of samples.
    Dataset,
}

/// A repository at a revision: `owner/name`, or one of the old names without an owner (`gpt2`, `wikitext`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepoId {
    kind: RepoKind,
    name: String,
    revision: String,
}

impl RepoId {
    /// A model at its branch `main`.
    ///
    /// # Errors
    /// [`RemoteError::Id`] if `name` cannot be the id of a repository.
    pub fn model(name: impl Into<String>) -> Result<Self, RemoteError> {
        Self::new(RepoKind::Model, name.into())
    }

    /// A dataset at its branch `main`.
    ///
    /// # Errors
    /// [`RemoteError::Id`] if `name` cannot be the id of a repository.
    pub fn dataset(name: impl Into<String>) -> Result<Self, RemoteError> {
        Self::new(RepoKind::Dataset, name.into())
    }

    fn new(kind: RepoKind, name: String) -> Result<Self, RemoteError> {
        match problem_of_name(&name) {
            None => Ok(Self {
                kind,
                name,
                revision: DEFAULT_REVISION.to_owned(),
            }),
            Some(problem) => Err(RemoteError::Id { name, problem }),
        }
    }

    /// The same repository at a branch, a tag or a commit.
    ///
    /// # Errors
    /// [`RemoteError::Revision`] if `revision` cannot be the name of one.
    pub fn at_revision(self, revision: impl Into<String>) -> Result<Self, RemoteError> {
        let revision = revision.into();
        if is_revision(&revision) {
            Ok(Self { revision, ..self })
        } else {
            Err(RemoteError::Revision { revision })
        }
    }

    /// Whether it is a model or a dataset.
    pub fn kind(&self) -> RepoKind {
        self.kind
    }

    /// The id, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The commit, if the revision is one in full.
    pub(super) fn commit(&self) -> Option<&str> {
        is_commit(&self.revision).then_some(self.revision.as_str())
    }

    /// The page that people see.
    pub(super) fn page(&self, endpoint: &str) -> String {
        format!("{endpoint}/{}", self.hf().url())
    }

    /// The repository as `hf-hub` describes it, which knows the Hub's URLs and the names of the cache's folders.
    pub(super) fn hf(&self) -> hf_hub::Repo {
        let kind = match self.kind {
            RepoKind::Model => hf_hub::RepoType::Model,
            RepoKind::Dataset => hf_hub::RepoType::Dataset,
        };
        hf_hub::Repo::with_revision(self.name.clone(), kind, self.revision.clone())
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.revision != DEFAULT_REVISION {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its path within the repository, components separated by `/`.
    pub path: String,
    /// Its size in bytes, where the Hub tells it.
    pub size: Option<u64>,
}

/// The files of a repository at one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoListing {
    /// The commit in full: 40 hexadecimal digits.
    pub commit: String,
    /// Every file, in the Hub's order.
    pub files: Vec<RemoteFile>,
}

impl RepoListing {
    /// The file at `path`.
    pub fn file(&self, path: &str) -> Option<&RemoteFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether there is a file at `path`.
    pub fn contains(&self, path: &str) -> bool {
        self.file(path).is_some()
    }
}

/// The Hub's own rules for ids; nothing else may reach a URL or the name of a folder.
fn problem_of_name(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > MAX_ID_LENGTH {
        return Some("it must have 1 to 96 characters");
    }
    if name.split('/').count() > 2 {
        return Some("it is `owner/name`, with one slash at most");
    }
    let allowed =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    for part in name.split('/') {
        if part.is_empty() || !part.chars().all(allowed) {
            return Some("it consists of letters, digits, `-`, `_` and `.`");
        }
        if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
            return Some("its parts neither begin nor end with `-` or `.`");
        }
    }
    if name.contains("--") || name.contains("..") {
        return Some("it has neither `--` nor `..` in it");
    }
    name.ends_with(".git").then_some("it does not end in .git")
}

/// Names of branches, tags and commits, as far as they can be file names below `refs`.
fn is_revision(revision: &str) -> bool {
    let allowed = |character: char| {
        character.is_ascii_alphanumeric()
            || matches!(character, '-' | '_' | '.' | '/' | '+' | '=' | '@' | ',')
    };
    revision.len() <= MAX_REVISION_LENGTH
        && revision.chars().all(allowed)
        && revision
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with(['.', '-']) && !part.contains(".."))
}

/// Whether `text` is the full hash of a commit.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a path of a listing stays within its repository on every operating system.
pub(super) fn is_repo_path(path: &str) -> bool {
    path.len() <= 1024
        && !path
            .contains(|character: char| character.is_control() || matches!(character, '\\' | ':'))
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_hub_pass_and_nothing_else_does() {
        for name in [
            "gpt2",
            "meta-llama/Llama-3.2-3B-Instruct",
            "a/b_c.d-e",
            "Salesforce/wikitext",
        ] {
            assert_eq!(RepoId::model(name).unwrap().name(), name);
        }
        for name in [
            "",
            "a/b/c",
            "/a",
            "a/",
            "a//b",
            "a b",
            "../x",
            "a/..",
            "-a/b",
            "a/b.",
            "a--b/c",
            "a/b..c",
            "a/b.git",
            "a\\b",
            "a/b?c",
            "a/b#c",
            "ä/b",
            "a/b\n",
            "https://huggingface.co/gpt2",
            &"x".repeat(97),
        ] {
            assert!(
                matches!(RepoId::dataset(name), Err(RemoteError::Id { .. })),
                "{name:?}"
            );
        }
    }

    #[test]
    fn revisions_stay_below_their_folder() {
        let repo = RepoId::model("gpt2").unwrap();
        assert_eq!(
            (repo.revision(), repo.to_string()),
            ("main", "gpt2".to_owned())
        );
        for revision in [
            "v1.0",
            "refs/pr/3",
            "607a30d783dfa663caf39e06633721c8d4cfcd7e",
        ] {
            let repo = repo.clone().at_revision(revision).unwrap();
            assert_eq!(repo.to_string(), format!("gpt2@{revision}"));
            assert_eq!(repo.commit().is_some(), revision.len() == 40);
        }
        for revision in [
            "",
            "/x",
            "x/",
            "a//b",
            "../main",
            "a/../b",
            "a\\b",
            "a b",
            "a?b",
            "-x",
            &"x".repeat(201),
        ] {
            assert!(repo.clone().at_revision(revision).is_err(), "{revision:?}");
        }
    }

    #[test]
    fn paths_stay_within_the_repository() {
        for path in [
            "config.json",
            "data/train-00000-of-00001.parquet",
            "a/b c/ü.txt",
            ".gitattributes",
        ] {
            assert!(is_repo_path(path), "{path:?}");
        }
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "a/",
            "./a",
            "C:\\x",
            "a\\b",
            "a\0b",
            "c:x",
        ] {
            assert!(!is_repo_path(path), "{path:?}");
        }
    }
}
