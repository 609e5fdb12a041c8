//! Streams of tokens, in memory or in a mapped file.

mod cache;
mod file;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use cache::Fingerprint;
pub use cache::TokenCache;
use file::MappedTokens;
use xxhash_rust::xxh3::Xxh3;

/// Tokens decoded at once.
const CHUNK: usize = 4096;

/// A stream of token ids that is cheap to clone and to cut. Long ones lie in files of the [`TokenCache`] that are mapped
/// into memory, so they take none of it for themselves.
///
/// ```
/// use t81_datasets::Tokens;
///
/// let tokens = Tokens::from(vec![5, 6, 7, 8]);
/// assert_eq!(tokens.len(), 4);
/// assert_eq!(tokens.slice(1..3).to_vec(), [6, 7]);
/// assert_eq!(tokens.iter().sum::<u32>(), 26);
/// ```
#[derive(Clone, Default)]
pub struct Tokens {
    segments: Arc<[Segment]>,
    len: usize,
}

/// A part of a source.
#[derive(Clone)]
struct Segment {
    /// Tokens of the stream before it.
    start: usize,
    /// Tokens of the source that it holds.
    range: Range<usize>,
    source: Source,
}

#[derive(Clone)]
enum Source {
    Memory(Arc<[u32]>),
    Mapped(Arc<MappedTokens>),
}

impl Tokens {
    pub(crate) fn mapped(tokens: MappedTokens) -> Self {
        let len = tokens.len();
        Self::new([(0..len, Source::Mapped(Arc::new(tokens)))].into_iter())
    }

    /// Streams one after another.
    pub(crate) fn concat(parts: &[Self]) -> Self {
        let segments = parts.iter().flat_map(|part| part.segments.iter());
        Self::new(segments.map(|segment| (segment.range.clone(), segment.source.clone())))
    }

    fn new(parts: impl Iterator<Item = (Range<usize>, Source)>) -> Self {
        let mut len = 0;
        let segments = parts
            .filter(|(range, _)| !range.is_empty())
            .map(|(range, source)| {
                let start = len;
                len += range.len();
                Segment {
                    start,
                    range,
                    source,
                }
            })
            .collect();
        Self { segments, len }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The tokens at these positions, cut off at the end; nothing is copied.
    #[must_use]
    pub fn slice(&self, positions: Range<usize>) -> Self {
        let end = positions.end.min(self.len);
        let start = positions.start.min(end);
        Self::new(self.segments.iter().map(|segment| {
            let from = start.clamp(segment.start, segment.end()) - segment.start;
            let to = end.clamp(segment.start, segment.end()) - segment.start;
            let first = segment.range.start;
            (first + from..first + to, segment.source.clone())
        }))
    }

    /// All tokens, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len).step_by(CHUNK).flat_map(|start| {
            let mut chunk = Vec::with_capacity(CHUNK);
            self.copy_to(start..self.len.min(start + CHUNK), &mut chunk);
            chunk
        })
    }

    /// XXH3 of the token ids as little-endian `u32`, 128 bits: equal streams have equal fingerprints wherever they lie.
    pub fn fingerprint(&self) -> u128 {
        let mut hash = Xxh3::new();
        for token in self.iter() {
            hash.update(&token.to_le_bytes());
        }
        hash.digest128()
    }

    /// All tokens in memory.
    pub fn to_vec(&self) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(self.len);
        self.copy_to(0..self.len, &mut tokens);
        tokens
    }

    /// Appends the tokens at these positions to `tokens`.
    ///
    /// # Panics
    ///
    /// If the positions go beyond the end.
    pub(crate) fn copy_to(&self, positions: Range<usize>, tokens: &mut Vec<u32>) {
        assert!(positions.end <= self.len, "{positions:?} of {}", self.len);
        let first = self
            .segments
            .partition_point(|segment| segment.end() <= positions.start);
        for segment in &self.segments[first..] {
            if segment.start >= positions.end {
                break;
            }
            let from = positions.start.max(segment.start) - segment.start;
            let to = positions.end.min(segment.end()) - segment.start;
            let range = segment.range.start + from..segment.range.start + to;
            match &segment.source {
                Source::Memory(source) => tokens.extend_from_slice(&source[range]),
                Source::Mapped(source) => source.copy_to(range, tokens),
            }
        }
    }
}

impl Segment {
    fn end(&self) -> usize {
        self.start + self.range.len()
    }
}

impl From<Vec<u32>> for Tokens {
    fn from(tokens: Vec<u32>) -> Self {
        Self::new([(0..tokens.len(), Source::Memory(tokens.into()))].into_iter())
    }
}

impl FromIterator<u32> for Tokens {
    fn from_iter<I: IntoIterator<Item = u32>>(tokens: I) -> Self {
        Self::from(tokens.into_iter().collect::<Vec<u32>>())
    }
}

impl PartialEq for Tokens {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl Eq for Tokens {}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tokens({} of them", self.len)?;
        for token in self.iter().take(8) {
            write!(formatter, " {token}")?;
        }
        formatter.write_str(if self.len > 8 { " ...)" } else { ")" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_one_stream() {
        let parts: Vec<Tokens> = [0..3, 3..3, 3..10_000, 10_000..10_001]
            .into_iter()
            .map(|range| Tokens::from(range.collect::<Vec<u32>>()))
            .collect();
        let tokens = Tokens::concat(&parts);
        let all: Vec<u32> = (0..10_001).collect();
        assert_eq!(tokens.len(), all.len());
        assert_eq!(tokens.to_vec(), all);
        assert!(tokens.iter().eq(all.iter().copied()));
        assert_eq!(tokens, Tokens::from(all.clone()));
        for range in [0..0, 0..3, 2..5, 3..10_001, 9_999..20_000, 20_000..30_000] {
            let expected: Vec<u32> = all
                .iter()
                .copied()
                .skip(range.start)
                .take(range.len())
                .collect();
            let slice = tokens.slice(range.clone());
            assert_eq!(slice.to_vec(), expected, "{range:?}");
            assert_eq!(slice.len(), expected.len());
        }
        assert_eq!(tokens.slice(5..100).slice(2..4).to_vec(), [7, 8]);
        assert_ne!(tokens.slice(1..3), tokens.slice(2..4));
        assert_eq!(tokens.fingerprint(), Tokens::from(all).fingerprint());
        assert_ne!(
            tokens.slice(1..3).fingerprint(),
            tokens.slice(2..4).fingerprint()
        );
        assert!(Tokens::default().is_empty());
    }
}
