use std::collections::{HashMap, HashSet};

use super::*;
use crate::stories::lexicon::{BOYS, GIRLS, ROOMS, number_word};
use crate::stories::teller::MOST_SENTENCES;

fn many(count: u64) -> impl Iterator<Item = (String, usize)> {
    (0..count).map(|seed| tell_story(SplitMix64::new(seed)))
}

#[test]
fn the_first_story_never_changes() {
    assert_eq!(StoryCorpus::new(0).story(Split::Train, 0), GOLDEN_STORY);
}

const GOLDEN_STORY: &str = "There was a young boy, and he was called Adam. He found a seed in his pocket. \
    \"I wonder what it will be,\" Adam said. Adam planted it in a pot. Every day he gave it water. He waited for \
    eleven days. Then a small green leaf came out. It grew and grew, and it became a pepper plant. Soon it had shiny \
    peppers.\nWhat did the seed become? It became a pepper plant.";

#[test]
fn the_first_megabyte_of_each_split_never_changes() {
    let hashes = [Split::Train, Split::Validation]
        .map(|split| fnv1a(&StoryCorpus::new(0).text(split, 1_000_000)));
    assert_eq!(hashes, GOLDEN_HASHES);
}

const GOLDEN_HASHES: [u64; 2] = [3_777_399_890_227_273_839, 1_574_674_524_321_560_510];

#[test]
fn stories_have_4_to_14_sentences() {
    let mut lengths = [0_usize; MOST_SENTENCES + 1];
    for (text, sentences) in many(20_000) {
        assert!(
            (4..=MOST_SENTENCES).contains(&sentences),
            "{sentences} sentences: {text}"
        );
        lengths[sentences] += 1;
    }
    assert!(
        lengths[6..=12].iter().all(|&count| count > 400),
        "{lengths:?}"
    );
}

#[test]
fn stories_are_well_formed() {
    for (text, _) in many(20_000) {
        assert!(text.is_ascii() && !text.contains(['{', '}']), "{text}");
        assert!(
            !text.contains("  ") && !text.contains(" .") && !text.contains(".."),
            "{text}"
        );
        assert_eq!(text.matches('"').count() % 2, 0, "{text}");
        for line in text.lines() {
            assert_eq!(line, line.trim());
            assert!(line.ends_with(['.', '!', '?', '"']), "{text}");
            assert!(
                line.starts_with(|first: char| first == '"' || first.is_ascii_uppercase()),
                "{text}"
            );
        }
        for (index, _) in text.match_indices([' ', '\n']) {
            let starts_sentence = text[..index].ends_with(['.', '!', '?']);
            if starts_sentence {
                let next = text[index + 1..].trim_start_matches('"').chars().next();
                assert!(next.is_some_and(|next| next.is_ascii_uppercase()), "{text}");
            }
        }
        for start in ["a", "e", "i", "o", "umbrella", "honest", "hour"] {
            assert!(
                !text.to_lowercase().contains(&format!(" a {start}")),
                "{text}"
            );
        }
        for (index, _) in text.match_indices(" an ") {
            let next = &text[index + 4..];
            let silent = ["umbrella", "honest", "hour"]
                .iter()
                .any(|word| next.starts_with(word));
            assert!(silent || next.starts_with(['a', 'e', 'i', 'o']), "{text}");
        }
        assert!(!text.to_lowercase().contains("the the "), "{text}");
    }
}

#[test]
fn one_is_singular_and_more_are_plural() {
    for (text, _) in many(20_000) {
        for plural in [
            "apples",
            "cookies",
            "shells",
            "leaves",
            "berries",
            "cherries",
            "sandwiches",
        ] {
            assert!(!text.contains(&format!(" one {plural}")), "{text}");
        }
        for singular in [
            "apple", "cookie", "shell", "leaf", "berry", "cherry", "sandwich",
        ] {
            for number in 2..=12 {
                let wrong = format!(" {} {singular}", number_word(number));
                let plural = text.match_indices(&wrong).all(|(index, found)| {
                    text[index + found.len()..].starts_with(|next: char| next.is_ascii_alphabetic())
                });
                assert!(plural, "{text}");
            }
        }
    }
}

/// "Mia gave three shells to Tom." ... "Now Mia had four and Tom had five.": read back from the text alone.
#[test]
fn shared_things_add_up() {
    let numbers: Vec<String> = (0..=20).map(number_word).collect();
    let number_in = |words: &str| {
        words
            .split(|letter: char| !letter.is_ascii_alphabetic())
            .find_map(|word| numbers.iter().position(|n| n == word))
    };
    let mut checked = 0;
    for (text, _) in many(20_000) {
        let Some(left_at) = text
            .find(" had ")
            .filter(|_| text.contains("May I have some of your "))
        else {
            continue;
        };
        let sentences: Vec<&str> = text.split(['.', '?', '!', '"']).map(str::trim).collect();
        let Some(start) = sentences
            .iter()
            .find(|s| {
                s.contains(" had a bag with ")
                    || s.contains("basket there were ")
                    || s.contains(" had ")
            })
            .and_then(|s| number_in(s))
        else {
            continue;
        };
        let given = sentences
            .iter()
            .find(|s| s.contains(" gave "))
            .and_then(|s| number_in(s))
            .unwrap();
        let last = sentences
            .iter()
            .find(|s| s.starts_with("Now ") || s.starts_with("Then ") && s.contains(" left, and "))
            .unwrap();
        assert_eq!(number_in(last), Some(start - given), "{left_at}: {text}");
        checked += 1;
    }
    assert!(checked > 100, "{checked}");
}

/// Follows the people and things of a story about rooms from its words alone.
#[derive(Default)]
struct Reader<'text> {
    actor: &'text str,
    /// The room of a person; the room or the person that has a thing.
    places: HashMap<&'text str, &'text str>,
}

impl<'text> Reader<'text> {
    fn room(&self, of: &str) -> &'text str {
        let place = self.places[of];
        self.places.get(place).copied().unwrap_or(place)
    }

    fn open(&mut self, sentence: &'text str) {
        let (people, rooms) = (names_in(sentence), rooms_in(sentence));
        for (position, person) in people.into_iter().enumerate() {
            self.places
                .insert(person, rooms[position.min(rooms.len() - 1)]);
        }
    }

    fn event(&mut self, sentence: &'text str) {
        let mentioned = names_in(sentence);
        let gives = sentence.contains(" to ") && rooms_in(sentence).is_empty();
        let acts = if gives {
            mentioned.len() == 2
        } else {
            mentioned.len() == 1
        };
        if acts {
            self.actor = mentioned[0];
        }
        let thing = |verb: &str| sentence.split_once(verb).map(|(_, thing)| thing);
        if let Some(thing) = thing(" picked up ").or(thing(" took ")) {
            self.places.insert(thing, self.actor);
        } else if let Some(thing) = thing(" put down ").or(thing(" left ")) {
            let thing = thing
                .split_once(" in the ")
                .map_or(thing, |(thing, _)| thing);
            self.places
                .insert(thing.trim_end_matches(" there"), self.places[self.actor]);
        } else if let Some((thing, other)) = thing(" gave ")
            .or(thing(" handed "))
            .and_then(|words| words.split_once(" to "))
        {
            self.places.insert(thing, other);
        } else {
            self.places.insert(self.actor, rooms_in(sentence)[0]);
        }
    }
}

/// The words of the list in the order of their places in the sentence.
fn found_in(sentence: &str, words: impl Iterator<Item = &'static str>) -> Vec<&str> {
    let mut found: Vec<(usize, &str)> = words
        .flat_map(|word| sentence.match_indices(word))
        .filter(|(index, word)| !sentence[index + word.len()..].starts_with(char::is_alphanumeric))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, word)| word).collect()
}

fn names_in(sentence: &str) -> Vec<&str> {
    found_in(sentence, GIRLS.iter().chain(BOYS).copied())
}

fn rooms_in(sentence: &str) -> Vec<&str> {
    found_in(sentence, ROOMS.iter().copied())
}

#[test]
fn answers_about_rooms_follow_from_the_text() {
    let mut answered = 0;
    for (text, _) in many(40_000) {
        let Some((story, questions)) = text
            .split_once('\n')
            .filter(|(_, q)| q.contains(" in the end? "))
        else {
            continue;
        };
        let sentences: Vec<&str> = story.split_terminator('.').map(str::trim).collect();
        let told_in_rooms = sentences.len() == 7
            && !rooms_in(sentences[0]).is_empty()
            && !rooms_in(sentences[1]).is_empty()
            && names_in(sentences[1]).is_empty();
        if !told_in_rooms {
            continue;
        }
        let mut reader = Reader::default();
        reader.open(sentences[0]);
        sentences[2..]
            .iter()
            .for_each(|sentence| reader.event(sentence));
        for line in questions.lines() {
            let (question, answer) = line
                .trim_end_matches('.')
                .split_once(" in the end? ")
                .unwrap();
            if let Some(thing) = question.strip_prefix("Who had ") {
                let holder = reader
                    .places
                    .get(thing)
                    .filter(|place| !ROOMS.contains(place))
                    .unwrap_or(&"Nobody");
                assert_eq!(answer, format!("{holder} had {thing}"), "{text}");
            } else {
                let asked = question.strip_prefix("Where was ").unwrap();
                let room = answer.rsplit_once(" was in ").unwrap().1;
                if reader.places.contains_key(asked) {
                    assert_eq!(room, reader.room(asked), "{text}");
                } else {
                    assert!(rooms_in(sentences[1]).contains(&room), "{text}");
                }
            }
            answered += 1;
        }
    }
    assert!(answered > 2000, "{answered}");
}

#[test]
fn answers_about_spots_occur_in_the_text() {
    let mut answered = 0;
    for (text, _) in many(20_000) {
        let asked = text
            .rsplit_once("\nWhere was the ")
            .and_then(|(story, rest)| Some((story, rest.split_once("? It was ")?)));
        let Some((story, (thing, answer))) =
            asked.filter(|(_, (thing, _))| !thing.ends_with(" in the end"))
        else {
            continue;
        };
        let place = answer.trim_end_matches('.');
        let noun = thing.rsplit(' ').next().unwrap();
        let told = story.split('.').any(|sentence| {
            sentence.contains(place) && (sentence.contains(noun) || sentence.contains("it"))
        });
        assert!(told, "{text}");
        answered += 1;
    }
    assert!(answered > 500, "{answered}");
}

#[test]
fn the_splits_are_disjoint_and_varied() {
    let corpus = StoryCorpus::new(0);
    let train: Vec<String> = corpus.stories(Split::Train).take(20_000).collect();
    let distinct: HashSet<&str> = train.iter().map(String::as_str).collect();
    assert!(
        distinct.len() > 19_990,
        "{} of 20000 stories are different",
        distinct.len()
    );
    for story in corpus.stories(Split::Validation).take(1000) {
        assert!(!distinct.contains(story.as_str()), "{story}");
    }
    assert!(train.iter().all(|story| split_of(story) == Split::Train));
    let other_seed = StoryCorpus::new(1).stories(Split::Validation).take(1000);
    assert!(
        other_seed
            .into_iter()
            .all(|story| split_of(&story) == Split::Validation)
    );
}

#[test]
fn every_name_and_plot_occurs() {
    let text = StoryCorpus::new(5).text(Split::Train, 2_000_000);
    for name in GIRLS.iter().chain(BOYS) {
        assert!(text.contains(name), "{name}");
    }
    let told = [
        "I put it",
        "gave it away",
        "trade?",
        "borrow your",
        "tidy up",
        "a new game",
        "was missing",
        "opened the box",
        "in the end? Nobody had",
        "May I have some",
        "put them together and counted",
        "left on the",
        "had more",
        "Each child got",
        "could not have a picnic because",
        "became a",
        "first they came to",
        "won the race",
        "in the oven",
        "could not sleep",
        "practiced for",
        "wagged its tail",
        "and fixed the",
        "\"It was me,\"",
        "a heavy",
        "was not lonely",
        "ran away",
        "favorite color",
    ];
    for words in told {
        assert!(
            text.to_lowercase().contains(&words.to_lowercase()),
            "{words}"
        );
    }
}

#[test]
fn a_text_is_whole_stories_each_ended() {
    let corpus = StoryCorpus::new(9);
    let text = corpus.text(Split::Validation, 3000);
    let stories: Vec<&str> = text.split_terminator(END_OF_TEXT).collect();
    assert!(text.ends_with(END_OF_TEXT) && text.len() >= 3000);
    assert!(
        stories
            .iter()
            .copied()
            .eq(corpus.stories(Split::Validation).take(stories.len()))
    );
    assert!(text.len() - stories.last().unwrap().len() - END_OF_TEXT.len() < 3000);
    assert!(corpus.text(Split::Validation, 6000).starts_with(&text));
    assert_eq!(corpus.text(Split::Train, 0), "");
}
