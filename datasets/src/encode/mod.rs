//! Text to token ids.

mod cut;
mod encoder;

use std::path::Path;

use tokenizers::Tokenizer;

use crate::error::DataError;
use crate::text::read_text;

pub(crate) use encoder::{Encoder, without_limits};

/// The token ids of a text: those of `tokenizer.encode(text, false)`, with the truncation and padding that a
/// `tokenizer.json` may ask for switched off, because both change a text. No beginning-of-sequence token is added.
///
/// A byte-level tokenizer of a known kind (GPT-2, SmolLM, Llama 3, Qwen) encodes pieces in parallel, cut where no token
/// can reach across; any other encodes the text as a whole.
///
/// ```
/// let tokenizer = t81_datasets::story_tokenizer(512)?;
/// let tokens = t81_datasets::tokenize_text(&tokenizer, "Tom gave Mia the red ball.")?;
/// assert_eq!(tokenizer.decode(&tokens, false).unwrap(), "Tom gave Mia the red ball.");
/// # Ok::<(), t81_datasets::DataError>(())
/// ```
///
/// # Errors
///
/// [`DataError::Tokenizer`] when the tokenizer has no token for a part of the text.
pub fn tokenize_text(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, DataError> {
    let mut encoder = Encoder::whole_text(tokenizer)?;
    let mut tokens = Vec::new();
    let mut collect = |new: &[u32]| {
        tokens.extend_from_slice(new);
        Ok(())
    };
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.ceil_char_boundary(encoder.batch_bytes().min(rest.len()));
        encoder.text(&rest[..end], &mut collect)?;
        rest = &rest[end..];
    }
    encoder.finish(&mut collect)?;
    Ok(tokens)
}

/// The token ids of a UTF-8 file, as [`tokenize_text`] gives them.
///
/// # Errors
///
/// Those of [`read_text`] and [`tokenize_text`].
pub fn tokenize_file(tokenizer: &Tokenizer, path: impl AsRef<Path>) -> Result<Vec<u32>, DataError> {
    tokenize_text(tokenizer, &read_text(path.as_ref())?)
}

/// The token ids of documents one after another, each followed by `separator`, until there are `limit`.
pub(crate) fn encode_documents<D: AsRef<str>>(
    tokenizer: &Tokenizer,
    documents: impl Iterator<Item = D>,
    separator: &[u32],
    limit: usize,
) -> Result<Vec<u32>, DataError> {
    let mut encoder = Encoder::documents(tokenizer, separator, limit)?;
    let mut tokens = Vec::new();
    let mut collect = |new: &[u32]| {
        tokens.extend_from_slice(new);
        Ok(())
    };
    for document in documents {
        if encoder.is_full() {
            break;
        }
        encoder.text(document.as_ref(), &mut collect)?;
        encoder.end_document(&mut collect)?;
    }
    encoder.finish(&mut collect)?;
    Ok(tokens)
}
