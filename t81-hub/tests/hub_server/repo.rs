//! Repositories that the server publishes.

use std::collections::BTreeMap;
use std::path::Path;

use super::sha256::sha256;

/// A repository with one commit.
#[derive(Clone, Debug)]
pub struct Repo {
    pub(crate) dataset: bool,
    pub(crate) id: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) files: BTreeMap<String, StoredFile>,
    pub(crate) branches: Vec<String>,
    /// Who may read it at all: holders of this token.
    pub(crate) private: Option<String>,
    /// Whose licence was accepted: that of the holder of this token.
    pub(crate) gated: Option<String>,
    pub(crate) relative_redirects: bool,
}

/// A file's bytes and what the Hub says of them.
#[derive(Clone, Debug)]
pub(crate) struct StoredFile {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sha256: String,
    /// Large files lie elsewhere (LFS); a `HEAD` or `GET` is redirected there.
    pub(crate) large: bool,
}

impl StoredFile {
    /// What the Hub calls the contents of a small file: any 40 digits, since nobody computes them anew.
    pub(crate) fn blob_id(&self) -> &str {
        &self.sha256[..40]
    }

    pub(crate) fn etag(&self) -> &str {
        if self.large {
            &self.sha256
        } else {
            self.blob_id()
        }
    }
}

impl Repo {
    /// An empty model repository with the branch `main`.
    pub fn model(id: &str) -> Self {
        Self::new(id, false)
    }

    /// An empty dataset repository with the branch `main`.
    pub fn dataset(id: &str) -> Self {
        Self::new(id, true)
    }

    fn new(id: &str, dataset: bool) -> Self {
        Self {
            dataset,
            id: id.to_owned(),
            aliases: Vec::new(),
            files: BTreeMap::new(),
            branches: vec!["main".to_owned()],
            private: None,
            gated: None,
            relative_redirects: false,
        }
    }

    /// Adds a file. Weights, columns and archives are large files, others small ones.
    pub fn file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let large = [
            ".safetensors",
            ".bin",
            ".parquet",
            ".gguf",
            ".gz",
            ".pth",
            ".onnx",
            ".msgpack",
            ".h5",
        ];
        let file = StoredFile {
            sha256: sha256(&bytes),
            large: large.iter().any(|extension| path.ends_with(extension)),
            bytes,
        };
        self.files.insert(path.to_owned(), file);
        self
    }

    /// Adds every file below a directory.
    pub fn files_of(mut self, directory: &Path) -> Self {
        let mut folders = vec![(directory.to_path_buf(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a directory") {
                let entry = entry.expect("an entry");
                let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
                if entry.path().is_dir() {
                    folders.push((entry.path(), format!("{path}/")));
                } else {
                    self = self.file(&path, std::fs::read(entry.path()).expect("a file"));
                }
            }
        }
        self
    }

    /// An old name, which redirects to the id.
    pub fn alias(mut self, name: &str) -> Self {
        self.aliases.push(name.to_owned());
        self
    }

    /// Another name of the commit, beside `main`.
    pub fn tag(mut self, name: &str) -> Self {
        self.branches.push(name.to_owned());
        self
    }

    /// Everybody may list it; bytes are for the holder of `token`.
    pub fn gated(mut self, token: &str) -> Self {
        self.gated = Some(token.to_owned());
        self
    }

    /// To all but the holder of `token` it does not exist.
    pub fn private(mut self, token: &str) -> Self {
        self.private = Some(token.to_owned());
        self
    }

    /// Large files lie on the Hub itself, at another path, instead of on the CDN.
    pub fn relative_redirects(mut self) -> Self {
        self.relative_redirects = true;
        self
    }

    /// The commit: 40 digits that change with the contents.
    pub fn commit(&self) -> String {
        let mut description = self.id.clone();
        for (path, file) in &self.files {
            description.push_str(&format!("\n{path} {}", file.sha256));
        }
        sha256(description.as_bytes())[..40].to_owned()
    }

    /// The SHA-256 of a file.
    pub fn hash_of(&self, path: &str) -> &str {
        &self.files[path].sha256
    }

    pub(crate) fn has_revision(&self, revision: &str) -> bool {
        self.branches.iter().any(|branch| branch == revision) || revision == self.commit()
    }

    pub(crate) fn same_place(&self, other: &Self) -> bool {
        self.dataset == other.dataset && self.id == other.id
    }
}
