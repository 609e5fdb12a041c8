//! Throughput of the story generator and of tokenization, and the time to train the story tokenizer:
//! `cargo bench -p t81-datasets`, with the path of a text file in `T81_BENCH_TEXT` for real text.

use std::hint::black_box;
use std::time::{Duration, Instant};

use t81_datasets::{
    DEFAULT_STORY_VOCABULARY, DataError, Split, StoryCorpus, read_text, story_tokenizer,
    tokenize_text,
};

const REPEATS: usize = 5;

fn main() -> Result<(), DataError> {
    let corpus = StoryCorpus::new(0);
    for split in [Split::Train, Split::Validation] {
        let (elapsed, text) = fastest(|| corpus.text(split, 4_000_000));
        report(&format!("generate {split:?}"), text.len(), elapsed);
    }
    for vocabulary_size in [512, DEFAULT_STORY_VOCABULARY] {
        let (elapsed, tokenizer) = fastest(|| story_tokenizer(vocabulary_size));
        tokenizer?;
        println!(
            "train a tokenizer of {vocabulary_size} tokens: {:.2} s",
            elapsed.as_secs_f64()
        );
    }
    let tokenizer = story_tokenizer(DEFAULT_STORY_VOCABULARY)?;
    let mut texts = vec![("stories", corpus.text(Split::Train, 4_000_000))];
    if let Some(path) = std::env::var_os("T81_BENCH_TEXT") {
        texts.push(("file", read_text(path.as_ref())?));
    }
    for (name, text) in texts {
        let (elapsed, tokens) = fastest(|| tokenize_text(&tokenizer, &text));
        let tokens = tokens?.len();
        report(
            &format!(
                "tokenize {name} ({:.2} bytes a token)",
                text.len() as f64 / tokens as f64
            ),
            text.len(),
            elapsed,
        );
    }
    Ok(())
}

fn fastest<T>(mut work: impl FnMut() -> T) -> (Duration, T) {
    let mut run = || {
        let start = Instant::now();
        let result = black_box(work());
        (start.elapsed(), result)
    };
    let first = run();
    (1..REPEATS).map(|_| run()).fold(
        first,
        |best, next| if next.0 < best.0 { next } else { best },
    )
}

fn report(name: &str, bytes: usize, elapsed: Duration) {
    println!(
        "{name}: {:.1} MB/s",
        bytes as f64 / 1e6 / elapsed.as_secs_f64()
    );
}
