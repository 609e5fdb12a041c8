//! Byte-level BPE tokenizers, trained on the stories or on a text, and tokenizers read from a directory.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use t81_hub::{AddedTokenSource, ForeignContent, HubError, TokenizerSettings, read_if_exists};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, PostProcessorWrapper, Tokenizer};

use crate::error::DataError;
use crate::stories::{END_OF_TEXT, Split, StoryCorpus};

/// The vocabulary of [`story_tokenizer`] that suits a model of a few million parameters.
pub const DEFAULT_STORY_VOCABULARY: usize = 2048;

const SMALLEST_VOCABULARY: usize = 257;
const TOKENIZER_FILE: &str = "tokenizer.json";
const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";

/// Text on which the story tokenizer is trained.
const TRAINING_CHARACTERS: usize = 1_000_000;

/// The tokenizer of the story corpus: [`train_tokenizer`] on the first million characters of the corpus of seed 0.
///
/// The same vocabulary size gives the same tokenizer, byte for byte. It is trained anew at each call. The words of the
/// stories suffice for about 2500 tokens.
///
/// # Errors
///
/// [`DataError::VocabularyTooSmall`] and [`DataError::VocabularyTooLarge`].
pub fn story_tokenizer(vocabulary_size: usize) -> Result<Tokenizer, DataError> {
    let mut characters = 0;
    let documents = StoryCorpus::new(0)
        .stories(Split::Train)
        .take_while(move |story| {
            let wanted = characters < TRAINING_CHARACTERS;
            characters += story.len();
            wanted
        });
    train_tokenizer(documents, vocabulary_size)
}

/// Trains a byte-level BPE tokenizer of exactly `vocabulary_size` tokens: id 0 is [`END_OF_TEXT`], then come the 256
/// bytes, so that every text can be encoded, then the merges in the order of their learning. Words are split as in
/// GPT-2.
///
/// ```
/// let tokenizer = t81_datasets::train_tokenizer(["a rose is a rose".to_owned()].into_iter(), 260)?;
/// assert_eq!(tokenizer.get_vocab_size(true), 260);
/// assert_eq!(tokenizer.token_to_id("<|endoftext|>"), Some(0));
/// # Ok::<(), t81_datasets::DataError>(())
/// ```
///
/// # Errors
///
/// [`DataError::VocabularyTooSmall`], and [`DataError::VocabularyTooLarge`] when the text has too few different words.
pub fn train_tokenizer(
    documents: impl Iterator<Item = String> + Send,
    vocabulary_size: usize,
) -> Result<Tokenizer, DataError> {
    if vocabulary_size < SMALLEST_VOCABULARY {
        return Err(DataError::VocabularyTooSmall {
            asked: vocabulary_size,
            smallest: SMALLEST_VOCABULARY,
        });
    }
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer
        .with_pre_tokenizer(Some(ByteLevel::new(false, true, true)))
        .with_decoder(Some(ByteLevel::new(false, true, true)));
    let mut trainer = TrainerWrapper::BpeTrainer(
        BpeTrainer::builder()
            .vocab_size(vocabulary_size)
            .show_progress(false)
            .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build(),
    );
    tokenizer
        .train(&mut trainer, documents)
        .map_err(DataError::tokenizer)?;
    let trained = tokenizer.get_vocab_size(true);
    if trained < vocabulary_size {
        return Err(DataError::VocabularyTooLarge {
            asked: vocabulary_size,
            largest: trained,
        });
    }
    Ok(tokenizer)
}

/// Writes a tokenizer made here as `tokenizer.json` and `tokenizer_config.json`, which the Python libraries
/// `tokenizers` and `transformers` load (as `GPT2Tokenizer`). The directory is made if need be.
///
/// `model_max_length` is the model's context length, in tokens.
///
/// # Errors
///
/// [`DataError::Io`] when a file cannot be written.
pub fn save_tokenizer(
    tokenizer: &Tokenizer,
    directory: impl AsRef<Path>,
    model_max_length: usize,
) -> Result<(), DataError> {
    let directory = directory.as_ref();
    let written = tokenizer.to_string(true).map_err(DataError::tokenizer)?;
    let config = json!({
        "add_bos_token": false,
        "add_prefix_space": false,
        "bos_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": false,
        "eos_token": END_OF_TEXT,
        "model_max_length": model_max_length,
        "tokenizer_class": "GPT2Tokenizer",
        "unk_token": END_OF_TEXT,
    });
    fs::create_dir_all(directory).map_err(|source| DataError::Io {
        path: directory.to_owned(),
        reason: source,
    })?;
    for (name, text) in [
        (TOKENIZER_FILE, written),
        (TOKENIZER_CONFIG_FILE, format!("{config:#}")),
    ] {
        let path = directory.join(name);
        fs::write(&path, text + "\n").map_err(|reason| DataError::Io { path, reason })?;
    }
    Ok(())
}

/// Reads the tokenizer of a model's directory: `tokenizer.json`, with what `tokenizer_config.json` and `added_tokens.json`
/// add to it, as `transformers` does.
///
/// Tokens that only those files define are added as far as `vocabulary_size`, the number of the model's embeddings, has ids
/// for them. If `tokenizer.json` has no post-processor, `add_bos_token` and `add_eos_token` decide what is put around a text.
///
/// # Errors
///
/// [`DataError::MissingTokenizer`], [`DataError::CorruptTokenizer`], [`DataError::Hub`] for what is not a file or not the
/// tokenizer's, and [`DataError::Io`].
pub fn load_tokenizer(
    directory: impl AsRef<Path>,
    vocabulary_size: usize,
) -> Result<Tokenizer, DataError> {
    let directory = directory.as_ref();
    let path = directory.join(TOKENIZER_FILE);
    let Some(bytes) = read_if_exists(&path).map_err(DataError::file)? else {
        return Err(DataError::MissingTokenizer { path });
    };
    let mut tokenizer =
        Tokenizer::from_bytes(&bytes).map_err(|error| match ForeignContent::recognize(&bytes) {
            Some(found) => DataError::Hub(HubError::Foreign { path, found }),
            None => DataError::CorruptTokenizer {
                path,
                reason: error.to_string(),
            },
        })?;
    let settings = TokenizerSettings::open(directory)?;
    add_tokens(&mut tokenizer, &settings, vocabulary_size)?;
    if tokenizer.get_post_processor().is_none() {
        add_text_bounds(&mut tokenizer, &settings)?;
    }
    Ok(tokenizer)
}

/// Adds the tokens that only the settings define; those of the same text take their flags from the settings.
fn add_tokens(
    tokenizer: &mut Tokenizer,
    settings: &TokenizerSettings,
    vocabulary_size: usize,
) -> Result<(), DataError> {
    let size = tokenizer.get_vocab_size(false);
    let largest = tokenizer.get_added_tokens_decoder().into_keys().max();
    let mut next = largest.map_or(size, |largest| size.max(largest as usize + 1));
    let mut tokens = Vec::new();
    for token in &settings.added_tokens {
        match tokenizer.token_to_id(&token.content) {
            Some(_) if token.source == AddedTokenSource::AddedTokensJson => continue,
            Some(_) => {}
            None if next < vocabulary_size => next += 1,
            None => continue,
        }
        tokens.push(
            AddedToken::from(token.content.clone(), token.special)
                .normalized(token.normalized)
                .lstrip(token.lstrip)
                .rstrip(token.rstrip)
                .single_word(token.single_word),
        );
    }
    if !tokens.is_empty() {
        tokenizer.add_tokens(tokens).map_err(DataError::tokenizer)?;
    }
    Ok(())
}

/// Puts the special tokens of the settings around a text.
fn add_text_bounds(
    tokenizer: &mut Tokenizer,
    settings: &TokenizerSettings,
) -> Result<(), DataError> {
    let id = |adds: bool, token: &Option<String>| {
        let token = token.as_ref().filter(|_| adds)?;
        Some((token.clone(), tokenizer.token_to_id(token)?))
    };
    let begin = id(
        settings.adds_bos_without_post_processor(),
        &settings.bos_token,
    );
    let end = id(
        settings.adds_eos_without_post_processor(),
        &settings.eos_token,
    );
    if begin.is_none() && end.is_none() {
        return Ok(());
    }
    let special = |(token, _): &(String, u32)| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    let around = |texts: Vec<Value>| -> Vec<Value> {
        let begin = begin.iter().map(special);
        begin.chain(texts).chain(end.iter().map(special)).collect()
    };
    let tokens: serde_json::Map<String, Value> = begin
        .iter()
        .chain(&end)
        .map(|(token, id)| {
            (
                token.clone(),
                json!({"id": token, "ids": [id], "tokens": [token]}),
            )
        })
        .collect();
    let template = json!({
        "type": "TemplateProcessing",
        "single": around(vec![text("A")]),
        "pair": around(vec![text("A"), text("B")]),
        "special_tokens": tokens,
    });
    let processor: PostProcessorWrapper =
        serde_json::from_value(template).map_err(|error| DataError::tokenizer(error.into()))?;
    tokenizer.with_post_processor(Some(processor));
    Ok(())
}

/// Checks that the model has an embedding for every token of a stream.
///
/// # Errors
///
/// [`DataError::VocabularyMismatch`] with the first token that is out of range.
pub fn check_vocabulary(tokens: &[u32], vocabulary_size: usize) -> Result<(), DataError> {
    match tokens
        .iter()
        .position(|&token| token as usize >= vocabulary_size)
    {
        None => Ok(()),
        Some(position) => Err(DataError::VocabularyMismatch {
            token: tokens[position],
            position,
            vocabulary_size,
        }),
    }
}
