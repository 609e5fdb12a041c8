//! Text files.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use t81_hub::{HubError, SpecialFile};

use crate::encoding::{BEGINNING_BYTES, Encoding, beginning};
use crate::error::DataError;
use crate::foreign::check_foreign;
use crate::layout::Format;

/// Reads a text file as it is: no byte is dropped, neither a byte-order mark nor a carriage return. UTF-16 with a byte-order
/// mark is decoded. A pipe is read to its end.
///
/// # Errors
///
/// [`DataError::MissingFile`], [`DataError::EmptyFile`], [`DataError::InvalidUtf8`] with the offset of the byte at
/// fault, [`DataError::Encoding`], [`DataError::Binary`], [`DataError::Hub`] for what is neither a file nor a pipe, and
/// [`DataError::Io`].
pub fn read_text(path: &Path) -> Result<String, DataError> {
    let io = |source| DataError::io(path, source);
    let metadata = std::fs::metadata(path).map_err(io)?;
    match SpecialFile::of(metadata.file_type()) {
        None | Some(SpecialFile::Pipe) => {}
        Some(kind) => {
            return Err(DataError::Hub(HubError::NotAFile {
                path: path.to_owned(),
                kind,
            }));
        }
    }
    let file = File::open(path).map_err(io)?;
    let mut contents = BufReader::with_capacity(BEGINNING_BYTES, file);
    let first = beginning(&mut contents).map_err(io)?;
    check_foreign(path, first, Format::Text)?;
    let encoding = Encoding::recognize(path, first)?;
    let mut bytes = Vec::new();
    encoding
        .decode(contents)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.is_empty() {
        return Err(DataError::EmptyFile {
            path: path.to_owned(),
        });
    }
    String::from_utf8(bytes).map_err(|error| DataError::InvalidUtf8 {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

/// The byte at or after `wanted` at which a text may be split: after a line end, or where there is none after a space, with
/// text on both sides; before `wanted` if there is none behind.
pub(crate) fn split_point(text: &str, wanted: usize) -> Option<usize> {
    let wanted = text.floor_char_boundary(wanted);
    ['\n', ' '].into_iter().find_map(|boundary| {
        let after = text[wanted..]
            .match_indices(boundary)
            .map(|(index, _)| wanted + index + 1);
        let before = text[..wanted]
            .rmatch_indices(boundary)
            .map(|(index, _)| index + 1);
        let splits = |&point: &usize| {
            let (first, second) = text.split_at(point);
            !first.trim().is_empty() && !second.trim().is_empty()
        };
        after.take(1).chain(before).find(splits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the last `fraction` of a text begins.
    fn last_part(text: &str, fraction: f64) -> Option<usize> {
        split_point(text, ((1.0 - fraction) * text.len() as f64) as usize)
    }

    #[test]
    fn splits_after_the_line_that_holds_the_point() {
        let text = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\n";
        let point = last_part(text, 0.1).unwrap();
        assert_eq!(
            text.split_at(point),
            (
                "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n",
                "ten\n"
            )
        );
        let point = last_part(text, 0.5).unwrap();
        assert_eq!(&text[point..], "seven\neight\nnine\nten\n");
    }

    #[test]
    fn falls_back_to_an_earlier_line_then_to_words() {
        assert_eq!(
            last_part("short\na last line that is very long\n", 0.1),
            Some(6)
        );
        assert_eq!(last_part("all words on one line", 0.1), Some(17));
        assert_eq!(last_part("word", 0.1), None);
        assert_eq!(last_part("word\n", 0.1), None);
        assert_eq!(last_part("", 0.1), None);
    }

    #[test]
    fn cuts_no_character_in_two() {
        for fraction in [0.05, 0.3, 0.5, 0.7, 0.95] {
            let text = "\u{1F600}\u{1F600} \u{e9}\u{e9}\u{e9} \u{1F600}\u{1F600}";
            let point = last_part(text, fraction).unwrap();
            assert!(text.is_char_boundary(point) && text[..point].ends_with(' '));
        }
    }
}
