//! A look at the page headers of a column before the `parquet` crate reads them.
//!
//! The crate reserves memory for whatever a page header claims. Headers are Thrift structs in the compact protocol
//! (parquet.thrift, `PageHeader`); only the fields that size an allocation are looked at.

use std::io::{BufReader, Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::ops::Range;

/// Bytes of the largest page, decompressed, and of the largest value in a header.
const LARGEST_PAGE: i64 = 256 << 20;
const LARGEST_VALUE: u64 = 64 << 20;

/// Structs within structs in a header.
const DEEPEST: usize = 8;

/// Bytes that every value of a dictionary of texts takes: its length.
const SMALLEST_VALUE: i64 = 4;

/// Encodings whose decoders allocate what the data claims (`DELTA_LENGTH_BYTE_ARRAY`, `DELTA_BYTE_ARRAY`).
const DELTA_ENCODINGS: Range<i64> = 6..8;

/// Checks every page header in the bytes `chunk` of a file.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`] with what is wrong, and those of reading.
pub(super) fn check_pages(file: impl Read + Seek, chunk: Range<u64>) -> Result<()> {
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(chunk.start))?;
    let mut position = chunk.start;
    while position < chunk.end {
        let mut header = Header {
            reader: (&mut reader).take(chunk.end - position),
            page: Page::default(),
        };
        header.structure(Scope::Page, 0)?;
        let page = header.page;
        let body = header.reader.limit();
        page.check()?;
        let size = u64::try_from(page.compressed).map_err(|_| invalid("a page of no size"))?;
        if size > body {
            return Err(invalid("a page that is longer than its column"));
        }
        reader.seek_relative(size as i64)?;
        position = chunk.end - body + size;
    }
    Ok(())
}

fn invalid(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}

/// The sizes that a header claims.
#[derive(Clone, Copy, Default)]
struct Page {
    compressed: i64,
    uncompressed: i64,
    dictionary_values: i64,
    delta: bool,
}

impl Page {
    fn check(&self) -> Result<()> {
        if self.uncompressed < 0 || self.compressed < 0 {
            return Err(invalid("a page of negative size"));
        }
        if self.uncompressed > LARGEST_PAGE || self.compressed > LARGEST_PAGE {
            return Err(invalid("a page of more than 256 MiB"));
        }
        if self.dictionary_values > self.uncompressed / SMALLEST_VALUE {
            return Err(invalid("a dictionary with more values than bytes"));
        }
        if self.delta {
            return Err(invalid(
                "a column with delta-encoded texts, which are not read: write it anew with plain or dictionary encoding",
            ));
        }
        Ok(())
    }
}

/// Which struct a field is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Page,
    DataPage,
    DictionaryPage,
    DataPageV2,
    Other,
}

struct Header<R> {
    reader: R,
    page: Page,
}

impl<R: Read> Header<R> {
    fn structure(&mut self, scope: Scope, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(invalid("a page header that is nested too deeply"));
        }
        let mut id = 0_i64;
        loop {
            let byte = self.byte()?;
            let kind = byte & 0x0F;
            if kind == 0 {
                return Ok(());
            }
            id = match byte >> 4 {
                0 => self.zigzag()?,
                delta => id + i64::from(delta),
            };
            match (scope, id, kind) {
                (Scope::Page, 2, 4..=6) => self.page.uncompressed = self.zigzag()?,
                (Scope::Page, 3, 4..=6) => self.page.compressed = self.zigzag()?,
                (Scope::Page, 5, 12) => self.structure(Scope::DataPage, depth + 1)?,
                (Scope::Page, 7, 12) => self.structure(Scope::DictionaryPage, depth + 1)?,
                (Scope::Page, 8, 12) => self.structure(Scope::DataPageV2, depth + 1)?,
                (Scope::DictionaryPage, 1, 4..=6) => self.page.dictionary_values = self.zigzag()?,
                (Scope::DataPage, 2, 4..=6) | (Scope::DataPageV2, 4, 4..=6) => {
                    let encoding = self.zigzag()?;
                    self.page.delta |= DELTA_ENCODINGS.contains(&encoding);
                }
                _ => self.skip(kind, depth)?,
            }
        }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<()> {
        match kind {
            1 | 2 => Ok(()),
            3 => self.byte().map(|_| ()),
            4..=6 => self.number().map(|_| ()),
            7 => self.bytes(8),
            8 => {
                let length = self.number()?;
                if length > LARGEST_VALUE {
                    return Err(invalid("a page header with a value of more than 64 MiB"));
                }
                self.bytes(length)
            }
            9 | 10 => {
                let byte = self.byte()?;
                let length = match byte >> 4 {
                    15 => self.number()?,
                    short => u64::from(short),
                };
                self.elements(length, &[byte & 0x0F], depth)
            }
            11 => match self.number()? {
                0 => Ok(()),
                length => {
                    let kinds = self.byte()?;
                    self.elements(length, &[kinds >> 4, kinds & 0x0F], depth)
                }
            },
            12 => self.structure(Scope::Other, depth + 1),
            _ => Err(invalid("a page header that is none")),
        }
    }

    fn elements(&mut self, length: u64, kinds: &[u8], depth: usize) -> Result<()> {
        if depth >= DEEPEST {
            return Err(invalid("a page header that is nested too deeply"));
        }
        for _ in 0..length {
            for &kind in kinds {
                match kind {
                    // In a collection a truth value is a byte.
                    1 | 2 => self.byte().map(|_| ())?,
                    kind => self.skip(kind, depth + 1)?,
                }
            }
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn bytes(&mut self, length: u64) -> Result<()> {
        let skipped = std::io::copy(&mut (&mut self.reader).take(length), &mut std::io::sink())?;
        if skipped < length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn number(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(invalid("a page header with an endless number"))
    }

    fn zigzag(&mut self) -> Result<i64> {
        let value = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}
