//! Prints stories of the corpus: `cargo run -p t81-datasets --example stories -- [COUNT] [SEED]`.

use t81_datasets::{Split, StoryCorpus};

fn main() -> Result<(), std::num::ParseIntError> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().map_or(Ok(10), |count| count.parse())?;
    let seed = arguments.next().map_or(Ok(0), |seed| seed.parse())?;
    for story in StoryCorpus::new(seed).stories(Split::Train).take(count) {
        println!("{story}\n");
    }
    Ok(())
}
