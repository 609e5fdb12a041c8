//! Where a text may be cut before it is encoded.

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, Tokenizer};

/// Splitting expressions of GPT-2, Llama 3 and Qwen 2. None of them joins anything but white space with a space after it,
/// or a letter or digit with a line end after it, and none looks back.
const KNOWN_EXPRESSIONS: &[&str] = &[
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// How texts for a tokenizer are cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Where no token can reach across: the pieces have the tokens of the whole.
    BetweenTokens,
    /// After a line end; a token that would reach across is lost.
    AtLines,
}

impl Cut {
    /// How texts for `tokenizer` may be cut.
    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        if may_be_cut(tokenizer) {
            Self::BetweenTokens
        } else {
            Self::AtLines
        }
    }

    /// The first place at or after `from` where the text may be cut, with text on both sides.
    pub(super) fn find(self, text: &str, from: usize) -> Option<usize> {
        let bytes = text.as_bytes();
        (from.max(1)..bytes.len()).find(|&end| match self {
            Self::BetweenTokens => is_between_tokens(text, end),
            Self::AtLines => bytes[end - 1] == b'\n',
        })
    }
}

/// Whether a known tokenizer ends a token at `end` whatever surrounds it: before a space that follows anything but white
/// space, before a line end that follows a letter or digit, and after a line end that stands alone.
fn is_between_tokens(text: &str, end: usize) -> bool {
    let bytes = text.as_bytes();
    if bytes[end - 1] == b'\n' {
        return end >= 2 && is_solid_before(text, end - 1) && is_solid_at(text, end);
    }
    match bytes[end] {
        b' ' => is_solid_before(text, end),
        b'\n' => bytes[end - 1].is_ascii_alphanumeric(),
        _ => false,
    }
}

fn is_solid_before(text: &str, end: usize) -> bool {
    text[..end].chars().next_back().is_some_and(is_solid)
}

fn is_solid_at(text: &str, start: usize) -> bool {
    text[start..].chars().next().is_some_and(is_solid)
}

/// Neither white space nor what some expression engine may take for it.
fn is_solid(character: char) -> bool {
    !character.is_whitespace() && !character.is_control()
}

/// Whether the tokens of a text are those of its pieces, cut at the places of [`is_between_tokens`].
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
    use crate::encode::{Encoder, encode_documents, tokenize_text};
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

    /// Encodes a text handed over in parts of `part` characters and cut into pieces of at least `least` bytes.
    fn in_pieces(tokenizer: &Tokenizer, text: &str, part: usize, least: usize) -> Vec<u32> {
        let mut encoder = Encoder::documents(tokenizer, &[], usize::MAX)
            .unwrap()
            .with_pieces_of(least);
        let mut tokens = Vec::new();
        let mut collect = |new: &[u32]| {
            tokens.extend_from_slice(new);
            Ok(())
        };
        let characters: Vec<char> = text.chars().collect();
        for part in characters.chunks(part) {
            let part: String = part.iter().collect();
            encoder.text(&part, &mut collect).unwrap();
        }
        encoder.finish(&mut collect).unwrap();
        tokens
    }

    fn pieces(text: &str, least: usize) -> Vec<&str> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(end) = Cut::BetweenTokens.find(rest, least) {
            pieces.push(&rest[..end]);
            rest = &rest[end..];
        }
        pieces.push(rest);
        pieces
    }

    #[test]
    fn pieces_encode_as_the_whole() {
        let text = " \n = Valkyria Chronicles III = \n \n It's 1,024.5 @-@ m wide ,   isn't it ?\r\n\r\nYes!!\n\n\n\
            caf\u{e9} na\u{ef}ve \u{4f60}\u{597d} \u{1F600}x y\u{301} z <|endoftext|>a b<|endoftext|> c\t d\u{a0}e  f\n\
            \u{4f60}\u{597d}\u{3002}\n\u{4f60}\nb\u{301} \u{301}\n\u{301}c \n d\u{2028} e\u{1c} f '\ns\n";
        for tokenizer in cuttable() {
            assert_eq!(Cut::of(&tokenizer), Cut::BetweenTokens);
            for least in 1..40 {
                for part in [1, 3, 1000] {
                    assert_eq!(
                        in_pieces(&tokenizer, text, part, least),
                        whole(&tokenizer, text),
                        "pieces of {least} from parts of {part}"
                    );
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_text_encodes_as_the_whole_and_decodes_to_itself(
            text in "([a-z0-9 \n\r\t'.,!@]|\\PC|<\\|endoftext\\|>){0,80}",
            part in 1..90_usize,
            least in 1..24_usize,
        ) {
            thread_local!(static TOKENIZERS: Vec<Tokenizer> = cuttable());
            TOKENIZERS.with(|tokenizers| {
                for tokenizer in tokenizers {
                    let tokens = whole(tokenizer, &text);
                    assert_eq!(in_pieces(tokenizer, &text, part, least), tokens);
                    assert_eq!(tokenizer.decode(&tokens, false).unwrap(), text);
                }
            });
        }
    }

    #[test]
    fn unknown_kinds_are_never_cut_between_tokens() {
        let story = story_tokenizer(300).unwrap();
        let with = |pre_tokenizer: PreTokenizerWrapper| {
            let mut tokenizer = story.clone();
            tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
            tokenizer
        };
        for pre_tokenizer in [
            ByteLevel::new(true, true, true).into(),
            ByteLevel::new(false, true, false).into(),
            Metaspace::default().into(),
            split_on("a b"),
        ] {
            assert_eq!(Cut::of(&with(pre_tokenizer)), Cut::AtLines);
        }
        assert_eq!(Cut::of(&Tokenizer::new(BPE::default())), Cut::AtLines);
        for (content, rstrip) in [("two words", false), ("<mask>", true)] {
            let mut tokenizer = story.clone();
            tokenizer
                .add_tokens([AddedToken::from(content, false).rstrip(rstrip)])
                .unwrap();
            assert_eq!(Cut::of(&tokenizer), Cut::AtLines, "{content}");
        }
    }

    #[test]
    fn an_unknown_kind_is_cut_after_lines_only_when_it_streams() {
        let mut tokenizer = story_tokenizer(600).unwrap();
        tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, false)));
        let text = "Mia put the ball in the box.\nTom saw it. ".repeat(30);
        assert_eq!(
            tokenize_text(&tokenizer, &text).unwrap(),
            whole(&tokenizer, &text)
        );
        let expected: Vec<u32> = text
            .split_inclusive('\n')
            .flat_map(|line| whole(&tokenizer, line))
            .collect();
        assert_eq!(in_pieces(&tokenizer, &text, 7, 1), expected);
    }

    #[test]
    fn pieces_join_to_the_text() {
        let text = "a b c  d\ne. f \u{e9} g";
        for least in 1..30 {
            assert_eq!(pieces(text, least).concat(), text);
        }
        assert_eq!(pieces("ab cd. ef  gh", 1), ["ab", " cd.", " ef", "  gh"]);
        assert_eq!(
            pieces("\u{e9}.\n\u{e9}\n\n\u{e9}", 1),
            ["\u{e9}.\n", "\u{e9}\n\n\u{e9}"]
        );
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
            encode_documents(&limited, [&text].into_iter(), &[7], 20).unwrap(),
            expected[..20]
        );
        assert_eq!(tokenize_text(&plain, "").unwrap(), Vec::<u32>::new());
    }

    #[test]
    fn separators_follow_documents_however_long() {
        let tokenizer = story_tokenizer(300).unwrap();
        let long = "Mia put the ball in the box. ".repeat(2000);
        let documents = ["", "Tom ran.", &long, "The end"];
        let mut expected = Vec::new();
        for document in documents {
            expected.extend(whole(&tokenizer, document));
            expected.push(0);
        }
        let encode = |limit| encode_documents(&tokenizer, documents.iter(), &[0], limit).unwrap();
        assert_eq!(encode(usize::MAX), expected);
        for limit in [0, 1, 2, 3, expected.len() - 1] {
            assert_eq!(encode(limit), expected[..limit]);
        }
    }
}
