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
//! - Text: [`DatasetSource`], [`StoryCorpus`], [`read_text`]
//! - Tokens: [`story_tokenizer`], [`train_tokenizer`], [`load_tokenizer`], [`save_tokenizer`], [`tokenize_text`],
//!   [`tokenize_file`], [`check_vocabulary`]
//! - Samples: [`TokenBlocks`], [`epoch_order`], [`evaluation_windows`]
#![deny(missing_docs)]

mod blocks;
mod encode;
mod error;
mod order;
mod random;
mod source;
mod stories;
mod text;
mod tokenizer;
mod windows;

pub use blocks::{ShuffledBlocks, TokenBlock, TokenBlocks};
pub use encode::{tokenize_file, tokenize_text};
pub use error::DataError;
pub use order::epoch_order;
pub use source::{DatasetSource, LoadOptions, TokenStreams};
pub use stories::{END_OF_TEXT, Split, StoryCorpus};
pub use text::read_text;
pub use tokenizer::{
    DEFAULT_STORY_VOCABULARY, check_vocabulary, load_tokenizer, save_tokenizer, story_tokenizer,
    train_tokenizer,
};
pub use windows::{evaluation_windows, scored_positions};
