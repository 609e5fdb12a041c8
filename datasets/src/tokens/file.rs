//! Files of tokens: a header of 64 bytes, then the tokens as little-endian `u16` or `u32`.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `T81TOKEN` |
//! | 8..12 | version, 1 |
//! | 12..16 | bytes of a token, 2 or 4 |
//! | 16..24 | number of tokens |
//! | 24..40 | key: the fingerprint of all that the tokens follow from |
//! | 40..56 | XXH3-128 of the tokens' bytes |
//! | 56..64 | XXH3-64 of the bytes before |

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

const MAGIC: &[u8; 8] = b"T81TOKEN";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;

/// Bytes of a token in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Two = 2,
    Four = 4,
}

impl Width {
    /// The width that holds every token up to `largest`.
    pub(super) fn for_tokens(largest: u32) -> Self {
        if u16::try_from(largest).is_ok() {
            Self::Two
        } else {
            Self::Four
        }
    }

    fn bytes(self) -> usize {
        self as usize
    }
}

/// The tokens of a file that was checked and mapped.
#[derive(Debug)]
pub(crate) struct MappedTokens {
    map: Mmap,
    width: Width,
    len: usize,
}

impl MappedTokens {
    /// Maps the file at `path` if it exists, is whole and belongs to `key`.
    #[allow(unsafe_code)]
    pub(super) fn open(path: &Path, key: u128) -> Option<Self> {
        let file = File::open(path).ok()?;
        // SAFETY: the map is read-only, and its bytes are only ever decoded as integers, for which every bit pattern is valid.
        // It is shared with every other process that has the file open, so the contract of `map` rests on these files: they
        // are written under another name, appear by renaming and are never changed afterwards, and removing one leaves an
        // existing map intact. A process that writes into a file of the cache all the same changes tokens under a borrowed
        // slice, and one that shortens it ends this process by a bus error (SIGBUS).
        let map = unsafe { Mmap::map(&file) }.ok()?;
        let (width, len) = check(&map, key)?;
        Some(Self { map, width, len })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends the tokens at these positions to `tokens`.
    pub(super) fn copy_to(&self, positions: Range<usize>, tokens: &mut Vec<u32>) {
        let bytes = self.width.bytes();
        let range = HEADER_BYTES + positions.start * bytes..HEADER_BYTES + positions.end * bytes;
        match self.width {
            Width::Two => {
                let (pairs, _) = self.map[range].as_chunks::<2>();
                tokens.extend(
                    pairs
                        .iter()
                        .map(|pair| u32::from(u16::from_le_bytes(*pair))),
                );
            }
            Width::Four => {
                let (quads, _) = self.map[range].as_chunks::<4>();
                tokens.extend(quads.iter().map(|quad| u32::from_le_bytes(*quad)));
            }
        }
    }
}

/// Width and number of the tokens in a file, if it is whole and belongs to `key`.
fn check(bytes: &[u8], key: u128) -> Option<(Width, usize)> {
    let (header, payload) = bytes.split_at_checked(HEADER_BYTES)?;
    let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap_or_default());
    let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap_or_default());
    let u128_at =
        |at: usize| u128::from_le_bytes(header[at..at + 16].try_into().unwrap_or_default());
    let width = match u32_at(12) {
        2 => Width::Two,
        4 => Width::Four,
        _ => return None,
    };
    let len = usize::try_from(u64_at(16)).ok()?;
    let whole = header.starts_with(MAGIC)
        && u32_at(8) == VERSION
        && u128_at(24) == key
        && u64_at(56) == xxh3_64(&header[..56])
        && len.checked_mul(width.bytes()) == Some(payload.len())
        && u128_at(40) == xxh3_128(payload);
    whole.then_some((width, len))
}

/// Writes tokens to a file whose header comes last.
pub(super) struct FileWriter<W: Write + Seek> {
    file: BufWriter<W>,
    width: Width,
    count: u64,
    hash: Box<Xxh3>,
    bytes: Vec<u8>,
}

impl<W: Write + Seek> FileWriter<W> {
    pub(super) fn new(file: W, width: Width) -> std::io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 18, file);
        file.write_all(&[0; HEADER_BYTES])?;
        Ok(Self {
            file,
            width,
            count: 0,
            hash: Box::new(Xxh3::new()),
            bytes: Vec::new(),
        })
    }

    pub(super) fn push(&mut self, tokens: &[u32]) -> std::io::Result<()> {
        self.bytes.clear();
        for &token in tokens {
            match self.width {
                Width::Four => self.bytes.extend_from_slice(&token.to_le_bytes()),
                Width::Two => {
                    let token = u16::try_from(token).map_err(|_| {
                        std::io::Error::other(format!("token {token} is not in the vocabulary"))
                    })?;
                    self.bytes.extend_from_slice(&token.to_le_bytes());
                }
            }
        }
        self.hash.update(&self.bytes);
        self.count += tokens.len() as u64;
        self.file.write_all(&self.bytes)
    }

    /// Writes the header and hands the file back.
    pub(super) fn finish(mut self, key: u128) -> std::io::Result<W> {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&(self.width.bytes() as u32).to_le_bytes());
        header[16..24].copy_from_slice(&self.count.to_le_bytes());
        header[24..40].copy_from_slice(&key.to_le_bytes());
        header[40..56].copy_from_slice(&self.hash.digest128().to_le_bytes());
        let check = xxh3_64(&header[..56]);
        header[56..].copy_from_slice(&check.to_le_bytes());
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header)?;
        self.file.into_inner().map_err(|error| error.into_error())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn written(tokens: &[u32], width: Width, key: u128) -> Vec<u8> {
        let mut writer = FileWriter::new(Cursor::new(Vec::new()), width).unwrap();
        for part in tokens.chunks(3) {
            writer.push(part).unwrap();
        }
        writer.finish(key).unwrap().into_inner()
    }

    fn read(bytes: &[u8], key: u128) -> Option<Vec<u32>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        let mapped = MappedTokens::open(&path, key)?;
        let mut tokens = Vec::new();
        mapped.copy_to(0..mapped.len(), &mut tokens);
        Some(tokens)
    }

    #[test]
    fn the_layout_is_fixed() {
        let bytes = written(&[1, 0x0203, 0xFFFF], Width::Two, 0x0A);
        assert_eq!(&bytes[..16], b"T81TOKEN\x01\0\0\0\x02\0\0\0");
        assert_eq!(&bytes[16..24], &3_u64.to_le_bytes());
        assert_eq!(&bytes[24..40], &0x0A_u128.to_le_bytes());
        assert_eq!(&bytes[64..], [1, 0, 3, 2, 0xFF, 0xFF]);
        let bytes = written(&[0x0102_0304], Width::Four, 0);
        assert_eq!(&bytes[64..], [4, 3, 2, 1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn tokens_are_read_back(tokens in prop::collection::vec(any::<u32>(), 0..20), key in any::<u128>()) {
            prop_assert_eq!(read(&written(&tokens, Width::Four, key), key), Some(tokens.clone()));
            let small: Vec<u32> = tokens.iter().map(|token| token & 0xFFFF).collect();
            prop_assert_eq!(read(&written(&small, Width::Two, key), key), Some(small));
        }
    }

    #[test]
    fn any_change_is_noticed() {
        let bytes = written(&[1, 2, 3, 4, 5], Width::Two, 7);
        assert!(read(&bytes, 7).is_some());
        assert!(read(&bytes, 8).is_none());
        for index in 0..bytes.len() {
            for bit in [1, 128] {
                let mut changed = bytes.clone();
                changed[index] ^= bit;
                assert!(read(&changed, 7).is_none(), "byte {index}");
            }
        }
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length], 7).is_none(), "{length} bytes");
        }
        assert!(read(&[&bytes[..], &[0, 0]].concat(), 7).is_none());
    }

    #[test]
    fn a_token_outside_of_the_vocabulary_is_refused() {
        assert_eq!(Width::for_tokens(65_535), Width::Two);
        assert_eq!(Width::for_tokens(65_536), Width::Four);
        let mut writer = FileWriter::new(Cursor::new(Vec::new()), Width::Two).unwrap();
        assert!(writer.push(&[65_536]).is_err());
    }
}
