//! Token-block language-model datasets for [Burn](burn), with an embedded story corpus.
//!
//! Text becomes a stream of token ids, and a stream becomes blocks to train on or windows to evaluate on:
//!
//! ```
//! use burn::data::dataset::Dataset;
//! use t81_datasets::{DatasetSource, LoadOptions, TokenBlocks, story_tokenizer};
//!
//! let tokenizer = story_tokenizer(512)?;
//! let options = LoadOptions { train_stories: 100, validation_stories: 10, ..LoadOptions::default() };
//! let streams = DatasetSource::Stories.load(&tokenizer, &options)?;
//! let blocks = TokenBlocks::new(streams.train, options.block_size)?;
//! for block in blocks.shuffled(42, 0).iter() {
//!     let block = block?;
//!     assert_eq!(block.inputs().len(), block.targets().len());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Text comes from files of text, JSON lines, tables (CSV, TSV) or parquet, from directories and Hub repositories of such files, or from the
//! story generator. It is read and tokenized as a stream: what is in memory does not grow with it, where a [`TokenCache`]
//! takes the tokens.
//!
//! - Text: [`DatasetSource`], [`LoadOptions`], [`LoadEvent`], [`StoryCorpus`], [`read_text`]
//! - Tokens: [`Tokens`], [`TokenCache`], [`story_tokenizer`], [`train_tokenizer`], [`load_tokenizer`], [`save_tokenizer`],
//!   [`tokenize_text`], [`tokenize_file`], [`check_vocabulary`]
//! - Samples: [`TokenBlocks`], [`epoch_order`], [`evaluation_windows`]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod blocks;
mod encode;
mod encoding;
mod error;
mod foreign;
mod hub;
mod layout;
mod load;
mod options;
mod order;
mod random;
mod repository;
mod rows;
mod source;
mod split;
mod stories;
mod text;
mod tokenizer;
mod tokens;
mod windows;

pub use blocks::{ShuffledBlocks, TokenBlock, TokenBlocks};
pub use encode::{tokenize_file, tokenize_text};
pub use error::DataError;
pub use options::{LoadEvent, LoadOptions, RowKind};
pub use order::epoch_order;
pub use source::{DatasetSource, TokenStreams};
pub use stories::{END_OF_TEXT, Split, StoryCorpus};
pub use text::read_text;
pub use tokenizer::{
    DEFAULT_STORY_VOCABULARY, check_vocabulary, load_tokenizer, save_tokenizer, story_tokenizer,
    train_tokenizer,
};
pub use tokens::{TokenCache, Tokens};
pub use windows::{evaluation_windows, scored_positions};
