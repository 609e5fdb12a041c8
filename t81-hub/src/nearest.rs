//! What a mistyped name may have meant.

use std::path::Path;

/// The candidate that is most like `name`, if one is near.
///
/// ```
/// assert_eq!(t81_hub::nearest("generat", ["evaluate", "generate"]), Some("generate"));
/// assert_eq!(t81_hub::nearest("model", ["evaluate", "generate"]), None);
/// ```
pub fn nearest<T: AsRef<str>>(name: &str, candidates: impl IntoIterator<Item = T>) -> Option<T> {
    let name = name.to_lowercase();
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let other = candidate.as_ref().to_lowercase();
            let edits = strsim::damerau_levenshtein(&name, &other);
            (edits <= allowed_edits(&name, &other)).then_some((edits, candidate))
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Three in ten characters; a swap in a name of three.
fn allowed_edits(one: &str, other: &str) -> usize {
    let length = one.chars().count().max(other.chars().count());
    (3 * length / 10).max(usize::from(length > 2))
}

/// The entry beside the missing `path` whose name is most like its own and that `accepts` takes, spelled as `path` is.
pub fn nearest_sibling(path: &Path, accepts: impl Fn(&Path) -> bool) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let parent = path.parent()?;
    let folder = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    let names = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            (!hidden && accepts(&entry.path())).then(|| entry.file_name().into_string().ok())?
        });
    let found = nearest(name, names)?;
    Some(parent.join(found).display().to_string())
}

/// The end of a message about something that does not exist, with what may have been meant; empty if nothing is near.
pub fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| {
        format!("; did you mean `{nearest}`?")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_name_wins() {
        let names = ["gpt2", "gpt2-medium", "SmolLM2-135M"];
        assert_eq!(nearest("smollm2-135", names), Some("SmolLM2-135M"));
        assert_eq!(nearest("gtp2-medium", names), Some("gpt2-medium"));
        assert_eq!(nearest("bert", names), None);
        assert_eq!(nearest("rnu", ["runs", "run"]), Some("run"));
        assert_eq!(nearest("ab", ["ac"]), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest("x", [""; 0]), None);
    }

    #[test]
    fn a_sibling_is_spelled_as_the_path_was() {
        let place = tempfile::tempdir().unwrap();
        for name in ["converted", ".converteds", "notes"] {
            std::fs::create_dir(place.path().join(name)).unwrap();
        }
        std::fs::write(place.path().join("convertex"), "a file").unwrap();
        let sibling = |name: &str| nearest_sibling(&place.path().join(name), Path::is_dir);
        let expected = place.path().join("converted").display().to_string();
        assert_eq!(sibling("convertee"), Some(expected));
        assert_eq!(sibling("other"), None);
        assert_eq!(nearest_sibling(Path::new("/"), Path::is_dir), None);
    }
}
