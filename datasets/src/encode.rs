//! Text to token ids.

use std::path::Path;

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, Tokenizer};

use crate::error::DataError;
use crate::text::read_text;

/// Bytes of a piece that one thread encodes, and pieces encoded before their ids are collected: an encoding takes a
/// hundred times the memory of its ids, so a long text is never encoded as one.
const PIECE_BYTES: usize = 32 << 10;
const PIECES_AT_ONCE: usize = 64;

/// Splitting expressions of GPT-2, Llama 3 and Qwen 2, none of which joins a letter or digit with a space or line end
/// after it, or looks back.
const KNOWN_EXPRESSIONS: &[&str] = &[
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

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
    tokenize_at_most(tokenizer, text, usize::MAX)
}

/// The token ids of a UTF-8 file, as [`tokenize_text`] gives them.
///
/// # Errors
///
/// Those of [`read_text`] and [`tokenize_text`].
pub fn tokenize_file(tokenizer: &Tokenizer, path: impl AsRef<Path>) -> Result<Vec<u32>, DataError> {
    tokenize_text(tokenizer, &read_text(path.as_ref())?)
}

/// The first `limit` token ids of a text.
pub(crate) fn tokenize_at_most(
    tokenizer: &Tokenizer,
    text: &str,
    limit: usize,
) -> Result<Vec<u32>, DataError> {
    let piece_bytes = if may_be_cut(tokenizer) {
        PIECE_BYTES
    } else {
        usize::MAX
    };
    encode_documents(tokenizer, pieces(text, piece_bytes), &[], limit)
}

/// The token ids of documents one after another, each followed by `separator`, until there are `limit`.
pub(crate) fn encode_documents<D: AsRef<str>>(
    tokenizer: &Tokenizer,
    documents: impl Iterator<Item = D>,
    separator: &[u32],
    limit: usize,
) -> Result<Vec<u32>, DataError> {
    let complete = without_limits(tokenizer)?;
    let tokenizer = complete.as_ref().unwrap_or(tokenizer);
    let mut documents = documents.peekable();
    let mut tokens = Vec::new();
    while tokens.len() < limit && documents.peek().is_some() {
        let batch: Vec<D> = documents.by_ref().take(PIECES_AT_ONCE).collect();
        let texts = batch.iter().map(AsRef::as_ref).collect::<Vec<&str>>();
        let encodings = tokenizer
            .encode_batch_fast(texts, false)
            .map_err(DataError::tokenizer)?;
        for encoding in encodings {
            tokens.extend_from_slice(encoding.get_ids());
            tokens.extend_from_slice(separator);
        }
    }
    tokens.truncate(limit);
    Ok(tokens)
}

/// The tokenizer with truncation and padding switched off, where it has any.
fn without_limits(tokenizer: &Tokenizer) -> Result<Option<Tokenizer>, DataError> {
    if tokenizer.get_truncation().is_none() && tokenizer.get_padding().is_none() {
        return Ok(None);
    }
    let mut complete = tokenizer.clone();
    complete.with_padding(None);
    complete
        .with_truncation(None)
        .map_err(DataError::tokenizer)?;
    Ok(Some(complete))
}

/// Whether a text may be cut between an ASCII letter or digit and a space or line end after it without changing a token.
fn may_be_cut(tokenizer: &Tokenizer) -> bool {
    let normalizer = match tokenizer.get_normalizer() {
        None | Some(NormalizerWrapper::NFC(_)) => true,
        Some(NormalizerWrapper::Sequence(steps)) => steps
            .as_ref()
            .iter()
            .all(|step| matches!(step, NormalizerWrapper::NFC(_))),
        Some(_) => false,
    };
    let pre_tokenizer = match tokenizer.get_pre_tokenizer() {
        Some(PreTokenizerWrapper::Sequence(steps)) => {
            steps.as_ref().iter().all(is_known_step) && steps.as_ref().iter().any(splits_words)
        }
        Some(single) => is_known_step(single) && splits_words(single),
        None => false,
    };
    let added = tokenizer.get_added_tokens_decoder();
    let added_stay_inside = added
        .values()
        .all(|token| !token.rstrip && !token.content.contains(char::is_whitespace));
    normalizer && pre_tokenizer && added_stay_inside
}

fn is_known_step(step: &PreTokenizerWrapper) -> bool {
    match step {
        PreTokenizerWrapper::ByteLevel(bytes) => !bytes.add_prefix_space,
        PreTokenizerWrapper::Digits(_) => true,
        PreTokenizerWrapper::Split(split) => is_known_split(split),
        _ => false,
    }
}

fn splits_words(step: &PreTokenizerWrapper) -> bool {
    match step {
        PreTokenizerWrapper::ByteLevel(bytes) => bytes.use_regex,
        PreTokenizerWrapper::Split(_) => true,
        _ => false,
    }
}

fn is_known_split(split: &Split) -> bool {
    matches!(&split.pattern, SplitPattern::Regex(expression) if KNOWN_EXPRESSIONS.contains(&expression.as_str()))
}

/// Cuts a text into pieces of at least `least` bytes (the last may be shorter).
fn pieces(text: &str, least: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let bytes = rest.as_bytes();
        let cut = (least.max(1)..bytes.len())
            .find(|&end| {
                matches!(bytes[end], b' ' | b'\n') && bytes[end - 1].is_ascii_alphanumeric()
            })
            .unwrap_or(bytes.len());
        let (piece, remainder) = rest.split_at(cut);
        rest = remainder;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokenizers::models::bpe::BPE;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::pre_tokenizers::digits::Digits;
    use tokenizers::pre_tokenizers::metaspace::Metaspace;
    use tokenizers::pre_tokenizers::sequence::Sequence;
    use tokenizers::{AddedToken, PaddingParams, SplitDelimiterBehavior, TruncationParams};

    use super::*;
    use crate::tokenizer::story_tokenizer;

    fn split_on(expression: &str) -> PreTokenizerWrapper {
        let pattern = SplitPattern::Regex(expression.to_owned());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).unwrap();
        Sequence::new(vec![
            split.into(),
            ByteLevel::new(false, true, false).into(),
        ])
        .into()
    }

    /// Tokenizers with the story vocabulary and the pre-tokenizers of GPT-2, SmolLM, Llama 3 and Qwen 2.
    fn cuttable() -> Vec<Tokenizer> {
        let story = story_tokenizer(600).unwrap();
        let smollm = Sequence::new(vec![
            Digits::new(true).into(),
            ByteLevel::new(false, true, true).into(),
        ]);
        let mut tokenizers = vec![story.clone()];
        for pre_tokenizer in [
            smollm.into(),
            split_on(KNOWN_EXPRESSIONS[1]),
            split_on(KNOWN_EXPRESSIONS[2]),
        ] {
            let mut tokenizer = story.clone();
            tokenizer.with_pre_tokenizer(Some::<PreTokenizerWrapper>(pre_tokenizer));
            tokenizers.push(tokenizer);
        }
        tokenizers
    }

    fn whole(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        tokenizer.encode(text, false).unwrap().get_ids().to_vec()
    }

    fn in_pieces(tokenizer: &Tokenizer, text: &str, least: usize) -> Vec<u32> {
        encode_documents(tokenizer, pieces(text, least), &[], usize::MAX).unwrap()
    }

    #[test]
    fn pieces_encode_as_the_whole() {
        let text = " \n = Valkyria Chronicles III = \n \n It's 1,024.5 @-@ m wide ,   isn't it ?\r\n\r\nYes!!\n\n\n\
            caf\u{e9} na\u{ef}ve \u{4f60}\u{597d} \u{1F600}x y\u{301} z <|endoftext|>a b<|endoftext|> c\t d\u{a0}e  f\n";
        for tokenizer in cuttable() {
            assert!(may_be_cut(&tokenizer));
            for least in 1..40 {
                assert_eq!(
                    in_pieces(&tokenizer, text, least),
                    whole(&tokenizer, text),
                    "pieces of {least}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_text_encodes_as_the_whole_and_decodes_to_itself(
            text in "([a-z0-9 \n\r\t'.,!@]|\\PC|<\\|endoftext\\|>){0,80}",
            least in 1..24_usize,
        ) {
            thread_local!(static TOKENIZERS: Vec<Tokenizer> = cuttable());
            TOKENIZERS.with(|tokenizers| {
                for tokenizer in tokenizers {
                    let tokens = whole(tokenizer, &text);
                    assert_eq!(in_pieces(tokenizer, &text, least), tokens);
                    assert_eq!(tokenizer.decode(&tokens, false).unwrap(), text);
                }
            });
        }
    }

    #[test]
    fn unknown_kinds_are_never_cut() {
        let story = story_tokenizer(300).unwrap();
        let with = |pre_tokenizer: PreTokenizerWrapper| {
            let mut tokenizer = story.clone();
            tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
            tokenizer
        };
        assert!(!may_be_cut(&with(ByteLevel::new(true, true, true).into())));
        assert!(!may_be_cut(&with(
            ByteLevel::new(false, true, false).into()
        )));
        assert!(!may_be_cut(&with(Metaspace::default().into())));
        assert!(!may_be_cut(&with(split_on("a b"))));
        assert!(!may_be_cut(&Tokenizer::new(BPE::default())));
        for (content, rstrip) in [("two words", false), ("<mask>", true)] {
            let mut tokenizer = story.clone();
            tokenizer
                .add_tokens([AddedToken::from(content, false).rstrip(rstrip)])
                .unwrap();
            assert!(!may_be_cut(&tokenizer), "{content}");
        }
    }

    #[test]
    fn pieces_join_to_the_text() {
        let text = "a b c  d\ne. f \u{e9} g";
        for least in 1..30 {
            assert_eq!(pieces(text, least).collect::<String>(), text);
        }
        assert_eq!(
            pieces("ab cd. ef gh", 1).collect::<Vec<_>>(),
            ["ab", " cd. ef", " gh"]
        );
        assert_eq!(pieces("", 1).count(), 0);
    }

    #[test]
    fn truncation_and_padding_of_the_file_are_ignored() {
        let text = "Mia put the ball in the box. ".repeat(50);
        let plain = story_tokenizer(300).unwrap();
        let expected = whole(&plain, &text);
        let mut limited = plain.clone();
        limited.with_padding(Some(PaddingParams::default()));
        limited
            .with_truncation(Some(TruncationParams {
                max_length: 8,
                ..TruncationParams::default()
            }))
            .unwrap();
        assert_eq!(tokenize_text(&limited, &text).unwrap(), expected);
        assert_eq!(
            tokenize_at_most(&limited, &text, 20).unwrap(),
            expected[..20]
        );
        assert_eq!(tokenize_text(&plain, "").unwrap(), Vec::<u32>::new());
    }
}
