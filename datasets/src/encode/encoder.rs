//! Encoding of a text that arrives in parts, in batches, on all cores.

use std::borrow::Cow;
use std::mem;

use tokenizers::Tokenizer;

use super::cut::Cut;
use crate::error::DataError;

/// Bytes of a piece that one thread encodes, and bytes and pieces encoded before their ids are collected: an encoding
/// takes a hundred times the memory of its ids, so a long text is never encoded as one.
const PIECE_BYTES: usize = 16 << 10;
const BATCH_BYTES: usize = 1 << 20;
const BATCH_PIECES: usize = 4096;

/// Bytes of a piece for a tokenizer of an unknown kind, whose tokens may reach anywhere.
const LONG_PIECE_BYTES: usize = 1 << 20;

/// A text without any place to cut it is cut after so many bytes all the same: memory must stay bounded.
const LONGEST_PIECE_BYTES: usize = 8 << 20;

/// Bytes a token stands for at most, for all that the encoder has to guess.
const GENEROUS_TOKEN_BYTES: usize = 16;

/// Takes tokens.
pub(crate) type TokenSink<'a> = &'a mut dyn FnMut(&[u32]) -> Result<(), DataError>;

/// Encodes documents that arrive in parts and hands on at most a given number of tokens.
pub(crate) struct Encoder<'t> {
    tokenizer: Cow<'t, Tokenizer>,
    cut: Cut,
    least: usize,
    longest: usize,
    separator: Vec<u32>,
    /// Text of the document that is not in a piece yet, and how much of it was searched for a cut.
    pending: String,
    searched: usize,
    pieces: Vec<Piece>,
    piece_bytes: usize,
    /// Tokens still wanted.
    wanted: usize,
}

struct Piece {
    text: String,
    ends_document: bool,
}

impl<'t> Encoder<'t> {
    /// An encoder of documents, each followed by `separator`, that stops at `limit` tokens.
    pub(crate) fn documents(
        tokenizer: &'t Tokenizer,
        separator: &[u32],
        limit: usize,
    ) -> Result<Self, DataError> {
        let cut = Cut::of(tokenizer);
        Ok(Self {
            tokenizer: without_limits(tokenizer)?,
            least: match cut {
                Cut::BetweenTokens => PIECE_BYTES,
                Cut::AtLines => LONG_PIECE_BYTES,
            },
            longest: LONGEST_PIECE_BYTES,
            cut,
            separator: separator.to_vec(),
            pending: String::new(),
            searched: 0,
            pieces: Vec::new(),
            piece_bytes: 0,
            wanted: limit,
        })
    }

    /// An encoder that never cuts where a token might be lost, whatever memory that takes.
    pub(super) fn whole_text(tokenizer: &'t Tokenizer) -> Result<Self, DataError> {
        let mut encoder = Self::documents(tokenizer, &[], usize::MAX)?;
        encoder.longest = usize::MAX;
        if encoder.cut == Cut::AtLines {
            encoder.least = usize::MAX;
        }
        Ok(encoder)
    }

    #[cfg(test)]
    pub(super) fn with_pieces_of(mut self, least: usize) -> Self {
        self.least = least;
        self
    }

    /// A good size for the parts in which a long text is handed over.
    pub(super) fn batch_bytes(&self) -> usize {
        BATCH_BYTES
    }

    /// Whether all tokens that are wanted were handed on.
    pub(crate) fn is_full(&self) -> bool {
        self.wanted == 0
    }

    /// Takes the next part of the document.
    pub(crate) fn text(&mut self, text: &str, sink: TokenSink<'_>) -> Result<(), DataError> {
        self.pending.push_str(text);
        let mut start = 0;
        loop {
            let rest = &self.pending[start..];
            let from = self.searched.max(self.least);
            let end = match self.cut.find(rest, from) {
                Some(end) => end,
                None if rest.len() >= self.longest => rest.floor_char_boundary(self.longest),
                None => {
                    // The last characters are searched again: what follows them decides.
                    self.searched = rest.len().saturating_sub(8);
                    break;
                }
            };
            let piece = rest[..end].to_owned();
            start += end;
            self.searched = 0;
            self.take(piece, false);
        }
        self.pending.drain(..start);
        self.encode_if_enough(sink)
    }

    /// Ends the document.
    pub(crate) fn end_document(&mut self, sink: TokenSink<'_>) -> Result<(), DataError> {
        let rest = mem::take(&mut self.pending);
        self.searched = 0;
        self.take(rest, true);
        self.encode_if_enough(sink)
    }

    /// Encodes what is left of a document that was not ended, without a separator.
    pub(crate) fn finish(&mut self, sink: TokenSink<'_>) -> Result<(), DataError> {
        let rest = mem::take(&mut self.pending);
        self.searched = 0;
        self.take(rest, false);
        self.encode(sink)
    }

    fn take(&mut self, text: String, ends_document: bool) {
        self.piece_bytes += text.len();
        self.pieces.push(Piece {
            text,
            ends_document,
        });
    }

    fn encode_if_enough(&mut self, sink: TokenSink<'_>) -> Result<(), DataError> {
        let enough = self.wanted.saturating_mul(GENEROUS_TOKEN_BYTES);
        if self.piece_bytes >= BATCH_BYTES.min(enough) || self.pieces.len() >= BATCH_PIECES {
            self.encode(sink)?;
        }
        Ok(())
    }

    fn encode(&mut self, sink: TokenSink<'_>) -> Result<(), DataError> {
        let pieces = mem::take(&mut self.pieces);
        self.piece_bytes = 0;
        if self.wanted == 0 {
            return Ok(());
        }
        let texts = pieces.iter().map(|piece| piece.text.as_str()).collect();
        let encodings = self
            .tokenizer
            .encode_batch_fast::<&str>(texts, false)
            .map_err(DataError::tokenizer)?;
        for (piece, encoding) in pieces.iter().zip(encodings) {
            self.hand_on(encoding.get_ids(), sink)?;
            if piece.ends_document && !self.separator.is_empty() {
                let separator = mem::take(&mut self.separator);
                self.hand_on(&separator, sink)?;
                self.separator = separator;
            }
        }
        Ok(())
    }

    fn hand_on(&mut self, tokens: &[u32], sink: TokenSink<'_>) -> Result<(), DataError> {
        let tokens = &tokens[..tokens.len().min(self.wanted)];
        self.wanted -= tokens.len();
        if tokens.is_empty() {
            return Ok(());
        }
        sink(tokens)
    }
}

/// The tokenizer with truncation and padding switched off.
pub(crate) fn without_limits(tokenizer: &Tokenizer) -> Result<Cow<'_, Tokenizer>, DataError> {
    if tokenizer.get_truncation().is_none() && tokenizer.get_padding().is_none() {
        return Ok(Cow::Borrowed(tokenizer));
    }
    let mut complete = tokenizer.clone();
    complete.with_padding(None);
    complete
        .with_truncation(None)
        .map_err(DataError::tokenizer)?;
    Ok(Cow::Owned(complete))
}
