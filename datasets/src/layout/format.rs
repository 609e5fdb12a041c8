//! Formats of data files, by their names.

/// What a data file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileKind {
    pub(crate) format: Format,
    pub(crate) compression: Compression,
}

/// Formats that hold text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// UTF-8 text.
    Text,
    /// A JSON object a line, or one array of objects.
    Json,
    /// Apache Parquet.
    Parquet,
    /// A table with commas between values.
    Csv,
    /// A table with tabs between values.
    Tsv,
}

/// How a whole file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Extensions that tell a data file from the other files of a repository, with what they hold; the order decides between
/// equally frequent ones.
const EXTENSIONS: &[(&str, Option<Format>)] = &[
    ("parquet", Some(Format::Parquet)),
    ("arrow", None),
    ("jsonl", Some(Format::Json)),
    ("json", Some(Format::Json)),
    ("ndjson", Some(Format::Json)),
    ("csv", Some(Format::Csv)),
    ("txt", Some(Format::Text)),
    ("tsv", Some(Format::Tsv)),
    ("tar", None),
    ("zip", None),
    ("xml", None),
];

impl FileKind {
    /// What a file of this name holds, if it is text in a form that can be read.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let (compression, extension) = extension(name)?;
        let (_, format) = EXTENSIONS.iter().find(|(known, _)| *known == extension)?;
        let format = (*format)?;
        // Parquet compresses its pages; nobody compresses the file again.
        let readable = format != Format::Parquet || compression == Compression::None;
        readable.then_some(Self {
            format,
            compression,
        })
    }
}

/// Compression and extension of a file name, in lower case.
fn extension(name: &str) -> Option<(Compression, String)> {
    let name = name.rsplit('/').next()?.to_ascii_lowercase();
    let (stem, last) = name.rsplit_once('.')?;
    let compression = match last {
        "gz" => Compression::Gzip,
        "zst" | "zstd" => Compression::Zstd,
        _ => return Some((Compression::None, last.to_owned())),
    };
    let (_, inner) = stem.rsplit_once('.')?;
    Some((compression, inner.to_owned()))
}

/// The format that most files have; otherwise the extension that most have, if any is a data file.
pub(super) fn prevailing(names: &[&str]) -> Result<Format, Option<String>> {
    let mut counts = vec![0_usize; EXTENSIONS.len()];
    for name in names {
        let known = extension(name).and_then(|(_, extension)| {
            EXTENSIONS.iter().position(|(known, _)| *known == extension)
        });
        if let Some(index) = known {
            counts[index] += 1;
        }
    }
    // The first of equals: `max_by_key` would give the last.
    let most = (0..counts.len()).rev().max_by_key(|&index| counts[index]);
    match most {
        Some(index) if counts[index] > 0 => {
            let (extension, format) = EXTENSIONS[index];
            format.ok_or_else(|| Some(extension.to_owned()))
        }
        _ => Err(None),
    }
}

/// What to do about a repository without data files that can be read.
pub(super) fn hint(names: &[&str], found: Option<&str>) -> String {
    let has_script = names
        .iter()
        .any(|name| !name.contains('/') && name.ends_with(".py"));
    match found {
        Some(extension) => format!(
            "its data files are .{extension}; --dataset-revision refs/convert/parquet names the Hub's own conversion to \
             parquet, where it has made one"
        ),
        None if has_script => "it has a loading script, which is not run; --dataset-revision refs/convert/parquet names \
                               the Hub's own conversion to parquet, where it has made one"
            .to_owned(),
        None => "it has no .parquet, .jsonl, .json, .csv, .tsv or .txt file".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_from_names() {
        let kind = |format, compression| {
            Some(FileKind {
                format,
                compression,
            })
        };
        for (name, expected) in [
            (
                "a/train-00000-of-00001.parquet",
                kind(Format::Parquet, Compression::None),
            ),
            (
                "en/c4-train.00000-of-01024.json.gz",
                kind(Format::Json, Compression::Gzip),
            ),
            ("x.JSONL", kind(Format::Json, Compression::None)),
            ("x.jsonl.zst", kind(Format::Json, Compression::Zstd)),
            ("x.txt", kind(Format::Text, Compression::None)),
            ("x.txt.gz", kind(Format::Text, Compression::Gzip)),
            ("x.parquet.gz", None),
            ("x.csv", kind(Format::Csv, Compression::None)),
            ("x.tsv.gz", kind(Format::Tsv, Compression::Gzip)),
            ("x.arrow", None),
            ("README.md", None),
            ("txt", None),
            (".gz", None),
            ("a.txt/b", None),
        ] {
            assert_eq!(FileKind::of(name), expected, "{name}");
        }
    }

    #[test]
    fn the_most_frequent_format_prevails() {
        assert_eq!(prevailing(&["a.txt", "b.txt", "c.jsonl"]), Ok(Format::Text));
        assert_eq!(prevailing(&["a.txt", "c.jsonl"]), Ok(Format::Json));
        assert_eq!(
            prevailing(&["LICENSE.txt", "c.arrow"]),
            Err(Some("arrow".to_owned()))
        );
        assert_eq!(prevailing(&["x.py", "README"]), Err(None));
    }
}
