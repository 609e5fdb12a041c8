//! How stories begin and end.

use super::lexicon::{CHARACTERS, Person, article};
use super::teller::{Scene, Teller, tell};

const FAIR: &[&str] = &[
    "sunny", "warm", "bright", "windy", "cool", "fine", "cloudy", "lovely",
];
const FOUL: &[&str] = &[
    "rainy", "cold", "stormy", "snowy", "quiet", "gray", "foggy", "dark",
];
const TIMES: &[&str] = &[
    "morning",
    "afternoon",
    "day",
    "evening",
    "Saturday",
    "Sunday",
    "Monday",
    "Friday",
];

fn day(t: &mut Teller, outdoors: bool) -> (&'static str, &'static str) {
    let weather = if outdoors { FAIR } else { FOUL };
    (t.random.pick(weather), t.random.pick(TIMES))
}

/// One or two sentences: the hero and the friend are at the place.
pub(super) fn open_together(t: &mut Teller, scene: &Scene) {
    let Person {
        name: a, his, kind, ..
    } = scene.hero;
    let b = scene.friend.name;
    let (inside, place) = (scene.place.inside, scene.place.name);
    let (weather, time) = day(t, scene.place.outdoors);
    match t.random.below(5) {
        0 => {
            let character = t.random.pick(CHARACTERS);
            let an = article(character);
            tell!(
                t,
                "once there was {an} {character} {kind} named {a}.",
                "{a} was {an} {character} {kind}."
            );
            tell!(
                t,
                "one {time} {a} was {inside} with {his} friend {b}.",
                "{a} and {his} friend {b} were {inside}."
            );
        }
        1 => {
            tell!(
                t,
                "{a} and {b} were good friends.",
                "{a} and {b} were neighbors.",
                "{b} was {a}'s best friend."
            );
            tell!(
                t,
                "they were playing together {inside}.",
                "one {weather} {time} they went to {place}.",
                "every {time} they met {inside}.",
            );
        }
        2 => tell!(
            t,
            "{a} and {b} went to {place}.",
            "{a} and {b} walked to {place} together."
        ),
        _ => tell!(
            t,
            "one {weather} {time}, {a} and {b} were {inside}.",
            "it was a {weather} {time}, and {a} and {b} were {inside}.",
            "on a {weather} {time}, {a} met {b} {inside}.",
            "{a} and {b} were {inside} one {weather} {time}.",
        ),
    }
}

/// One or two sentences: the hero is at the place.
pub(super) fn open_alone(t: &mut Teller, scene: &Scene) {
    let Person {
        name: a, he, kind, ..
    } = scene.hero;
    let (inside, place) = (scene.place.inside, scene.place.name);
    let (weather, time) = day(t, scene.place.outdoors);
    match t.random.below(4) {
        0 => {
            let character = t.random.pick(CHARACTERS);
            let an = article(character);
            tell!(
                t,
                "once there was {an} {character} {kind} named {a}.",
                "{a} was {an} {character} {kind}."
            );
            tell!(
                t,
                "one {weather} {time}, {he} was {inside}.",
                "one {time} {he} went to {place}."
            );
        }
        1 => tell!(
            t,
            "{a} went to {place}.",
            "one {time}, {a} walked to {place}."
        ),
        _ => tell!(
            t,
            "one {weather} {time}, {a} was {inside}.",
            "it was a {weather} {time}, and {a} was {inside}.",
            "{a} was {inside} one {weather} {time}.",
        ),
    }
}

/// A sentence on what the hero was like, without a place.
pub(super) fn introduce(t: &mut Teller, person: Person) {
    let Person {
        name: a, he, kind, ..
    } = person;
    let character = t.random.pick(CHARACTERS);
    let an = article(character);
    tell!(
        t,
        "once upon a time, there was {an} {character} {kind} named {a}.",
        "once there was {an} {character} {kind} named {a}.",
        "{a} was {an} {character} {kind}.",
        "there was {an} {character} {kind}, and {he} was called {a}.",
    );
}

/// At most one closing sentence, of the hero and the friend in a good mood.
pub(super) fn end_together(t: &mut Teller, scene: &Scene) {
    if t.room() == 0 || t.random.chance(4) {
        return;
    }
    let (a, b) = (scene.hero.name, scene.friend.name);
    tell!(
        t,
        "they were both happy.",
        "{a} and {b} smiled at each other.",
        "{a} and {b} laughed together.",
        "then they went home together.",
        "it was a good day for {a} and {b}.",
        "from then on, they were even better friends.",
        "{a} and {b} played until it was dark.",
        "after that, {a} and {b} sang a song.",
        "{a} hugged {b}.",
        "they played together for the rest of the day.",
    );
}

/// At most one closing sentence, of a person in a good mood.
pub(super) fn end_alone(t: &mut Teller, person: Person) {
    if t.room() == 0 || t.random.chance(4) {
        return;
    }
    let Person {
        name: a, he, his, ..
    } = person;
    tell!(
        t,
        "{a} was very happy.",
        "{a} smiled all the way home.",
        "{a} went home with a smile on {his} face.",
        "{he} felt warm and happy inside.",
        "that night {a} slept well.",
        "{a} could not wait to tell {his} family.",
        "{he} never forgot that day.",
        "it was the best day of the year for {a}.",
        "{a} danced with joy.",
    );
}
