//! Plots about what takes several steps or tries.

use crate::stories::frame::{end_alone, introduce};
use crate::stories::lexicon::{Person, number_word};
use crate::stories::teller::{Scene, Teller, tell};

/// Who comes first, second and last.
pub(super) fn race(t: &mut Teller, scene: &Scene) {
    let (a, b, c) = (scene.hero.name, scene.friend.name, scene.third.name);
    let elder = scene.elder.name;
    let goal = t.random.pick(&[
        "the old oak",
        "the gate",
        "the bridge",
        "the well",
        "the end of the road",
        "the red barn",
        "the big rock",
        "the river",
    ]);
    let how = t.random.pick(&["run", "swim", "ride", "hop", "skate"]);
    let goal = if how == "swim" {
        "the other side of the lake"
    } else {
        goal
    };
    tell!(
        t,
        "{a}, {b} and {c} wanted to know who was the fastest.",
        "one day {a}, {b} and {c} had a race.",
        "\"Who is the fastest?\" {a} asked {b} and {c}."
    );
    tell!(
        t,
        "they had to {how} to {goal}.",
        "\"Let us {how} to {goal},\" said {b}."
    );
    tell!(
        t,
        "\"One, two, three, go!\" said {elder}.",
        "{elder} counted to three."
    );
    let mut order = [scene.hero, scene.friend, scene.third];
    t.random.shuffle(&mut order);
    let [first, second, last] = order.map(|person| person.name);
    if t.random.chance(2) {
        tell!(
            t,
            "{second} was in front at first.",
            "in the beginning, {second} was the fastest."
        );
        tell!(
            t,
            "but then {first} was faster.",
            "but {first} did not give up."
        );
    }
    tell!(
        t,
        "{first} came to {goal} first.",
        "{first} won the race.",
        "{first} was the first to reach {goal}."
    );
    tell!(
        t,
        "{second} was second and {last} was last.",
        "{second} came next, and {last} came last.",
        "after {first} came {second}, and then {last}."
    );
    match t.random.below(3) {
        0 => tell!(
            t,
            "{last} was sad, but {first} said, \"You were very good too.\"",
            "\"I will be faster next time,\" said {last}."
        ),
        1 => tell!(
            t,
            "{first} was very proud.",
            "{second} and {last} clapped for {first}.",
            "{first} got a medal."
        ),
        _ => tell!(
            t,
            "\"It was fun,\" said {last}.",
            "then all three of them rested in the grass."
        ),
    }
    match t.random.below(4) {
        0 => t.ask("Who won the race?", &format!("{first} won the race.")),
        1 => t.ask("Who was second?", &format!("{second} was second.")),
        2 => t.ask("Who came last?", &format!("{last} came last.")),
        _ => {}
    }
}

struct Recipe {
    dish: &'static str,
    parts: [&'static str; 3],
    wait: &'static str,
}

#[rustfmt::skip]
const RECIPES: &[Recipe] = &[
    Recipe { dish: "a cake", parts: ["flour", "eggs", "sugar"], wait: "put it in the oven" },
    Recipe { dish: "an apple pie", parts: ["flour", "butter", "apples"], wait: "put it in the oven" },
    Recipe { dish: "a soup", parts: ["carrots", "potatoes", "onions"], wait: "cooked it for an hour" },
    Recipe { dish: "a fruit salad", parts: ["bananas", "grapes", "pears"], wait: "put it in a big bowl" },
    Recipe { dish: "a loaf of bread", parts: ["flour", "water", "salt"], wait: "put it in the oven" },
    Recipe { dish: "a pot of jam", parts: ["berries", "sugar", "lemons"], wait: "cooked it for a long time" },
    Recipe { dish: "a pizza", parts: ["dough", "tomatoes", "cheese"], wait: "put it in the oven" },
    Recipe { dish: "a stew", parts: ["beans", "meat", "tomatoes"], wait: "cooked it until noon" },
];

/// Something is made of its parts and shared.
pub(super) fn baking(t: &mut Teller, scene: &Scene) {
    let a = scene.hero.name;
    let Person {
        name: elder,
        his: elder_his,
        ..
    } = scene.elder;
    let b = scene.friend.name;
    let Recipe {
        dish,
        parts: [first, second, third],
        wait,
    } = &RECIPES[t.random.below(RECIPES.len())];
    let dish_noun = dish.split_once(' ').map_or(*dish, |(_, noun)| noun);
    tell!(
        t,
        "{a} was hungry.",
        "{b} was coming to visit {a}.",
        "it was {elder}'s birthday.",
        "{a} wanted to make something good."
    );
    tell!(
        t,
        "\"Let us make {dish},\" said {elder}.",
        "\"Can we make {dish}?\" {a} asked {elder}.",
        "{elder} and {a} wanted to make {dish}."
    );
    tell!(
        t,
        "they needed {first}, {second} and {third}.",
        "\"We need {first}, {second} and {third},\" said {elder}."
    );
    let missing = *t.random.pick(&[first, second, third]);
    if t.random.chance(2) {
        tell!(
            t,
            "but they had no {missing}.",
            "but they could not find the {missing}."
        );
        tell!(
            t,
            "so {a} ran to the shop and bought some {missing}.",
            "{b} brought some {missing} from home."
        );
    }
    tell!(
        t,
        "{a} mixed the {first} and the {second}.",
        "first {a} took the {first} and the {second}."
    );
    tell!(
        t,
        "then {elder} added the {third}.",
        "after that came the {third}."
    );
    tell!(t, "they {wait}.", "{elder} {wait}.");
    tell!(
        t,
        "it smelled wonderful.",
        "soon the whole house smelled good.",
        "{elder} looked at {elder_his} work and smiled."
    );
    tell!(
        t,
        "they shared the {dish_noun} with {b}.",
        "{b} came and ate some of the {dish_noun}.",
        "everybody wanted some of the {dish_noun}."
    );
    match t.random.below(3) {
        0 => t.ask("What did they make?", &format!("They made {dish}.")),
        1 => t.ask(
            "What did they need?",
            &format!("They needed {first}, {second} and {third}."),
        ),
        _ => end_alone(t, scene.hero),
    }
}

/// A skill that takes three tries.
pub(super) fn practice(t: &mut Teller, scene: &Scene) {
    introduce(t, scene.hero);
    let Person { name: a, he, .. } = scene.hero;
    let Person { name: b, .. } = scene.friend;
    let (skill, failure, success) = t.random.pick(&[
        (
            "ride a bike",
            "fell into the grass",
            "rode all the way down the road",
        ),
        ("whistle", "could not make a sound", "whistled a whole song"),
        (
            "juggle",
            "dropped all the balls",
            "kept three balls in the air",
        ),
        ("swim", "swallowed some water", "swam to the other side"),
        (
            "tie a knot",
            "got the rope in a tangle",
            "tied a strong knot",
        ),
        (
            "climb the tall tree",
            "slid down again",
            "sat on the highest branch",
        ),
        (
            "jump over the stream",
            "landed in the water",
            "landed on the other side",
        ),
        ("skate", "fell on the ice", "skated in a big circle"),
        (
            "draw a horse",
            "drew something like a dog",
            "drew a beautiful horse",
        ),
        ("play the drum", "lost the beat", "played a whole march"),
        (
            "stand on one leg",
            "fell over at once",
            "stood still like a stork",
        ),
    ]);
    tell!(
        t,
        "{he} wanted to learn to {skill}.",
        "{a} could not {skill} yet.",
        "{b} could {skill}, but {a} could not."
    );
    tell!(
        t,
        "{he} tried, but {he} {failure}.",
        "the first time, {he} {failure}."
    );
    tell!(
        t,
        "\"I will never learn it,\" said {a}.",
        "{a} wanted to give up.",
        "{a} was angry."
    );
    tell!(
        t,
        "\"Try again,\" said {b}.",
        "\"Do it slowly,\" {b} said.",
        "{b} showed {a} how to do it."
    );
    tell!(
        t,
        "{a} tried again and {failure}.",
        "the second time, {a} {failure} too.",
        "but {a} {failure} again."
    );
    let days = number_word(t.random.between(2, 9));
    tell!(
        t,
        "{he} practiced for {days} days.",
        "every day for {days} days, {he} tried again."
    );
    tell!(
        t,
        "then {he} {success}!",
        "at last {he} {success}.",
        "one day, {he} {success}."
    );
    tell!(
        t,
        "\"You did it!\" said {b}.",
        "{a} was very proud.",
        "now {a} could {skill}."
    );
    match t.random.below(3) {
        0 => t.ask(
            &format!("What did {a} want to learn?"),
            &format!("{he} wanted to learn to {skill}."),
        ),
        1 => t.ask(
            &format!("How long did {a} practice?"),
            &format!("{he} practiced for {days} days."),
        ),
        _ => end_alone(t, scene.hero),
    }
}
