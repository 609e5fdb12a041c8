//! Plots about where a thing is.

use crate::stories::frame::{end_alone, end_together, open_alone, open_together};
use crate::stories::lexicon::{COLORS, Person, article};
use crate::stories::teller::{Scene, Teller, tell};

const ERRANDS: &[&str] = &[
    "to drink some water",
    "to wash the dishes",
    "to eat lunch",
    "to feed the cat",
    "to help Grandma",
    "to open the gate",
    "to talk to a neighbor",
    "to get some bread",
    "to look at the clouds",
];

/// A thing is moved while its owner is away, who looks for it where it was left.
pub(super) fn moved_while_away(t: &mut Teller, scene: &Scene) {
    open_together(t, scene);
    let Person { name: a, he, .. } = scene.hero;
    let b = scene.friend.name;
    let item = t.item();
    let (a_thing, thing) = (item.a(), item.noun);
    let [first, second] = t.spots(scene.place);
    tell!(
        t,
        "{a} had {a_thing}.",
        "{a} had brought {a_thing}.",
        "{a} was holding {a_thing}."
    );
    tell!(
        t,
        "{he} put the {thing} {first}.",
        "{a} left the {thing} {first}."
    );
    let errand = t.random.pick(ERRANDS);
    tell!(
        t,
        "then {he} went away {errand}.",
        "after that, {a} left {errand}.",
        "then {a} had to go {errand}."
    );
    tell!(
        t,
        "while {a} was away, {b} put the {thing} {second}.",
        "{b} took the {thing} and hid it {second}.",
        "then {b} moved the {thing} and put it {second}.",
    );
    if t.random.chance(2) {
        tell!(
            t,
            "{a} did not see this.",
            "{a} did not know about it.",
            "nobody told {a}."
        );
    }
    tell!(
        t,
        "when {a} came back, {he} looked {first}.",
        "soon {a} came back and looked {first}."
    );
    tell!(
        t,
        "the {thing} was not there!",
        "but the {thing} was gone.",
        "there was no {thing} there."
    );
    if t.random.chance(2) {
        tell!(
            t,
            "\"Where is my {thing}?\" {he} asked.",
            "\"Who took my {thing}?\" asked {a}."
        );
        tell!(
            t,
            "\"I put it {second},\" said {b}.",
            "\"Look {second},\" said {b} with a smile.",
            "\"It is {second},\" {b} said.",
        );
    } else {
        tell!(
            t,
            "{b} told {a} where it was.",
            "{b} laughed and showed {a} the right place."
        );
    }
    tell!(
        t,
        "{a} found the {thing} {second}.",
        "{a} looked {second}, and there was the {thing}."
    );
    match t.random.below(3) {
        0 => t.ask(
            &format!("Where did {a} look first?"),
            &format!("{he} looked {first}."),
        ),
        1 => t.ask(
            &format!("Where did {a} find the {thing}?"),
            &format!("{he} found it {second}."),
        ),
        _ => end_together(t, scene),
    }
}

/// A thing changes hands and is put away; later its first owner looks for it.
pub(super) fn put_away(t: &mut Teller, scene: &Scene) {
    open_together(t, scene);
    let Person { name: a, he, .. } = scene.hero;
    let b = scene.friend.name;
    let item = t.item();
    let (a_thing, the_thing, thing) = (item.a(), item.the(), item.noun);
    let [spot, wrong] = t.spots(scene.place);
    if t.random.chance(2) {
        tell!(t, "{a} had {a_thing}.", "{a} was playing with {a_thing}.");
        tell!(
            t,
            "{he} gave {the_thing} to {b}.",
            "{a} gave it to {b}.",
            "{a} let {b} have {the_thing}."
        );
    } else {
        tell!(
            t,
            "{a} gave {b} {a_thing}.",
            "{a} handed {a_thing} to {b}.",
            "{a} showed {b} {a_thing} and gave it away."
        );
    }
    if t.random.chance(2) {
        tell!(
            t,
            "\"Thank you, {a},\" said {b}.",
            "\"How nice!\" said {b}.",
            "{b} looked at it for a long time."
        );
    }
    tell!(
        t,
        "{b} put the {thing} {spot}.",
        "{b} laid the {thing} {spot}.",
        "then {b} put it {spot}."
    );
    tell!(
        t,
        "later {a} looked for the {thing}.",
        "after some time, {a} wanted to see the {thing} again.",
        "in the afternoon, {a} looked for it.",
    );
    if t.random.chance(2) {
        tell!(
            t,
            "first {he} looked {wrong}, but it was not there.",
            "it was not {wrong}."
        );
    }
    tell!(
        t,
        "it was {spot}.",
        "{he} found it {spot}.",
        "the {thing} was still {spot}."
    );
    match t.random.below(4) {
        0 => t.ask(
            &format!("Where was the {thing}?"),
            &format!("It was {spot}."),
        ),
        1 => t.ask(
            &format!("Who put the {thing} {spot}?"),
            &format!("{b} did."),
        ),
        2 => t.ask(
            &format!("Who gave {the_thing} to {b}?"),
            &format!("{a} gave it to {b}."),
        ),
        _ => end_together(t, scene),
    }
}

/// Three things find their places.
pub(super) fn tidy(t: &mut Teller, scene: &Scene) {
    let scene = scene.at(t.place(false));
    let Person { name: a, he, .. } = scene.hero;
    let Person {
        name: elder,
        he: elder_he,
        ..
    } = scene.elder;
    let (room, inside) = (scene.place.name, scene.place.inside);
    tell!(t, "{room} was a mess.", "there was a big mess {inside}.");
    tell!(
        t,
        "\"Please tidy up, {a},\" said {elder}.",
        "{elder} asked {a} to clean up."
    );
    let items = t.items::<3>();
    let spots = t.spots::<3>(scene.place);
    for (step, (item, spot)) in items.into_iter().zip(spots).enumerate() {
        let the_thing = item.the();
        match step {
            0 => tell!(
                t,
                "{a} put {the_thing} {spot}.",
                "first {a} put {the_thing} {spot}."
            ),
            1 => tell!(
                t,
                "then {he} put {the_thing} {spot}.",
                "next, {he} put {the_thing} {spot}.",
                "{he} laid {the_thing} {spot}."
            ),
            _ => tell!(
                t,
                "last of all, {a} put {the_thing} {spot}.",
                "at the end {he} put {the_thing} {spot}."
            ),
        }
    }
    tell!(
        t,
        "now {room} was clean.",
        "soon everything was in its place.",
        "now everything looked neat."
    );
    tell!(
        t,
        "\"Well done!\" said {elder}.",
        "{elder} was proud of {a}.",
        "when {elder} came in, {elder_he} smiled."
    );
    let questions = t.random.between(0, 2);
    let [first, second] = t.random.distinct(&[0, 1, 2]);
    for asked in [first, second].into_iter().take(questions) {
        let the_thing = items[asked].the();
        t.ask(
            &format!("Where was {the_thing}?"),
            &format!("It was {}.", spots[asked]),
        );
    }
    if questions == 0 {
        end_alone(t, scene.hero);
    }
}

/// A coin under one of three cups.
pub(super) fn three_cups(t: &mut Teller, scene: &Scene) {
    let Person { name: a, he, .. } = scene.hero;
    let Person {
        name: b,
        he: b_he,
        him: b_him,
        his: b_his,
        ..
    } = scene.friend;
    let [red, blue, green] = t.random.distinct(COLORS);
    let [a_red, a_blue, a_green] = [red, blue, green].map(article);
    let prize = t.random.pick(&[
        "coin", "nut", "ring", "marble", "bean", "button", "pearl", "berry",
    ]);
    let [right, wrong] = t.random.distinct(&[red, blue, green]);
    tell!(
        t,
        "{a} and {b} played a game.",
        "{a} showed {b} a new game."
    );
    tell!(
        t,
        "there were three cups on the table: {a_red} {red} cup, {a_blue} {blue} cup and {a_green} {green} cup.",
        "{a} put three cups on the table, and they were {red}, {blue} and {green}.",
    );
    tell!(
        t,
        "{b} closed {b_his} eyes.",
        "\"Close your eyes,\" said {a}."
    );
    tell!(
        t,
        "{a} hid a {prize} under the {right} cup.",
        "then {a} put a {prize} under the {right} cup."
    );
    tell!(
        t,
        "\"Where is the {prize}?\" {he} asked.",
        "\"Now find the {prize}!\" said {a}."
    );
    if t.random.chance(3) {
        tell!(
            t,
            "{b} lifted the {right} cup.",
            "{b} pointed to the {right} cup, and {a} lifted it."
        );
    } else {
        tell!(
            t,
            "first {b} lifted the {wrong} cup, but there was nothing under it.",
            "{b} looked under the {wrong} cup, but it was empty."
        );
        tell!(
            t,
            "then {b_he} lifted the {right} cup.",
            "\"Try again,\" {a} told {b_him}, and {b} lifted the {right} cup."
        );
    }
    tell!(
        t,
        "there was the {prize}!",
        "the {prize} was there!",
        "under it was the {prize}."
    );
    match t.random.below(3) {
        0 => t.ask(
            &format!("Under which cup was the {prize}?"),
            &format!("It was under the {right} cup."),
        ),
        1 => t.ask(&format!("Who hid the {prize}?"), &format!("{a} hid it.")),
        _ => end_together(t, scene),
    }
}

/// Something is lost, looked for in wrong places and found.
pub(super) fn lost(t: &mut Teller, scene: &Scene) {
    open_alone(t, scene);
    let Person {
        name: a, he, his, ..
    } = scene.hero;
    let b = scene.friend.name;
    let item = t.item();
    let (the_adjective, thing) = (item.adjective, item.noun);
    let [right, first, second] = t.spots(scene.place);
    tell!(
        t,
        "{he} could not find {his} {the_adjective} {thing}.",
        "{he} had lost {his} {the_adjective} {thing}.",
        "{his} {the_adjective} {thing} was missing.",
    );
    tell!(
        t,
        "{a} was sad.",
        "{a} felt very sad.",
        "this made {a} sad."
    );
    tell!(
        t,
        "{he} looked {first}, but it was not there.",
        "the {thing} was not {first}."
    );
    tell!(
        t,
        "{he} looked {second}, but it was not there either.",
        "it was not {second} either."
    );
    tell!(
        t,
        "then {b} came by.",
        "{a} asked {b} for help.",
        "{b} wanted to help."
    );
    tell!(
        t,
        "\"Did you look {right}?\" asked {b}.",
        "\"Maybe it is {right},\" {b} said.",
        "\"I saw it {right},\" said {b}."
    );
    tell!(
        t,
        "{a} looked {right} and found the {thing}.",
        "and {right}, {a} found the {thing}!"
    );
    tell!(
        t,
        "\"Thank you, {b}!\" said {a}.",
        "{a} was so happy that {he} hugged {b}.",
        "{a} was not sad any more."
    );
    match t.random.below(3) {
        0 => t.ask(
            &format!("Where was the {thing}?"),
            &format!("It was {right}."),
        ),
        1 => t.ask(
            &format!("What had {a} lost?"),
            &format!("{a} had lost {his} {thing}."),
        ),
        _ => end_together(t, scene),
    }
}
