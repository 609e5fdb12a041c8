//! Where output goes: paths are resolved, folders made, and inputs kept.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::HubError;

/// What a GGUF file beside the files of a model is recognized by.
const GGUF_EXTENSION: &str = "gguf";

/// Returns `path` as an absolute path, the symbolic links of its existing part and every `..` resolved.
///
/// # Errors
/// [`HubError::Io`] if `path` is empty or the current directory is unknown.
pub fn resolve_output(path: &Path) -> Result<PathBuf, HubError> {
    let absolute = std::path::absolute(path).map_err(HubError::io("resolve", path))?;
    let mut resolved = PathBuf::new();
    for component in absolute.components() {
        if component == Component::ParentDir {
            resolved.pop();
            continue;
        }
        resolved.push(component);
        if let Ok(existing) = resolved.canonicalize() {
            resolved = existing;
        }
    }
    Ok(resolved)
}

/// Checks that a file or directory can be created at `path`, without leaving anything there: the nearest existing ancestor is
/// a directory that can be written to.
///
/// # Errors
/// [`HubError::Io`] that names the ancestor.
pub fn check_creatable(path: &Path) -> Result<(), HubError> {
    let resolved = resolve_output(path)?;
    let ancestor = resolved.ancestors().skip(1).find(|folder| folder.exists());
    let folder = ancestor.unwrap_or(Path::new("/"));
    tempfile::tempfile_in(folder)
        .map(drop)
        .map_err(HubError::io("write to", folder))
}

/// Checks that writing `output` (a file, or a directory that is replaced as a whole) destroys none of `inputs`, files and
/// directories. Paths are compared resolved, so that symbolic and hard links count; inputs that do not exist are skipped.
///
/// An output within an input directory is accepted if it does not exist yet or is a GGUF file by its name (`*.gguf`), as
/// an earlier export beside a model's own files is.
///
/// # Errors
/// [`HubError::OverInput`].
pub fn check_apart<'a>(
    output: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<(), HubError> {
    let resolved = resolve_output(output)?;
    if !resolved.exists() {
        return Ok(());
    }
    for input in inputs {
        if let Ok(source) = input.canonicalize()
            && destroys(&resolved, &source)
        {
            return Err(HubError::OverInput {
                output: output.to_path_buf(),
                input: input.to_path_buf(),
            });
        }
    }
    Ok(())
}

/// Both paths exist and are resolved.
fn destroys(output: &Path, input: &Path) -> bool {
    if input.ancestors().any(|ancestor| is_same(output, ancestor)) {
        return true;
    }
    if !(output.is_file() && input.is_dir()) {
        return false;
    }
    let within = output.starts_with(input) && !is_gguf(output);
    within
        || fs::read_dir(input)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| !is_gguf(&entry.path()) && is_same(output, &entry.path()))
}

fn is_gguf(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case(GGUF_EXTENSION))
}

/// Whether two existing paths lead to one file or directory.
#[cfg(unix)]
fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// A GGUF file that is written beside or into the directory of a model or run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GgufPlace {
    /// Outside the directory.
    Outside,
    /// Within it, at this path relative to it.
    Within(PathBuf),
}

impl GgufPlace {
    /// Where `gguf` lies as to `directory`, which is written by the same command. Neither needs to exist.
    ///
    /// # Errors
    /// [`HubError::GgufName`] for a file within the directory that is not named `*.gguf`, which might be one of the directory's
    /// own; [`HubError::OverInput`] if the directory is the file or would lie below it.
    pub fn of(gguf: &Path, directory: &Path) -> Result<Self, HubError> {
        let (file, folder) = (resolve_output(gguf)?, resolve_output(directory)?);
        if folder.starts_with(&file) {
            return Err(HubError::OverInput {
                output: gguf.to_path_buf(),
                input: directory.to_path_buf(),
            });
        }
        match file.strip_prefix(&folder) {
            Err(_) => Ok(Self::Outside),
            Ok(inner) if is_gguf(inner) => Ok(Self::Within(inner.to_path_buf())),
            Ok(_) => Err(HubError::GgufName {
                gguf: gguf.to_path_buf(),
                directory: directory.to_path_buf(),
            }),
        }
    }
}

/// A folder made for an output, with its ancestors. Those of them that were made and are still empty when it is dropped are
/// removed.
#[derive(Debug)]
pub struct OutputFolder {
    /// What did not exist before, the innermost first.
    made: Vec<PathBuf>,
}

impl OutputFolder {
    /// Makes `folder` and its ancestors as far as they do not exist.
    ///
    /// # Errors
    /// [`HubError::Io`].
    pub fn make(folder: &Path) -> Result<Self, HubError> {
        let missing = folder
            .ancestors()
            .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists());
        let made = Self {
            made: missing.map(Path::to_path_buf).collect(),
        };
        fs::create_dir_all(folder).map_err(HubError::io("create", folder))?;
        Ok(made)
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        for folder in &self.made {
            // Fails for a folder with something in it, which stays with all that it lies in.
            if fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_exist_is_resolved_from_what_does() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        fs::create_dir(root.join("real")).unwrap();
        let resolved = |path: &str| resolve_output(&root.join(path)).unwrap();
        assert_eq!(resolved("./a/../b/c/./d"), root.join("b/c/d"));
        assert_eq!(resolved("real/../x.gguf"), root.join("x.gguf"));
        assert!(resolve_output(Path::new("")).is_err());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(root.join("real"), root.join("link")).unwrap();
            assert_eq!(resolved("link/new/x"), root.join("real/new/x"));
        }
    }

    #[test]
    fn an_output_that_is_or_holds_an_input_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        let source = root.join("source");
        fs::create_dir_all(source.join("data")).unwrap();
        for name in ["config.json", "old.gguf", "data/train.txt"] {
            fs::write(source.join(name), name).unwrap();
        }
        fs::write(root.join("other.gguf"), "x").unwrap();
        fs::hard_link(source.join("config.json"), root.join("hard.gguf")).unwrap();
        let mut refused = vec![
            "source",
            "source/../source/",
            ".",
            "source/config.json",
            "source/data/train.txt",
            "hard.gguf",
        ];
        #[cfg(unix)]
        {
            let link = |to: &str, name: &str| {
                std::os::unix::fs::symlink(root.join(to), root.join(name)).unwrap();
            };
            link("source", "link");
            link("source/config.json", "soft.gguf");
            refused.extend(["link", "link/config.json", "soft.gguf"]);
        }
        for output in refused {
            let error = check_apart(&root.join(output), [source.as_path()]).unwrap_err();
            assert!(matches!(error, HubError::OverInput { .. }), "{output}");
        }
        let absent = root.join("absent");
        let inputs = [absent.as_path(), source.as_path()];
        for output in ["other.gguf", "source/old.gguf", "source/new.bin", "new"] {
            check_apart(&root.join(output), inputs).unwrap();
        }
        let file = source.join("config.json");
        assert!(check_apart(&source, [file.as_path()]).is_err());
        assert!(check_apart(&file, [file.as_path()]).is_err());
        check_apart(&source.join("old.gguf"), [file.as_path()]).unwrap();
    }

    #[test]
    fn a_gguf_file_within_a_directory_is_told_by_its_name() {
        let place = tempfile::tempdir().unwrap();
        let of = |gguf: &str, directory: &str| {
            GgufPlace::of(&place.path().join(gguf), &place.path().join(directory))
        };
        assert_eq!(of("m.gguf", "out").unwrap(), GgufPlace::Outside);
        assert_eq!(of("outer/m", "out").unwrap(), GgufPlace::Outside);
        assert_eq!(
            of("x/../out/./a/m.GGUF", "out").unwrap(),
            GgufPlace::Within("a/m.GGUF".into())
        );
        let error = of("out/config.json", "out").unwrap_err().to_string();
        assert!(error.contains("*.gguf"), "{error}");
        for gguf in ["out", "."] {
            assert!(matches!(of(gguf, "out"), Err(HubError::OverInput { .. })));
        }
    }

    #[test]
    fn folders_that_stay_empty_go_again() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("a/b/c");
        drop(OutputFolder::make(&deep).unwrap());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        let folder = OutputFolder::make(&deep).unwrap();
        fs::write(place.path().join("a/b/file"), "x").unwrap();
        drop(folder);
        assert!(!deep.exists() && place.path().join("a/b/file").exists());
        // What was there before is not ours.
        fs::create_dir(place.path().join("empty")).unwrap();
        drop(OutputFolder::make(&place.path().join("empty")).unwrap());
        assert!(place.path().join("empty").exists());
    }

    #[test]
    fn a_file_is_creatable_below_a_folder_that_is() {
        let place = tempfile::tempdir().unwrap();
        check_creatable(&place.path().join("new/deep/m.gguf")).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        fs::write(place.path().join("file"), "x").unwrap();
        let error = check_creatable(&place.path().join("file/m.gguf")).unwrap_err();
        assert!(error.to_string().starts_with("cannot write to"), "{error}");
    }
}
