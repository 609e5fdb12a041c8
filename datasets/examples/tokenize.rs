//! Tokenizes a dataset into the cache and says how fast:
//! `cargo run --release -p t81-datasets --example tokenize -- DATASET [TOKENIZER_DIRECTORY]`.

use std::time::Instant;

use t81_datasets::{
    DEFAULT_STORY_VOCABULARY, DatasetSource, LoadEvent, LoadOptions, TokenCache, load_tokenizer,
    story_tokenizer,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let source: DatasetSource = arguments.next().ok_or("name a dataset")?.parse()?;
    let tokenizer = match arguments.next() {
        Some(directory) => load_tokenizer(directory, usize::MAX)?,
        None => story_tokenizer(DEFAULT_STORY_VOCABULARY)?,
    };
    let options = LoadOptions {
        max_validation_samples: Some(64),
        cache: TokenCache::from_environment(),
        ..LoadOptions::default()
    };
    let start = Instant::now();
    let mut text = 0;
    let streams = source.load_with(&tokenizer, &options, None, &mut |event| match event {
        LoadEvent::Tokenizing { text_bytes, .. } => text = text_bytes,
        LoadEvent::Cached { file, .. } => println!("{file}: from the cache"),
        LoadEvent::Note(note) => println!("{note}"),
        _ => {}
    })?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} tokens to train on, {} to validate on, in {seconds:.1} s ({:.1} MB/s of text)",
        streams.train.len(),
        streams.validation.len(),
        text as f64 / 1e6 / seconds
    );
    Ok(())
}
