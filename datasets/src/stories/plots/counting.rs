//! Plots about how many.

use crate::stories::frame::{end_together, open_together};
use crate::stories::lexicon::{COLLECTIBLES, FINDS, FOODS, Person, number_word};
use crate::stories::teller::{Scene, Teller, tell};

/// Some of one's things are given to the other.
pub(super) fn share(t: &mut Teller, scene: &Scene) {
    open_together(t, scene);
    let Person { name: a, he, .. } = scene.hero;
    let Person {
        name: b, he: b_he, ..
    } = scene.friend;
    let kinds = t.random.pick(&[FOODS, COLLECTIBLES]);
    let kind = t.random.pick(kinds);
    let many = kind.many;
    let had = t.random.between(3, 10);
    let given = t.random.between(1, had - 1);
    let other_had = if t.random.chance(2) {
        0
    } else {
        t.random.between(1, 6)
    };
    let (a_had, b_had, a_gave) = (kind.count(had), kind.count(other_had), kind.count(given));
    tell!(
        t,
        "{a} had {a_had}.",
        "{a} had a bag with {a_had}.",
        "in {a}'s basket there were {a_had}."
    );
    if other_had == 0 {
        tell!(t, "{b} had no {many}.", "{b} did not have any {many}.");
    } else {
        tell!(t, "{b} had {b_had}.", "{b} had only {b_had}.");
    }
    tell!(
        t,
        "\"May I have some of your {many}?\" asked {b}.",
        "\"I would like some {many},\" said {b}.",
        "{b} looked at {a}'s {many}."
    );
    tell!(
        t,
        "{a} gave {a_gave} to {b}.",
        "{a} gave {b} {a_gave}.",
        "so {a} gave {b} {a_gave}."
    );
    let (left, total) = (number_word(had - given), number_word(other_had + given));
    if t.random.chance(2) {
        tell!(
            t,
            "\"Thank you,\" said {b}.",
            "\"You are so kind,\" {b} said."
        );
    }
    tell!(
        t,
        "now {a} had {left} and {b} had {total}.",
        "then {a} had {left} left, and {b} had {total}."
    );
    match t.random.below(3) {
        0 => t.ask(
            &format!("How many {many} did {a} have in the end?"),
            &format!("{he} had {}.", kind.count(had - given)),
        ),
        1 => t.ask(
            &format!("How many {many} did {b} have in the end?"),
            &format!("{b_he} had {}.", kind.count(other_had + given)),
        ),
        _ => end_together(t, scene),
    }
}

/// Things found in two places are counted.
pub(super) fn gather(t: &mut Teller, scene: &Scene) {
    let scene = scene.at(t.place(true));
    open_together(t, &scene);
    let Person { name: a, he, .. } = scene.hero;
    let b = scene.friend.name;
    let kind = t.random.pick(FINDS);
    let many = kind.many;
    let [here, there] = t.spots(scene.place);
    let (first, second) = (t.random.between(1, 5), t.random.between(1, 5));
    let (found_first, found_second) = (kind.count(first), kind.count(second));
    let total = first + second;
    tell!(
        t,
        "they wanted to find {many}.",
        "they were looking for {many}.",
        "\"Let us look for {many},\" said {a}."
    );
    tell!(
        t,
        "{a} found {found_first} {here}.",
        "{here}, {a} found {found_first}."
    );
    tell!(
        t,
        "{b} found {found_second} {there}.",
        "{there}, {b} found {found_second}."
    );
    tell!(
        t,
        "they put them together and counted.",
        "\"How many do we have?\" asked {b}.",
        "then they counted all of them."
    );
    if total <= 7 {
        let counted: Vec<String> = (1..=total).map(number_word).collect();
        let counted = counted.join(", ");
        tell!(
            t,
            "{counted}!",
            "they counted: {counted}.",
            "{a} counted them: {counted}."
        );
    }
    let all = kind.count(total);
    tell!(
        t,
        "together they had {all}.",
        "there were {all}.",
        "they had found {all}."
    );
    match t.random.below(4) {
        0 => t.ask(
            &format!("How many {many} did they have together?"),
            &format!("They had {all}."),
        ),
        1 => t.ask(
            &format!("How many {many} did {a} find?"),
            &format!("{he} found {found_first}."),
        ),
        2 => t.ask(
            &format!("Where did {b} find {found_second}?"),
            &format!(
                "{b} found {} {there}.",
                if second == 1 { "it" } else { "them" }
            ),
        ),
        _ => end_together(t, &scene),
    }
}

/// Food on a plate becomes less.
pub(super) fn eat(t: &mut Teller, scene: &Scene) {
    let Person { name: a, he, .. } = scene.hero;
    let b = scene.friend.name;
    let elder = scene.elder.name;
    let kind = t.random.pick(FOODS);
    let many = kind.many;
    let start = t.random.between(4, 12);
    let first = t.random.between(1, 3.min(start - 2));
    let second = t.random.between(1, 3.min(start - first - 1));
    let dish = t.random.pick(&["plate", "bowl", "tray", "big dish"]);
    let (all, eaten_first, eaten_second) =
        (kind.count(start), number_word(first), number_word(second));
    tell!(
        t,
        "{elder} put {all} on a {dish}.",
        "there were {all} on the {dish}.",
        "{elder} gave the children a {dish} with {all}."
    );
    tell!(
        t,
        "{a} and {b} were hungry.",
        "{a} and {b} came in from the garden.",
        "\"You may eat some,\" {elder} said."
    );
    tell!(
        t,
        "{a} ate {eaten_first} of them.",
        "{a} took {eaten_first} and ate.",
        "first {a} ate {eaten_first}."
    );
    let rest = start - first;
    let now = number_word(rest);
    if t.random.chance(2) {
        let were = if rest == 1 { "was" } else { "were" };
        tell!(
            t,
            "now there {were} {now} left.",
            "then there {were} {now}."
        );
    }
    tell!(
        t,
        "then {b} ate {eaten_second}.",
        "{b} ate {eaten_second} of them.",
        "{b} was hungry too and ate {eaten_second}."
    );
    let left = rest - second;
    let (were, remaining) = (if left == 1 { "was" } else { "were" }, kind.count(left));
    tell!(
        t,
        "there {were} {remaining} left.",
        "now {remaining} {were} left on the {dish}."
    );
    match t.random.below(3) {
        0 => t.ask(
            &format!("How many {many} did {a} eat?"),
            &format!("{he} ate {}.", kind.count(first)),
        ),
        1 => t.ask(
            &format!("How many {many} were left?"),
            &format!("There {were} {remaining} left."),
        ),
        _ => tell!(
            t,
            "\"Keep the rest for tomorrow,\" said {elder}.",
            "{a} and {b} were not hungry any more.",
            "\"They were very good,\" said {b}."
        ),
    }
}

/// Who has more?
pub(super) fn compare(t: &mut Teller, scene: &Scene) {
    open_together(t, scene);
    let (a, b) = (scene.hero.name, scene.friend.name);
    let kind = t.random.pick(COLLECTIBLES);
    let many = kind.many;
    let more = t.random.between(3, 12);
    let fewer = t.random.between(1, more - 1);
    let (rich, poor) = if t.random.chance(2) { (a, b) } else { (b, a) };
    let (a_has, b_has) = if rich == a {
        (more, fewer)
    } else {
        (fewer, more)
    };
    let (a_count, b_count) = (kind.count(a_has), kind.count(b_has));
    let difference = more - fewer;
    let by = number_word(difference);
    tell!(
        t,
        "both of them collected {many}.",
        "they liked to collect {many}.",
        "they talked about their {many}."
    );
    tell!(t, "{a} had {a_count}.", "\"I have {a_count},\" said {a}.");
    tell!(
        t,
        "{b} had {b_count}.",
        "\"And I have {b_count},\" said {b}."
    );
    tell!(
        t,
        "so {rich} had {by} more than {poor}.",
        "{rich} had {by} more than {poor}.",
        "{poor} had {by} fewer than {rich}."
    );
    if difference.is_multiple_of(2) {
        let (moved, each) = (
            kind.count(difference / 2),
            number_word(more - difference / 2),
        );
        tell!(
            t,
            "{rich} wanted to be fair.",
            "\"That is not fair,\" said {rich}.",
            "{poor} looked a little sad."
        );
        tell!(
            t,
            "{rich} gave {moved} to {poor}.",
            "so {rich} gave {poor} {moved}."
        );
        tell!(t, "now both had {each}.", "now each of them had {each}.");
        if t.random.chance(2) {
            return t.ask(
                &format!("How many {many} did {poor} have in the end?"),
                &format!("{poor} had {}.", kind.count(more - difference / 2)),
            );
        }
        return end_together(t, scene);
    }
    match t.random.below(3) {
        0 => t.ask(
            &format!("Who had more {many}?"),
            &format!("{rich} had more."),
        ),
        1 => t.ask(
            &format!("Who had fewer {many}?"),
            &format!("{poor} had fewer."),
        ),
        _ => end_together(t, scene),
    }
}

/// A number of things is divided among friends.
pub(super) fn divide(t: &mut Teller, scene: &Scene) {
    let (a, b, c) = (scene.hero.name, scene.friend.name, scene.third.name);
    let elder = scene.elder.name;
    let kind = t.random.pick(FOODS);
    let many = kind.many;
    let each = t.random.between(1, 5);
    let three = t.random.chance(2);
    let people = if three { 3 } else { 2 };
    let (all, share) = (kind.count(each * people), kind.count(each));
    let (number, names) = (
        number_word(people),
        if three {
            format!("{a}, {b} and {c}")
        } else {
            format!("{a} and {b}")
        },
    );
    tell!(
        t,
        "{names} sat at the table.",
        "{names} came to visit {elder}.",
        "{names} were in the garden with {elder}."
    );
    tell!(
        t,
        "{elder} had {all} for them.",
        "{elder} brought a basket with {all}.",
        "{elder} had bought {all}."
    );
    tell!(
        t,
        "\"Share them,\" said {elder}.",
        "\"Everybody gets the same,\" said {elder}.",
        "\"How many does each of us get?\" asked {a}."
    );
    tell!(
        t,
        "there were {number} children.",
        "there were {number} of them.",
        "\"There are {number} of us,\" said {b}."
    );
    tell!(
        t,
        "each of them got {share}.",
        "so every child got {share}.",
        "{b} gave {share} to each child."
    );
    if t.random.chance(2) {
        tell!(
            t,
            "nobody got more than the others.",
            "\"That is fair,\" {b} said.",
            "they thanked {elder} and ate."
        );
    }
    match t.random.below(3) {
        0 => t.ask(
            &format!("How many {many} did each child get?"),
            &format!("Each child got {share}."),
        ),
        1 => t.ask(
            &format!("How many {many} were there?"),
            &format!(
                "There {} {all}.",
                if each * people == 1 { "was" } else { "were" }
            ),
        ),
        _ => end_together(t, scene),
    }
}
