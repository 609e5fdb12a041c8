//! Scores for SentencePiece-style vocabularies, which a tokenizer.json holds as ranked merges.
//!
//! llama.cpp merges the adjacent pair whose union has the highest score. A tokenizer.json lists merges by rank, and ranks
//! were made from the scores of the original model: the first merge that forms a token has the rank of its score.
//! So `score = -(number of tokens formed before)` restores the order, which is all that scores are for.

use std::collections::HashMap;

use super::TokenizerError;

/// The score of a token that no merge forms; far below those of merged tokens.
const UNFORMED: f32 = -1e6;

/// The value of a byte token such as `<0x0A>`.
pub(crate) fn byte_value(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let canonical = digits.len() == 2
        && digits
            .bytes()
            .all(|digit| digit.is_ascii_digit() || (b'A'..=b'F').contains(&digit));
    canonical
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

/// Scores of `texts`, by position, from ranked merges.
pub(crate) fn scores(texts: &[String], merges: &[(String, String)]) -> Vec<f32> {
    let mut formed: HashMap<String, usize> = HashMap::with_capacity(merges.len());
    for (left, right) in merges {
        let next = formed.len();
        formed.entry(format!("{left}{right}")).or_insert(next);
    }
    texts
        .iter()
        .map(|text| match formed.get(text) {
            Some(&position) => -(position as f32),
            None if byte_value(text).is_some() => 0.0,
            None => UNFORMED,
        })
        .collect()
}

/// Refuses a vocabulary without a token for every byte: llama.cpp falls back on them for text outside the vocabulary.
pub(crate) fn check_bytes(texts: &[String]) -> Result<(), TokenizerError> {
    let mut present = [false; 256];
    for value in texts.iter().filter_map(|text| byte_value(text)) {
        present[usize::from(value)] = true;
    }
    match present.iter().position(|&present| !present) {
        Some(value) => Err(TokenizerError::MissingByte { value: value as u8 }),
        None => Ok(()),
    }
}

/// How many merges SentencePiece would make that `merges` lacks: splits of a token into two others. In a
/// tokenizer.json that was converted from a SentencePiece model there are none.
pub(crate) fn missing_merges(texts: &[String], merges: &[(String, String)]) -> usize {
    let vocabulary: std::collections::HashSet<&str> = texts.iter().map(String::as_str).collect();
    let known: std::collections::HashSet<(&str, &str)> = merges
        .iter()
        .map(|(left, right)| (left.as_str(), right.as_str()))
        .collect();
    texts
        .iter()
        .filter(|text| byte_value(text).is_none())
        .flat_map(|text| {
            text.char_indices()
                .skip(1)
                .map(move |(at, _)| text.split_at(at))
        })
        .filter(|(left, right)| {
            vocabulary.contains(left)
                && vocabulary.contains(right)
                && !known.contains(&(*left, *right))
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn pairs(merges: &[(&str, &str)]) -> Vec<(String, String)> {
        merges
            .iter()
            .map(|&(left, right)| (left.to_owned(), right.to_owned()))
            .collect()
    }

    #[test]
    fn scores_fall_with_the_first_merge_that_forms_a_token() {
        let merges = pairs(&[("a", "b"), ("▁", "ab"), ("▁a", "b"), ("▁", "a")]);
        let texts = owned(&["<unk>", "<0x0A>", "▁", "a", "b", "▁a", "▁ab", "ab"]);
        assert_eq!(
            scores(&texts, &merges),
            [
                UNFORMED, 0.0, UNFORMED, UNFORMED, UNFORMED, -2.0, -1.0, -0.0
            ]
        );
    }

    #[test]
    fn merges_that_the_vocabulary_implies_are_counted_when_absent() {
        let texts = owned(&["a", "b", "c", "ab", "abc", "bc"]);
        assert_eq!(
            missing_merges(
                &texts,
                &pairs(&[("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc")])
            ),
            0
        );
        assert_eq!(
            missing_merges(&texts, &pairs(&[("a", "b"), ("b", "c"), ("ab", "c")])),
            1
        );
    }

    #[test]
    fn byte_tokens_are_told_from_text_that_resembles_them() {
        assert_eq!(byte_value("<0x0A>"), Some(10));
        assert_eq!(byte_value("<0xFF>"), Some(255));
        for text in ["<0x0a>", "<0x1>", "<0x100>", "0x0A", "<0x+A>", "<0xG0>"] {
            assert_eq!(byte_value(text), None, "{text}");
        }
        let mut all: Vec<String> = (0..=255).map(|value| format!("<0x{value:02X}>")).collect();
        assert_eq!(check_bytes(&all), Ok(()));
        all.remove(10);
        assert_eq!(
            check_bytes(&all),
            Err(TokenizerError::MissingByte { value: 10 })
        );
    }
}
