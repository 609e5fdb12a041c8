//! Telling which of llama.cpp's named pre-tokenizers a tokenizer.json describes.
//!
//! llama.cpp splits text before byte-pair merging by regular expressions that are compiled in and chosen by the name
//! in `tokenizer.ggml.pre` (`src/llama-vocab.cpp`). A tokenizer.json spells the same expressions out. The name is found
//! by comparing the two; a tokenizer that splits in no known way is refused, since a wrong name loads without
//! complaint and tokenizes wrongly.

use serde_json::Value;

use super::TokenizerError;

const DIGIT: &str = r"\p{N}";
const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_3_5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const SEED_CODER: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
const DEEPSEEK_WORDS: &str = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";

// DeepSeek LLM and Coder. Escaped are the characters that Unicode normalization would turn into others.
const NEWLINE: &str = "[\r\n]";
const DEEPSEEK_LETTERS: &str = "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\
     \u{1f7d}ᾀ-ᾴᾶ-ᾼ\u{1fbe}ῂ-ῄῆ-ῌῐ-\u{1fd3}ῖ-\u{1fdb}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-\
     ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\
     \u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-\u{1e943}]+";
const DEEPSEEK_PUNCTUATION: &str = "\\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+";
const DEEPSEEK_IDEOGRAPHS: &str = "[一-龥\u{800}-一가-\u{d7ff}]+";
const MINICPM_5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A pre-tokenizer of llama.cpp.
struct Known {
    /// Its name in `tokenizer.ggml.pre`.
    name: &'static str,
    /// The expressions that split the text, one after the other.
    splits: &'static [&'static str],
    /// Whether llama.cpp takes a whole piece that is in the vocabulary without looking at merges.
    ignore_merges: bool,
}

const KNOWN: &[Known] = &[
    Known {
        name: "gpt-2",
        splits: &[GPT_2],
        ignore_merges: false,
    },
    Known {
        name: "smollm",
        splits: &[DIGIT, GPT_2],
        ignore_merges: false,
    },
    Known {
        name: "llama-bpe",
        splits: &[LLAMA_3],
        ignore_merges: true,
    },
    Known {
        name: "dbrx",
        splits: &[LLAMA_3],
        ignore_merges: false,
    },
    Known {
        name: "qwen2",
        splits: &[QWEN_2],
        ignore_merges: false,
    },
    Known {
        name: "qwen35",
        splits: &[QWEN_3_5],
        ignore_merges: false,
    },
    Known {
        name: "gpt-4o",
        splits: &[GPT_4O],
        ignore_merges: false,
    },
    Known {
        name: "tekken",
        splits: &[TEKKEN],
        ignore_merges: true,
    },
    Known {
        name: "seed-coder",
        splits: &[SEED_CODER],
        ignore_merges: false,
    },
    Known {
        name: "deepseek-v3",
        splits: &[r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK_WORDS],
        ignore_merges: false,
    },
    Known {
        name: "deepseek-llm",
        splits: &[
            NEWLINE,
            DEEPSEEK_LETTERS,
            DEEPSEEK_PUNCTUATION,
            r"\s+$",
            DEEPSEEK_IDEOGRAPHS,
            DIGIT,
        ],
        ignore_merges: false,
    },
    Known {
        name: "deepseek-coder",
        splits: &[
            NEWLINE,
            r"\s?\p{L}+",
            r"\s?\p{P}+",
            DEEPSEEK_IDEOGRAPHS,
            DIGIT,
        ],
        ignore_merges: false,
    },
    Known {
        name: "minicpm5",
        splits: &[r"\p{N}{1,3}", MINICPM_5],
        ignore_merges: true,
    },
];

/// The names that [`identify`] can find.
pub(crate) fn known_names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.name)
}

/// The `tokenizer.ggml.pre` of a byte-level tokenizer.json's `pre_tokenizer` section.
pub(crate) fn identify(
    pre_tokenizer: &Value,
    ignore_merges: bool,
) -> Result<&'static str, TokenizerError> {
    let unknown = |description: String| TokenizerError::UnknownPreTokenizer { description };
    let mut splits = Vec::new();
    let mut byte_level = false;
    collect_splits(pre_tokenizer, &mut splits, &mut byte_level).map_err(unknown)?;
    if !byte_level {
        return Err(unknown(format!("no ByteLevel step in {pre_tokenizer}")));
    }
    KNOWN
        .iter()
        .find(|known| {
            known.ignore_merges == ignore_merges
                && known
                    .splits
                    .iter()
                    .copied()
                    .eq(splits.iter().map(String::as_str))
        })
        .map(|known| known.name)
        .ok_or_else(|| {
            let merges = if ignore_merges {
                " with ignore_merges"
            } else {
                ""
            };
            unknown(format!("splits by {splits:?}{merges}"))
        })
}

/// Where llama.cpp is known to split otherwise than the tokenizer that a name stands for.
pub(crate) fn remark(name: &str) -> Option<&'static str> {
    // Its expression engine has no \p{Lu} and the like; what stands in their place leaves out \p{M}.
    matches!(name, "gpt-4o" | "tekken").then_some(
        "llama.cpp splits words at combining marks where tokenizer.json does not; text with such marks is tokenized otherwise",
    )
}

/// Appends the expressions of one step; the error describes a step that has no counterpart.
fn collect_splits(
    step: &Value,
    splits: &mut Vec<String>,
    byte_level: &mut bool,
) -> Result<(), String> {
    if *byte_level {
        return Err(format!("{step} after the ByteLevel step"));
    }
    let flag =
        |name: &str, default: bool| step.get(name).and_then(Value::as_bool).unwrap_or(default);
    match step.get("type").and_then(Value::as_str) {
        Some("Sequence") => {
            let steps = step
                .get("pretokenizers")
                .and_then(Value::as_array)
                .ok_or_else(|| step.to_string())?;
            steps
                .iter()
                .try_for_each(|step| collect_splits(step, splits, byte_level))
        }
        Some("ByteLevel") => {
            if flag("add_prefix_space", true) {
                return Err("ByteLevel with add_prefix_space".to_owned());
            }
            if flag("use_regex", true) {
                splits.push(GPT_2.to_owned());
            }
            *byte_level = true;
            Ok(())
        }
        Some("Digits") => {
            splits.push(if flag("individual_digits", false) {
                DIGIT.to_owned()
            } else {
                format!("{DIGIT}+")
            });
            Ok(())
        }
        Some("Split") => {
            let pattern = step.pointer("/pattern/Regex").and_then(Value::as_str);
            let behavior = step.get("behavior").and_then(Value::as_str);
            match (pattern, behavior, flag("invert", false)) {
                // Inverted, matches are the pieces and what lies between them is removed; the expressions match everything.
                (Some(pattern), Some("Isolated"), _) | (Some(pattern), Some("Removed"), true) => {
                    splits.push(pattern.to_owned());
                    Ok(())
                }
                _ => Err(step.to_string()),
            }
        }
        _ => Err(step.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn byte_level(use_regex: bool) -> Value {
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
    }

    fn split_then_bytes(pattern: &str) -> Value {
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
            byte_level(false),
        ]})
    }

    #[test]
    fn structures_of_well_known_tokenizers_have_their_names() {
        let digits = json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, byte_level(true)]});
        assert_eq!(identify(&byte_level(true), false).unwrap(), "gpt-2");
        assert_eq!(identify(&digits, false).unwrap(), "smollm");
        assert_eq!(
            identify(&split_then_bytes(LLAMA_3), true).unwrap(),
            "llama-bpe"
        );
        assert_eq!(identify(&split_then_bytes(LLAMA_3), false).unwrap(), "dbrx");
        assert_eq!(identify(&split_then_bytes(QWEN_2), false).unwrap(), "qwen2");
        assert_eq!(identify(&split_then_bytes(TEKKEN), true).unwrap(), "tekken");
        let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let deepseek = json!({"type": "Sequence", "pretokenizers": [
            split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK_WORDS), byte_level(false)]});
        assert_eq!(identify(&deepseek, false).unwrap(), "deepseek-v3");
    }

    /// The structure of the tokenizer.json of deepseek-coder-6.7b-instruct and deepseek-llm-7b-base.
    #[test]
    fn the_older_tokenizers_of_deepseek_have_their_names() {
        let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let digits = json!({"type": "Digits", "individual_digits": true});
        let coder = json!({"type": "Sequence", "pretokenizers": [
            split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+"),
            digits, byte_level(false)]});
        assert_eq!(identify(&coder, false).unwrap(), "deepseek-coder");
        let punctuation =
            "\\s?[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]+";
        let llm = json!({"type": "Sequence", "pretokenizers": [
            split("[\r\n]"), split(DEEPSEEK_LETTERS), split(punctuation), split(r"\s+$"),
            split("[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+"), digits, byte_level(false)]});
        assert_eq!(identify(&llm, false).unwrap(), "deepseek-llm");
        // The ranges of cased letters ascend: no character was normalized into another.
        let letters: Vec<char> = DEEPSEEK_LETTERS.chars().collect();
        let ranges = letters.windows(3).filter(|window| window[1] == '-');
        assert!(ranges.clone().all(|range| range[0] < range[2]));
        assert_eq!(ranges.count(), 65);
        assert_eq!(
            identify(
                &json!({"type": "Sequence", "pretokenizers": [split(r"\p{N}{1,3}"), split(MINICPM_5), byte_level(false)]}),
                true
            )
            .unwrap(),
            "minicpm5"
        );
    }

    #[test]
    fn the_older_form_of_a_split_is_read() {
        let inverted = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": QWEN_2}, "behavior": "Removed", "invert": true}, byte_level(false)]});
        assert_eq!(identify(&inverted, false).unwrap(), "qwen2");
    }

    #[test]
    fn unknown_structures_are_refused_by_what_they_are() {
        let cases = [
            (split_then_bytes(r"\w+"), false, r"\w+"),
            (byte_level(true), true, "ignore_merges"),
            (json!({"type": "Whitespace"}), false, "Whitespace"),
            (
                json!({"type": "ByteLevel", "use_regex": true}),
                false,
                "add_prefix_space",
            ),
            (Value::Null, false, "null"),
            (
                json!({"type": "Digits", "individual_digits": true}),
                false,
                "no ByteLevel step",
            ),
            (
                json!({"type": "Sequence", "pretokenizers": [byte_level(true), {"type": "Digits"}]}),
                false,
                "after the ByteLevel",
            ),
            (
                json!({"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated", "invert": false}, byte_level(false)]}),
                false,
                "String",
            ),
            (
                json!({"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": QWEN_2}, "behavior": "MergedWithNext", "invert": false}, byte_level(false)]}),
                false,
                "MergedWithNext",
            ),
        ];
        for (structure, ignore_merges, expected) in cases {
            let error = identify(&structure, ignore_merges).unwrap_err().to_string();
            assert!(error.contains(expected), "{structure}: {error}");
        }
    }
}
