//! Simple English stories, generated: text for a small language model that needs no download and no licence.
//!
//! A story draws people, a place and things, lets something happen to them and tells it. What a sentence says follows
//! from the sentences before: who has the ball, where it lies, how many apples are left, why somebody is sad. Many
//! stories end with a question about this and its answer. Their words are ASCII.

mod frame;
mod lexicon;
mod plots;
mod teller;

use crate::random::{SplitMix64, mix};
use plots::PLOTS;
use teller::{Scene, Teller};

/// What ends every document of a token stream.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// One story in so many belongs to the validation split.
const VALIDATION_SHARE: u64 = 8;

/// A part of a corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// What a model is trained on.
    Train,
    /// What a model is judged by.
    Validation,
}

/// An endless corpus of simple English stories: a function of its seed alone, on every platform.
///
/// A story has 4 to 14 sentences; the question that may follow it is on a line of its own. **The splits are disjoint**:
/// a hash of a story's text decides which split it can be in, so no story of the validation split is ever in the
/// training split, of this seed or another.
///
/// ```
/// use t81_datasets::{Split, StoryCorpus};
///
/// let corpus = StoryCorpus::new(0);
/// assert_eq!(corpus.stories(Split::Train).nth(7).unwrap(), corpus.story(Split::Train, 7));
/// assert_ne!(corpus.story(Split::Train, 7), corpus.story(Split::Validation, 7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoryCorpus {
    seed: u64,
}

impl StoryCorpus {
    /// The corpus of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The story at this place of the split, made without those before it.
    pub fn story(&self, split: Split, index: u64) -> String {
        let stream = index.wrapping_mul(2) + u64::from(split == Split::Validation);
        let mut attempts = SplitMix64::stream(self.seed, stream);
        loop {
            let (text, _) = tell_story(SplitMix64::new(attempts.next_u64()));
            if split_of(&text) == split {
                return text;
            }
        }
    }

    /// All stories of the split, in order and without end.
    pub fn stories(&self, split: Split) -> impl Iterator<Item = String> + use<> {
        let corpus = *self;
        (0..).map(move |index| corpus.story(split, index))
    }

    /// The first stories of the split, each followed by [`END_OF_TEXT`]: as many whole stories as it takes to reach
    /// `characters`.
    pub fn text(&self, split: Split, characters: usize) -> String {
        let mut text = String::new();
        let mut stories = self.stories(split);
        while text.len() < characters {
            text.extend(stories.next());
            text.push_str(END_OF_TEXT);
        }
        text
    }
}

/// The split that holds this story.
fn split_of(text: &str) -> Split {
    if mix(fnv1a(text)).is_multiple_of(VALIDATION_SHARE) {
        Split::Validation
    } else {
        Split::Train
    }
}

fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// A story and the number of its sentences.
fn tell_story(mut random: SplitMix64) -> (String, usize) {
    let scene = Scene::draw(&mut random);
    let plot = random.pick(PLOTS);
    let mut teller = Teller::new(random);
    plot(&mut teller, &scene);
    teller.finish()
}

#[cfg(test)]
mod tests;
