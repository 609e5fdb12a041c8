//! Plots about what people do for each other.

use crate::stories::frame::{end_alone, end_together, introduce, open_together};
use crate::stories::lexicon::{COLORS, Person, article};
use crate::stories::teller::{Scene, Teller, tell};

/// Something breaks and is mended.
pub(super) fn broken(t: &mut Teller, scene: &Scene) {
    let Person {
        name: a, he, his, ..
    } = scene.hero;
    let helper = if t.random.chance(2) {
        scene.elder
    } else {
        scene.neighbor
    };
    let Person {
        name: helper,
        he: helper_he,
        ..
    } = helper;
    let (thing, part, tool) = t.random.pick(&[
        ("toy car", "wheel", "a screwdriver"),
        ("kite", "tail", "some string"),
        ("doll", "arm", "a needle"),
        ("wagon", "wheel", "a hammer"),
        ("chair", "leg", "some glue"),
        ("clock", "spring", "a small screwdriver"),
        ("bike", "chain", "a wrench"),
        ("drum", "skin", "some strong tape"),
        ("toy boat", "sail", "a needle"),
        ("lamp", "switch", "a pair of pliers"),
        ("umbrella", "handle", "some glue"),
        ("birdhouse", "roof", "a hammer"),
    ]);
    let adjective = t.random.pick(COLORS);
    introduce(t, scene.hero);
    let an = article(adjective);
    tell!(
        t,
        "{he} had {an} {adjective} {thing}.",
        "{a} loved {his} {adjective} {thing}.",
        "every day {he} used {his} {adjective} {thing}."
    );
    tell!(
        t,
        "one day the {part} of the {thing} broke.",
        "then the {thing} fell down, and the {part} broke.",
        "but one morning the {part} came off."
    );
    tell!(t, "{a} was very sad.", "{a} cried.", "\"Oh no!\" said {a}.");
    tell!(
        t,
        "{he} took the {thing} to {helper}.",
        "{a} asked {helper} for help.",
        "{he} showed the {thing} to {helper}."
    );
    tell!(
        t,
        "\"I can fix it,\" said {helper}.",
        "\"Do not be sad,\" said {helper}.",
        "\"Let me see,\" {helper} said."
    );
    tell!(
        t,
        "{helper} took {tool} and fixed the {part}.",
        "with {tool}, {helper} fixed it.",
        "{helper_he} got {tool} and worked for an hour."
    );
    tell!(
        t,
        "soon the {thing} was as good as new.",
        "now the {thing} worked again.",
        "then the {part} was whole again."
    );
    tell!(
        t,
        "\"Thank you so much!\" said {a}.",
        "{a} was happy and thanked {helper}.",
        "{a} jumped for joy."
    );
    match t.random.below(4) {
        0 => t.ask(
            &format!("Who fixed the {thing}?"),
            &format!("{helper} fixed it."),
        ),
        1 => t.ask(
            &format!("Why was {a} sad?"),
            &format!("Because the {part} of the {thing} was broken."),
        ),
        2 => t.ask(
            &format!("What did {helper} use?"),
            &format!("{helper_he} used {tool}."),
        ),
        _ => {}
    }
}

/// An accident is owned up to.
pub(super) fn confession(t: &mut Teller, scene: &Scene) {
    let scene = scene.at(t.place(false));
    open_together(t, &scene);
    let Person { name: a, his, .. } = scene.hero;
    let b = scene.friend.name;
    let elder = scene.elder.name;
    let color = t.random.pick(COLORS);
    let thing = t.random.pick(&[
        "vase", "cup", "plate", "bowl", "jug", "mirror", "jar", "lamp", "glass", "teapot",
    ]);
    let (culprit, other) = if t.random.chance(2) {
        (scene.hero, scene.friend)
    } else {
        (scene.friend, scene.hero)
    };
    let Person {
        name: culprit,
        him: culprit_him,
        ..
    } = culprit;
    let other = other.name;
    tell!(
        t,
        "they threw a ball to each other.",
        "they ran and jumped and made a lot of noise.",
        "{a} threw {his} ball, and {b} caught it."
    );
    tell!(
        t,
        "by accident, {culprit} broke {elder}'s {color} {thing}.",
        "then {culprit} hit the {color} {thing}, and it broke."
    );
    tell!(
        t,
        "\"What should we do?\" asked {other}.",
        "they were both quiet.",
        "{culprit} was afraid that {elder} would be angry."
    );
    tell!(
        t,
        "\"Who broke my {thing}?\" asked {elder}.",
        "then {elder} came in and saw the broken {thing}."
    );
    tell!(
        t,
        "\"It was me,\" said {culprit}.",
        "\"I broke it, and I am sorry,\" said {culprit}.",
        "{culprit} told the truth."
    );
    tell!(
        t,
        "{elder} was not angry with {culprit_him}.",
        "\"Thank you for telling me,\" said {elder}.",
        "\"It is good that you told me,\" said {elder}."
    );
    tell!(
        t,
        "{other} helped {culprit} to clean the floor.",
        "then {culprit} and {other} picked up the pieces.",
        "{culprit} said sorry again and got a broom."
    );
    match t.random.below(4) {
        0 => t.ask(
            &format!("Who broke the {thing}?"),
            &format!("{culprit} broke it."),
        ),
        1 => t.ask(
            &format!("What color was the {thing}?"),
            &format!("It was {color}."),
        ),
        2 => t.ask(
            &format!("Was {elder} angry?"),
            &format!("No, because {culprit} told the truth."),
        ),
        _ => end_together(t, &scene),
    }
}

/// A heavy load, shared, and its reward.
pub(super) fn heavy_load(t: &mut Teller, scene: &Scene) {
    let Person { name: a, he, .. } = scene.hero;
    let b = scene.friend.name;
    let Person {
        name: neighbor,
        he: neighbor_he,
        ..
    } = scene.neighbor;
    let load = t.random.pick(&[
        "basket",
        "sack of flour",
        "box of books",
        "bag of potatoes",
        "bucket of water",
        "table",
        "ladder",
        "barrel",
        "suitcase",
        "crate of apples",
    ]);
    let goal = t.random.pick(&[
        "the house",
        "the market",
        "the top of the hill",
        "the station",
        "the school",
        "the mill",
        "the shop",
        "the harbor",
    ]);
    let reward = t.random.pick(&[
        "an apple",
        "a coin",
        "a warm bun",
        "a piece of cake",
        "some honey",
        "a flower",
        "a ride on a pony",
        "a jar of jam",
    ]);
    tell!(
        t,
        "{neighbor} had a heavy {load}.",
        "{a} saw {neighbor} with a heavy {load}.",
        "one day {neighbor} carried a heavy {load}."
    );
    tell!(
        t,
        "{neighbor} wanted to bring it to {goal}.",
        "it had to go to {goal}."
    );
    tell!(
        t,
        "but it was too heavy for {neighbor}.",
        "{neighbor} had to stop and rest.",
        "{neighbor}'s arms were tired."
    );
    tell!(
        t,
        "\"May I help you?\" asked {a}.",
        "{a} ran to help.",
        "\"Wait, I will help you,\" said {a}."
    );
    if t.random.chance(2) {
        tell!(
            t,
            "{a} pulled, but it did not move.",
            "even together they could not lift it."
        );
        tell!(t, "so {he} called {b}.", "then {b} came and helped too.");
        tell!(
            t,
            "the three of them carried it to {goal}.",
            "with {b}, it was easy, and soon they were at {goal}."
        );
    } else {
        tell!(
            t,
            "together they carried it to {goal}.",
            "{a} and {neighbor} brought it to {goal}."
        );
    }
    tell!(
        t,
        "\"Thank you,\" said {neighbor}.",
        "{neighbor} was very thankful.",
        "\"You are strong!\" said {neighbor}."
    );
    tell!(
        t,
        "{neighbor} gave {a} {reward}.",
        "then {neighbor_he} gave {a} {reward}."
    );
    match t.random.below(4) {
        0 => t.ask(
            &format!("What did {a} get?"),
            &format!("{he} got {reward}."),
        ),
        1 => t.ask(
            &format!("Where did they bring the {load}?"),
            &format!("They brought it to {goal}."),
        ),
        2 => t.ask(
            &format!("Who had the heavy {load}?"),
            &format!("{neighbor} had it."),
        ),
        _ => end_alone(t, scene.hero),
    }
}

/// Somebody new is asked to join.
pub(super) fn newcomer(t: &mut Teller, scene: &Scene) {
    let Person { name: a, .. } = scene.hero;
    let b = scene.friend.name;
    let Person {
        name: c,
        he: c_he,
        kind,
        ..
    } = scene.third;
    let town = t.random.pick(&[
        "a big city",
        "a small village",
        "the mountains",
        "the seaside",
        "a faraway land",
        "the other side of the river",
        "an island",
        "the north",
    ]);
    let game = t.random.pick(&[
        "hide and seek",
        "tag",
        "ball",
        "cards",
        "chess",
        "marbles",
        "catch",
        "school",
        "pirates",
    ]);
    tell!(
        t,
        "there was a new {kind} in school.",
        "a new {kind} came to the class.",
        "one Monday, a new {kind} came to school."
    );
    tell!(
        t,
        "{c} came from {town}.",
        "the {kind} was called {c} and came from {town}.",
        "\"I am {c}, and I come from {town},\" {c_he} said."
    );
    if t.random.chance(2) {
        tell!(
            t,
            "{c} did not know anybody.",
            "{c_he} had no friends there yet."
        );
    }
    tell!(
        t,
        "at noon {c} sat alone.",
        "{c} stood by the wall and was lonely.",
        "{c_he} was shy and sat alone under a tree."
    );
    tell!(
        t,
        "{a} saw this.",
        "{a} felt sorry for {c}.",
        "{a} told {b} about it."
    );
    tell!(
        t,
        "\"Do you want to play {game} with us?\" {a} asked.",
        "{a} and {b} asked {c} to play {game} with them."
    );
    tell!(
        t,
        "\"Yes, please!\" said {c}.",
        "{c} nodded and smiled.",
        "\"I love to play {game},\" said {c}."
    );
    tell!(
        t,
        "so {a}, {b} and {c} played {game} together.",
        "they all played {game} until the bell rang."
    );
    tell!(
        t,
        "{c} was not lonely any more.",
        "now {c} had two friends.",
        "after that day, {c} was never alone."
    );
    match t.random.below(4) {
        0 => t.ask(
            &format!("Where did {c} come from?"),
            &format!("{c_he} came from {town}."),
        ),
        1 => t.ask("What did they play?", &format!("They played {game}.")),
        2 => t.ask("Who was new?", &format!("{c} was new.")),
        _ => {}
    }
}
