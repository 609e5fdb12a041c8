//! Text from tokens as they come, in whole characters.

use tokenizers::Tokenizer;

use crate::error::QatError;

/// What an incomplete or invalid sequence of bytes decodes to.
const REPLACEMENT: char = '\u{FFFD}';

/// Decodes tokens one after the other.
///
/// A token's text depends on its neighbours (spaces, characters of several tokens), so each piece is the difference between two
/// texts: of some tokens that were given out already with the new ones, and without.
pub(crate) struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    tokens: Vec<u32>,
    /// First token of the context.
    context: usize,
    /// First token that was not given out.
    pending: usize,
}

impl<'a> TextStream<'a> {
    /// Continues a text of the tokens `prompt`, which is not given out.
    pub(crate) fn new(tokenizer: &'a Tokenizer, prompt: &[u32]) -> Self {
        // As many tokens as can matter to the first new one.
        let tokens = prompt[prompt.len().saturating_sub(8)..].to_vec();
        Self {
            tokenizer,
            context: 0,
            pending: tokens.len(),
            tokens,
        }
    }

    /// Adds a token; the text that is now complete.
    pub(crate) fn push(&mut self, token: u32) -> Result<String, QatError> {
        self.tokens.push(token);
        let text = self.difference()?;
        if text.is_empty() || text.ends_with(REPLACEMENT) {
            return Ok(String::new());
        }
        self.context = self.pending;
        self.pending = self.tokens.len();
        Ok(text)
    }

    /// The text of what is left, with a replacement for a character that was never completed.
    pub(crate) fn finish(self) -> Result<String, QatError> {
        self.difference()
    }

    fn difference(&self) -> Result<String, QatError> {
        let before = self.decode(&self.tokens[self.context..self.pending])?;
        let after = self.decode(&self.tokens[self.context..])?;
        Ok(match after.strip_prefix(&before) {
            Some(text) => text.to_string(),
            // The context ends within a character: what it lacks changes its end.
            None => self.decode(&self.tokens[self.pending..])?,
        })
    }

    fn decode(&self, tokens: &[u32]) -> Result<String, QatError> {
        self.tokenizer
            .decode(tokens, true)
            .map_err(|error| QatError::Tokenizer {
                action: "decode",
                message: error.to_string(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use t81_datasets::story_tokenizer;

    #[test]
    fn characters_come_whole_and_together_they_are_the_text() {
        let tokenizer = story_tokenizer(512).unwrap();
        let text = "Tom has 3 € and a 🦀, naïve 日本語.";
        let tokens = tokenizer.encode(text, false).unwrap();
        assert!(tokens.get_ids().len() > text.chars().count() / 2);
        for split in 0..3 {
            let (prompt, rest) = tokens.get_ids().split_at(split);
            let mut stream = TextStream::new(&tokenizer, prompt);
            let pieces: Vec<String> = rest
                .iter()
                .map(|&token| stream.push(token).unwrap())
                .collect();
            assert!(pieces.iter().all(|piece| !piece.contains(REPLACEMENT)));
            assert!(pieces.iter().any(String::is_empty));
            let prompt = tokenizer.decode(prompt, true).unwrap();
            assert_eq!(prompt + &pieces.concat(), text);
            assert_eq!(stream.finish().unwrap(), "");
        }
    }

    #[test]
    fn an_unfinished_character_is_replaced_at_the_end() {
        let tokenizer = story_tokenizer(512).unwrap();
        let crab = tokenizer.encode("🦀", false).unwrap();
        let mut stream = TextStream::new(&tokenizer, &[]);
        for &token in &crab.get_ids()[..2] {
            assert_eq!(stream.push(token).unwrap(), "");
        }
        assert!(stream.finish().unwrap().contains(REPLACEMENT));
    }
}
