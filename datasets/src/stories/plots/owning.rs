//! Plots about who has what.

use crate::stories::frame::{end_alone, end_together, introduce, open_together};
use crate::stories::lexicon::{COLORS, Item, Person, article, number_word};
use crate::stories::teller::{Scene, Teller, tell};

/// Two people exchange what they have.
pub(super) fn trade(t: &mut Teller, scene: &Scene) {
    open_together(t, scene);
    let Person { name: a, him, .. } = scene.hero;
    let Person {
        name: b,
        him: b_him,
        ..
    } = scene.friend;
    let [mine, yours] = t.items();
    let (a_mine, the_mine, mine) = (mine.a(), mine.the(), mine.noun);
    let (a_yours, the_yours, yours) = (yours.a(), yours.the(), yours.noun);
    tell!(
        t,
        "{a} had {a_mine}, and {b} had {a_yours}.",
        "{a} was holding {a_mine}, and {b} was holding {a_yours}."
    );
    tell!(
        t,
        "{a} liked the {yours} very much.",
        "{a} thought that the {yours} was wonderful."
    );
    tell!(
        t,
        "\"I will give you my {mine} for your {yours},\" said {a}.",
        "\"Do you want to trade?\" asked {a}.",
        "\"Can we trade?\" {a} asked {b_him}.",
    );
    if t.random.chance(4) {
        tell!(
            t,
            "\"No, I want to keep my {yours},\" said {b}.",
            "\"I am sorry, but I love my {yours},\" said {b}."
        );
        tell!(
            t,
            "so {a} kept {the_mine}.",
            "so {b} kept {the_yours}, and {a} kept {the_mine}."
        );
        tell!(
            t,
            "\"We can play with both,\" said {b}.",
            "\"But you may look at it,\" {b} told {him}."
        );
        t.ask(
            &format!("Who had {the_yours} in the end?"),
            &format!("{b} had {the_yours}."),
        );
        return;
    }
    tell!(
        t,
        "\"Yes, that is a good idea,\" said {b}.",
        "{b} thought about it and said yes.",
        "\"All right,\" said {b}."
    );
    tell!(
        t,
        "{a} gave the {mine} to {b}, and {b} gave the {yours} to {a}.",
        "so {a} gave {b} the {mine}, and {b} gave {a} the {yours}.",
    );
    tell!(
        t,
        "now {a} had the {yours} and {b} had the {mine}.",
        "now the {mine} was {b}'s and the {yours} was {a}'s."
    );
    match t.random.below(3) {
        0 => t.ask(
            &format!("Who had {the_mine} in the end?"),
            &format!("{b} had {the_mine}."),
        ),
        1 => t.ask(
            &format!("What did {a} have in the end?"),
            &format!("{a} had {the_yours}."),
        ),
        _ => end_together(t, scene),
    }
}

/// A thing is lent, used and brought back.
pub(super) fn lend(t: &mut Teller, scene: &Scene) {
    let Person {
        name: a, he, his, ..
    } = scene.hero;
    let Person {
        name: b, he: b_he, ..
    } = scene.friend;
    introduce(t, scene.hero);
    let item = t.item();
    let (a_thing, the_thing, thing) = (item.a(), item.the(), item.noun);
    tell!(
        t,
        "{he} had {a_thing} that {he} loved.",
        "{his} favorite thing was {a_thing}.",
        "{a} owned {a_thing}."
    );
    let day = t.random.pick(&["Monday", "Tuesday", "Wednesday"]);
    tell!(
        t,
        "on {day}, {b} asked, \"May I borrow your {thing}?\"",
        "\"Can I have your {thing} for a while?\" {b} asked on {day}."
    );
    tell!(
        t,
        "\"Yes, but please bring it back,\" said {a}.",
        "\"Yes, but take good care of it,\" {a} said.",
        "{a} thought for a moment and gave the {thing} to {b}.",
    );
    tell!(
        t,
        "{b} took {the_thing} home.",
        "{b} carried the {thing} home and put it next to the bed."
    );
    let back = t.random.pick(&["Thursday", "Friday", "Saturday", "Sunday"]);
    if t.random.chance(5) {
        tell!(
            t,
            "on {back}, {b} forgot to bring it back.",
            "{back} came, but {b} did not bring it back."
        );
        tell!(t, "{a} was a little sad.", "{a} waited all day.");
        tell!(
            t,
            "in the evening {b} ran to {a}'s house with the {thing}.",
            "the next morning, {b} came with the {thing}."
        );
        tell!(
            t,
            "\"I am sorry that I am late,\" {b_he} said.",
            "\"Sorry, I forgot,\" said {b}."
        );
    } else {
        tell!(
            t,
            "on {back}, {b} brought the {thing} back.",
            "{b} gave the {thing} back to {a} on {back}."
        );
        tell!(
            t,
            "it was still clean and whole.",
            "it looked just as before.",
            "{b} had taken good care of it."
        );
        tell!(
            t,
            "\"Thank you for the {thing},\" said {b}.",
            "\"You are a good friend,\" {a} said."
        );
    }
    match t.random.below(3) {
        0 => t.ask(
            &format!("Whose {thing} was it?"),
            &format!("It was {a}'s {thing}."),
        ),
        1 => t.ask(
            &format!("Who borrowed the {thing}?"),
            &format!("{b} borrowed it."),
        ),
        _ => end_alone(t, scene.hero),
    }
}

/// A birthday present, guessed and opened.
pub(super) fn gift(t: &mut Teller, scene: &Scene) {
    let Person {
        name: a, he, him, ..
    } = scene.hero;
    let [item, guess] = t.items();
    let (a_thing, the_thing, thing, color) = (item.a(), item.the(), item.noun, item.adjective);
    let age = number_word(t.random.between(4, 11));
    let guess = Item {
        adjective: "new",
        ..guess
    }
    .a();
    tell!(
        t,
        "it was {a}'s birthday.",
        "today was {a}'s birthday.",
        "today {a} was {age} years old."
    );
    let giver = if t.random.chance(2) {
        scene.friend
    } else {
        scene.elder
    };
    let Person {
        name: giver,
        his: giver_his,
        ..
    } = giver;
    tell!(
        t,
        "{giver} came with a box.",
        "{giver} gave {him} a box with a ribbon.",
        "{giver} had a present for {him}."
    );
    tell!(
        t,
        "\"Guess what it is,\" said {giver}.",
        "\"What is in it?\" asked {a}.",
        "{a} shook the box and listened."
    );
    tell!(
        t,
        "\"Is it {guess}?\" asked {a}.",
        "\"I think that it is {guess},\" {a} said."
    );
    tell!(
        t,
        "\"No, it is not,\" {giver} said and laughed.",
        "\"No, try again,\" said {giver}.",
        "{giver} shook {giver_his} head."
    );
    tell!(
        t,
        "{a} opened the box.",
        "then {a} opened it.",
        "{a} could not wait and opened the box."
    );
    tell!(
        t,
        "in it was {a_thing}.",
        "inside {he} found {a_thing}.",
        "it was {a_thing}!"
    );
    tell!(
        t,
        "\"That is just what I wanted!\" said {a}.",
        "\"I love my {thing},\" said {a}.",
        "{a} thanked {giver} and played with the {thing} all day.",
    );
    match t.random.below(4) {
        0 => t.ask(
            "What was in the box?",
            &format!("{the_thing} was in the box."),
        ),
        1 => t.ask(
            &format!("Who gave {a} the {thing}?"),
            &format!("{giver} did."),
        ),
        2 if COLORS.contains(&color) => {
            t.ask(
                &format!("What color was the {thing}?"),
                &format!("The {thing} was {color}."),
            );
        }
        _ => end_alone(t, scene.hero),
    }
}

/// Everybody gets what they like.
pub(super) fn favorite_colors(t: &mut Teller, scene: &Scene) {
    let (a, b, elder) = (scene.hero.name, scene.friend.name, scene.elder.name);
    let item = t.item().noun;
    let [first, second] = t.random.distinct(COLORS);
    let (an, another) = (article(first), article(second));
    let price = number_word(t.random.between(2, 9));
    tell!(
        t,
        "{a} liked {first} things, and {b} liked {second} things.",
        "{a}'s favorite color was {first}, and {b}'s was {second}.",
        "{a} loved the color {first}, but {b} loved {second}."
    );
    tell!(
        t,
        "one day {elder} went to the market.",
        "{elder} wanted to buy something for them.",
        "{elder} went to a shop with {price} coins."
    );
    tell!(
        t,
        "{elder} bought {an} {first} {item} and {another} {second} {item}.",
        "there {elder} saw {an} {first} {item} and {another} {second} {item} and bought both."
    );
    tell!(
        t,
        "\"Who wants which {item}?\" {elder} asked.",
        "at home {elder} called {a} and {b}.",
        "\"These are for you,\" said {elder}."
    );
    tell!(
        t,
        "{a} took the {first} {item}.",
        "\"I want the {first} {item},\" said {a}.",
        "so {a} got the {first} {item}."
    );
    tell!(
        t,
        "{b} took the {second} {item}.",
        "\"And I want the {second} {item},\" said {b}.",
        "and {b} got the {second} {item}."
    );
    tell!(
        t,
        "both were happy with it.",
        "\"Thank you, {elder}!\" they said.",
        "they did not have to fight."
    );
    match t.random.below(4) {
        0 => t.ask(
            &format!("Who had the {first} {item}?"),
            &format!("{a} had the {first} {item}."),
        ),
        1 => t.ask(
            &format!("What color was {b}'s {item}?"),
            &format!("{b}'s {item} was {second}."),
        ),
        2 => t.ask(
            &format!("What was {a}'s favorite color?"),
            &format!("{a}'s favorite color was {first}."),
        ),
        _ => end_together(t, scene),
    }
}
