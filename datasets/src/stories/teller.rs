//! The telling of one story: drawing its words and writing its sentences.

use super::lexicon::{BOYS, FAMILY, GIRLS, Item, NEIGHBORS, PLACES, Person, Place, boy, girl};
use crate::random::SplitMix64;

/// No story is longer than this.
pub(super) const MOST_SENTENCES: usize = 14;

/// Who and where a story is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    pub(super) hero: Person,
    pub(super) friend: Person,
    pub(super) third: Person,
    /// A grown-up of the family.
    pub(super) elder: Person,
    pub(super) neighbor: Person,
    pub(super) place: Place,
}

impl Scene {
    pub(super) fn draw(random: &mut SplitMix64) -> Self {
        let [first_girl, second_girl, third_girl] = random.distinct(GIRLS).map(girl);
        let [first_boy, second_boy, third_boy] = random.distinct(BOYS).map(boy);
        let mut either = |one, other| if random.chance(2) { one } else { other };
        Self {
            hero: either(first_girl, first_boy),
            friend: either(second_girl, second_boy),
            third: either(third_girl, third_boy),
            elder: random.pick(FAMILY),
            neighbor: random.pick(NEIGHBORS),
            place: random.pick(PLACES),
        }
    }

    pub(super) fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }
}

pub(super) struct Teller {
    pub(super) random: SplitMix64,
    text: String,
    sentences: usize,
}

impl Teller {
    pub(super) fn new(random: SplitMix64) -> Self {
        Self {
            random,
            text: String::new(),
            sentences: 0,
        }
    }

    pub(super) fn finish(self) -> (String, usize) {
        (self.text, self.sentences)
    }

    /// Sentences that still fit.
    pub(super) fn room(&self) -> usize {
        MOST_SENTENCES - self.sentences.min(MOST_SENTENCES)
    }

    /// Appends one sentence, its first letter made a capital.
    pub(super) fn say(&mut self, sentence: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.append(sentence);
    }

    fn append(&mut self, sentence: &str) {
        let mut letters = sentence.chars();
        self.text
            .extend(letters.next().map(|first| first.to_ascii_uppercase()));
        self.text.push_str(letters.as_str());
        self.sentences += 1;
    }

    /// Appends a question with its answer on a line of its own, if both fit.
    pub(super) fn ask(&mut self, question: &str, answer: &str) {
        if self.room() >= 2 {
            self.text.push('\n');
            self.append(question);
            self.say(answer);
        }
    }

    pub(super) fn item(&mut self) -> Item {
        Item::draw(&mut self.random)
    }

    /// Items with different nouns.
    pub(super) fn items<const N: usize>(&mut self) -> [Item; N] {
        let mut items = [self.item(); N];
        for position in 1..N {
            while items[..position]
                .iter()
                .any(|item| item.noun == items[position].noun)
            {
                items[position] = self.item();
            }
        }
        items
    }

    pub(super) fn spots<const N: usize>(&mut self, place: Place) -> [&'static str; N] {
        self.random.distinct(place.spots)
    }

    pub(super) fn place(&mut self, outdoors: bool) -> Place {
        loop {
            let place = self.random.pick(PLACES);
            if place.outdoors == outdoors {
                return place;
            }
        }
    }
}

/// Says one of the given sentences, each a format string with captured variables.
macro_rules! tell {
    ($teller:expr, $($variant:literal),+ $(,)?) => {{
        const VARIANTS: &[&str] = &[$($variant),+];
        let chosen = $teller.random.below(VARIANTS.len());
        let mut variant = 0..;
        $(
            if variant.next() == Some(chosen) {
                $teller.say(&format!($variant));
            }
        )+
    }};
}
pub(super) use tell;
