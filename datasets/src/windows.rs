//! Fixed evaluation windows, as `llama-perplexity` cuts them.

use std::ops::Range;

use crate::error::DataError;

/// The non-overlapping windows of `length` tokens on which `llama-perplexity -c length` evaluates a text: the last
/// partial window is dropped.
///
/// When the model wants a beginning-of-sequence token, `llama-perplexity` puts one at the head of the token stream
/// and overwrites the first token of every window with it.
///
/// It reads `<|endoftext|>` and its like as plain text and leaves out one line end at the end of the file; on a text
/// without special tokens its windows are those of [`tokenize_text`](crate::tokenize_text), token for token.
///
/// ```
/// use t81_datasets::evaluation_windows;
///
/// let windows: Vec<&[u32]> = evaluation_windows(&[1, 2, 3, 4, 5], 2)?.collect();
/// assert_eq!(windows, [[1, 2], [3, 4]]);
/// # Ok::<(), t81_datasets::DataError>(())
/// ```
///
/// # Errors
///
/// [`DataError::ZeroBlockSize`], and [`DataError::TooFewTokens`] when not one window fits.
pub fn evaluation_windows(
    tokens: &[u32],
    length: usize,
) -> Result<std::slice::ChunksExact<'_, u32>, DataError> {
    if length == 0 {
        return Err(DataError::ZeroBlockSize);
    }
    if tokens.len() < length {
        return Err(DataError::TooFewTokens {
            found: tokens.len(),
            needed: length,
        });
    }
    Ok(tokens.chunks_exact(length))
}

/// The positions of a window whose tokens `llama-perplexity` scores: each is predicted from at least `length / 2`
/// tokens, so the score does not depend on where the window begins. There are `length - 1 - length / 2` of them.
///
/// ```
/// assert_eq!(t81_datasets::scored_positions(512), 257..512);
/// ```
pub fn scored_positions(length: usize) -> Range<usize> {
    (length / 2 + 1).min(length)..length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_only_the_partial_window() {
        for total in 1..30_u32 {
            let tokens: Vec<u32> = (0..total).collect();
            for length in 1..=total as usize {
                let windows: Vec<&[u32]> = evaluation_windows(&tokens, length).unwrap().collect();
                assert_eq!(windows.len(), total as usize / length);
                assert!(
                    windows
                        .concat()
                        .iter()
                        .copied()
                        .eq(0..(windows.len() * length) as u32)
                );
            }
        }
    }

    #[test]
    fn refuses_what_gives_no_window() {
        assert!(matches!(
            evaluation_windows(&[1], 0),
            Err(DataError::ZeroBlockSize)
        ));
        assert!(matches!(
            evaluation_windows(&[1], 2),
            Err(DataError::TooFewTokens {
                found: 1,
                needed: 2
            })
        ));
    }

    #[test]
    fn scores_the_second_half() {
        assert_eq!(scored_positions(512).len(), 512 - 1 - 256);
        assert_eq!(scored_positions(5), 3..5);
        assert!(scored_positions(0).is_empty());
        assert!(scored_positions(1).is_empty());
    }
}
