//! Text files: one row each, however long.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::{ControlFlow, Range};
use std::path::Path;

use super::{DataFile, RowSink};
use crate::error::DataError;
use crate::text::split_point;

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Bytes on each side of the point that are searched for a line end.
const WINDOW_BYTES: u64 = 1 << 20;

/// Hands a text, or the bytes `part` of an uncompressed one, to `sink` as one row.
pub(super) fn read(
    file: &DataFile,
    part: Option<Range<u64>>,
    sink: &mut dyn RowSink,
) -> Result<(), DataError> {
    let io = |source| DataError::io(&file.path, source);
    let (mut contents, mut offset) = match part {
        Some(part) => {
            let mut opened = File::open(&file.path).map_err(io)?;
            opened.seek(SeekFrom::Start(part.start)).map_err(io)?;
            let contents: Box<dyn Read> = Box::new(opened.take(part.end - part.start));
            (contents, part.start)
        }
        None => (file.contents()?, 0),
    };
    let mut buffer = Vec::with_capacity(CHUNK_BYTES + 4);
    loop {
        let kept = buffer.len();
        let read = contents
            .by_ref()
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut buffer)
            .map_err(io)?;
        let invalid = |valid: usize| DataError::InvalidUtf8 {
            path: file.path.clone(),
            offset: offset as usize + valid,
        };
        if read == 0 {
            if kept > 0 {
                return Err(invalid(0));
            }
            break;
        }
        let complete = match std::str::from_utf8(&buffer) {
            Ok(_) => buffer.len(),
            // A character may go on in the next chunk.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(error) => return Err(invalid(error.valid_up_to())),
        };
        let text = std::str::from_utf8(&buffer[..complete]).map_err(|_| invalid(0))?;
        if !text.is_empty() && sink.text(text)?.is_break() {
            return Ok(());
        }
        buffer.drain(..complete);
        offset += complete as u64;
    }
    sink.end_row().map(|_: ControlFlow<()>| ())
}

/// The byte of a text file at which its last `fraction` begins, after a line end or a space, and the bytes of the file.
/// Nothing if there is no such place nearby.
pub(crate) fn hold_out_point(path: &Path, fraction: f64) -> Result<(Option<u64>, u64), DataError> {
    let io = |source| DataError::io(path, source);
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length == 0 {
        return Err(DataError::EmptyFile {
            path: path.to_owned(),
        });
    }
    let wanted = ((1.0 - fraction) * length as f64) as u64;
    let start = wanted.saturating_sub(WINDOW_BYTES);
    let end = wanted.saturating_add(WINDOW_BYTES).min(length);
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    file.take(end - start).read_to_end(&mut bytes).map_err(io)?;
    let is_continued = |byte: &&u8| **byte & 0xC0 == 0x80;
    // The window may begin and end within a character.
    let skipped = if start == 0 {
        0
    } else {
        bytes.iter().take(3).take_while(is_continued).count()
    };
    let window = &bytes[skipped..];
    let text = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && end < length => {
            std::str::from_utf8(&window[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(error) => {
            return Err(DataError::InvalidUtf8 {
                path: path.to_owned(),
                offset: start as usize + skipped + error.valid_up_to(),
            });
        }
    };
    let begin = start + skipped as u64;
    let within = wanted.saturating_sub(begin) as usize;
    let point = split_point(text, within).map(|point| begin + point as u64);
    Ok((point, length))
}
