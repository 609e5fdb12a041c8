//! Encodings of text files, recognized by their first bytes.

use std::io::{BufRead, Error, ErrorKind, Read};
use std::path::Path;

use crate::error::DataError;

/// First bytes of a text that its encoding and what else it may be are recognized by.
pub(crate) const BEGINNING_BYTES: usize = 4096;

/// Bytes decoded at once.
const CHUNK_BYTES: usize = 1 << 16;

/// First bytes of common files that are not text, and what to do about them.
const BINARY: &[(&[u8], &str)] = &[
    (b"\x1F\x8B", "a gzip file; give it a name that ends in .gz"),
    (
        b"\x28\xB5\x2F\xFD",
        "a Zstandard file; give it a name that ends in .zst",
    ),
    (
        b"PK\x03\x04",
        "a zip archive or an office document; extract its text first",
    ),
    (b"%PDF-", "a PDF document; extract its text first"),
    (b"ARROW1", "an Arrow file; convert it to parquet"),
    (
        b"PAR1",
        "a parquet file; give it a name that ends in .parquet",
    ),
    (b"GGUF", "a GGUF model"),
];

/// An encoding that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// UTF-8, with or without a byte-order mark.
    Utf8,
    /// UTF-16 behind its byte-order mark.
    Utf16 { big_endian: bool },
}

impl Encoding {
    /// Recognizes the encoding of the text at `path` by its `beginning`, of up to [`BEGINNING_BYTES`].
    ///
    /// # Errors
    /// [`DataError::Encoding`] for UTF-32 and for UTF-16 without a byte-order mark, [`DataError::Binary`] for what is not text.
    pub(crate) fn recognize(path: &Path, beginning: &[u8]) -> Result<Self, DataError> {
        let other = |encoding| {
            Err(DataError::Encoding {
                path: path.to_owned(),
                encoding,
            })
        };
        match beginning {
            [0xFF, 0xFE, 0, 0, ..] => return other("UTF-32LE"),
            [0, 0, 0xFE, 0xFF, ..] => return other("UTF-32BE"),
            [0xFF, 0xFE, ..] => return Ok(Self::Utf16 { big_endian: false }),
            [0xFE, 0xFF, ..] => return Ok(Self::Utf16 { big_endian: true }),
            _ => {}
        }
        let binary = |kind: &str| {
            Err(DataError::Binary {
                path: path.to_owned(),
                kind: kind.to_owned(),
            })
        };
        if let Some((_, kind)) = BINARY
            .iter()
            .find(|(magic, _)| beginning.starts_with(magic))
        {
            return binary(kind);
        }
        if !beginning.contains(&0) {
            return Ok(Self::Utf8);
        }
        // Text of few other than ASCII characters has a NUL in each of the other bytes.
        let (quads, _) = beginning.as_chunks::<4>();
        let zeros = |at: usize| quads.iter().filter(|quad| quad[at] == 0).count();
        let mostly = |at: usize| 2 * zeros(at) > quads.len();
        let rarely = |at: usize| 20 * zeros(at) <= quads.len();
        match [0, 1, 2, 3].map(|at| (mostly(at), rarely(at))) {
            [(_, true), (true, _), (true, _), (true, _)] => other("UTF-32LE"),
            [(true, _), (true, _), (true, _), (_, true)] => other("UTF-32BE"),
            [(_, true), (true, _), (_, true), (true, _)] => other("UTF-16LE"),
            [(true, _), (_, true), (true, _), (_, true)] => other("UTF-16BE"),
            _ => binary("not text: it contains NUL bytes"),
        }
    }

    /// The text as UTF-8. That of a UTF-16 file has no byte-order mark; any other is as it was.
    pub(crate) fn decode<'r>(self, contents: impl Read + 'r) -> Box<dyn Read + 'r> {
        match self {
            Self::Utf8 => Box::new(contents),
            Self::Utf16 { big_endian } => Box::new(Utf16Reader {
                contents,
                big_endian,
                raw: Vec::new(),
                offset: 0,
                decoded: Vec::new(),
                taken: 0,
            }),
        }
    }
}

/// The next bytes of `contents`, as many as an encoding is recognized by; they stay unread.
pub(crate) fn beginning(contents: &mut impl BufRead) -> std::io::Result<&[u8]> {
    let bytes = contents.fill_buf()?;
    Ok(&bytes[..bytes.len().min(BEGINNING_BYTES)])
}

/// Decodes UTF-16 as it is read.
struct Utf16Reader<R> {
    contents: R,
    big_endian: bool,
    /// Bytes that are not decoded: less than a character.
    raw: Vec<u8>,
    /// Bytes of the file before `raw`.
    offset: u64,
    decoded: Vec<u8>,
    /// Bytes of `decoded` that were handed over.
    taken: usize,
}

impl<R: Read> Utf16Reader<R> {
    /// Decodes the next part; returns whether there was one.
    fn refill(&mut self) -> std::io::Result<bool> {
        let kept = self.raw.len();
        let read = self
            .contents
            .by_ref()
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut self.raw)?;
        if read == 0 && kept == 0 {
            return Ok(false);
        }
        let (pairs, _) = self.raw.as_chunks::<2>();
        let unit = |pair: &[u8; 2]| match self.big_endian {
            true => u16::from_be_bytes(*pair),
            false => u16::from_le_bytes(*pair),
        };
        let mut units: Vec<u16> = pairs.iter().map(unit).collect();
        // The second half of the last character may follow.
        if read > 0
            && units
                .last()
                .is_some_and(|last| (0xD800..0xDC00).contains(last))
        {
            units.pop();
        }
        let mut text = String::with_capacity(units.len());
        let mut at = self.offset;
        for character in char::decode_utf16(units.iter().copied()) {
            let character = character.map_err(|_| invalid(at))?;
            at += 2 * character.len_utf16() as u64;
            if at > 2 || character != '\u{FEFF}' {
                text.push(character);
            }
        }
        if read == 0 && at < self.offset + self.raw.len() as u64 {
            return Err(invalid(at));
        }
        self.raw.drain(..2 * units.len());
        self.offset = at;
        self.decoded = text.into_bytes();
        self.taken = 0;
        Ok(true)
    }
}

fn invalid(offset: u64) -> Error {
    let reason = format!("not valid UTF-16: half a character at byte {offset}");
    Error::new(ErrorKind::InvalidData, reason)
}

impl<R: Read> Read for Utf16Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.taken == self.decoded.len() {
            if !self.refill()? {
                return Ok(0);
            }
        }
        let read = (&self.decoded[self.taken..]).read(buffer)?;
        self.taken += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, big_endian: bool) -> Vec<u8> {
        let bytes = |unit: u16| match big_endian {
            true => unit.to_be_bytes(),
            false => unit.to_le_bytes(),
        };
        text.encode_utf16().flat_map(bytes).collect()
    }

    /// Hands over one byte at a time.
    struct Slow<'b>(&'b [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    #[test]
    fn utf16_is_decoded_whatever_it_is_cut_into() {
        let text = "A caf\u{e9} \u{4f60}\u{597d} \u{1F600} \u{FEFF}end\r\n".repeat(5000);
        for big_endian in [false, true] {
            let bytes = utf16(&format!("\u{FEFF}{text}"), big_endian);
            let encoding = Encoding::recognize(Path::new("x"), &bytes[..100]).unwrap();
            assert_eq!(encoding, Encoding::Utf16 { big_endian });
            let mut decoded = String::new();
            let mut reader = encoding.decode(&bytes[..]);
            reader.read_to_string(&mut decoded).unwrap();
            assert!(decoded == text);
            decoded.clear();
            let short = &bytes[..2 + 2 * 29];
            let mut reader = encoding.decode(Slow(short));
            reader.read_to_string(&mut decoded).unwrap();
            assert!(text.starts_with(&decoded) && decoded.chars().count() == 28);
        }
    }

    #[test]
    fn damaged_utf16_is_an_error_with_its_place() {
        let encoding = Encoding::Utf16 { big_endian: false };
        for (bytes, place) in [
            (&b"\xFF\xFEa\0b"[..], "byte 4"),
            (b"\xFF\xFEa\0\x00\xD8", "byte 4"),
            (b"\xFF\xFEa\0\x00\xD8b\0", "byte 4"),
            (b"\xFF\xFE\x00\xDCb\0", "byte 2"),
        ] {
            let mut text = String::new();
            let error = encoding
                .decode(bytes)
                .read_to_string(&mut text)
                .unwrap_err();
            assert!(error.to_string().ends_with(place), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn other_encodings_are_named() {
        let text = "Once upon a time, caf\u{e9}.\n";
        let utf32 = |big_endian: bool| -> Vec<u8> {
            let bytes = |character: char| match big_endian {
                true => u32::from(character).to_be_bytes(),
                false => u32::from(character).to_le_bytes(),
            };
            text.chars().flat_map(bytes).collect()
        };
        let marked = |mark: &[u8], bytes: Vec<u8>| [mark, &bytes].concat();
        for (bytes, expected) in [
            (utf16(text, false), "UTF-16LE"),
            (utf16(text, true), "UTF-16BE"),
            (utf32(false), "UTF-32LE"),
            (utf32(true), "UTF-32BE"),
            (marked(b"\xFF\xFE\0\0", utf32(false)), "UTF-32LE"),
            (marked(b"\0\0\xFE\xFF", utf32(true)), "UTF-32BE"),
        ] {
            match Encoding::recognize(Path::new("x.txt"), &bytes).unwrap_err() {
                DataError::Encoding { encoding, .. } => assert_eq!(encoding, expected),
                other => panic!("{other}"),
            }
        }
        let recognize = |bytes: &[u8]| Encoding::recognize(Path::new("x.txt"), bytes);
        for (bytes, kind) in [
            (&b"\x1F\x8B\x08\0"[..], ".gz"),
            (b"%PDF-1.7", "PDF"),
            (b"\x10\0\0\0\0\0\0\0{\"a\": 1}", "NUL bytes"),
            (b"text\0", "NUL bytes"),
        ] {
            let error = recognize(bytes).unwrap_err();
            assert!(matches!(error, DataError::Binary { .. }), "{error}");
            assert!(error.to_string().contains(kind), "{error}");
        }
        for text in [
            &b""[..],
            b"a",
            b"\xEF\xBB\xBFtext",
            text.as_bytes(),
            b"\xE9",
        ] {
            assert_eq!(recognize(text).unwrap(), Encoding::Utf8);
        }
    }
}
