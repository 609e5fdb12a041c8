//! Plots about animals.

use crate::stories::frame::{end_alone, end_together, open_alone};
use crate::stories::lexicon::{ANIMALS, Animal, PET_NAMES, Person, article};
use crate::stories::teller::{Scene, Teller, tell};

/// An animal is fed and brought home.
pub(super) fn hungry_animal(t: &mut Teller, scene: &Scene) {
    let scene = scene.at(t.place(true));
    open_alone(t, &scene);
    let Person {
        name: a, he, him, ..
    } = scene.hero;
    let Animal {
        kind,
        food,
        thanks,
        home,
    } = t.random.pick(ANIMALS);
    let size = t.random.pick(&[
        "little", "small", "young", "old", "white", "brown", "gray", "thin", "tired",
    ]);
    let an = article(size);
    let [spot] = t.spots(scene.place);
    tell!(
        t,
        "{he} saw {an} {size} {kind} {spot}.",
        "{spot} there was {an} {size} {kind}.",
        "{an} {size} {kind} sat {spot}."
    );
    tell!(
        t,
        "it was hungry.",
        "the {kind} looked hungry.",
        "it had not eaten all day."
    );
    tell!(
        t,
        "\"Are you hungry?\" asked {a}.",
        "\"Poor {kind},\" said {a}.",
        "{a} wanted to help the {kind}."
    );
    tell!(
        t,
        "{a} gave it {food}.",
        "{he} had {food} and gave it to the {kind}.",
        "{he} ran home and came back with {food}."
    );
    tell!(
        t,
        "the {kind} ate it all and {thanks}.",
        "the {kind} ate and {thanks}.",
        "it {thanks} and ate everything."
    );
    tell!(
        t,
        "\"Where do you live?\" {a} asked.",
        "then {a} wanted to take it home.",
        "it wanted to go home, and {a} went with it."
    );
    tell!(
        t,
        "the {kind} lived in {home}.",
        "they walked until they came to {home}.",
        "{a} brought the {kind} to {home}."
    );
    if t.random.chance(2) {
        tell!(
            t,
            "the next day, the {kind} waited for {him}.",
            "from then on, the {kind} was {a}'s friend.",
            "{a} came to see it every day."
        );
    }
    match t.random.below(4) {
        0 => t.ask(
            &format!("What did the {kind} eat?"),
            &format!("It ate {food}."),
        ),
        1 => t.ask(
            &format!("Where did {a} see the {kind}?"),
            &format!("{he} saw it {spot}."),
        ),
        2 => t.ask(
            &format!("Why did {a} feed the {kind}?"),
            "Because it was hungry.",
        ),
        _ => end_alone(t, scene.hero),
    }
}

/// A pet is searched for.
pub(super) fn lost_pet(t: &mut Teller, scene: &Scene) {
    let Person {
        name: a, him, his, ..
    } = scene.hero;
    let b = scene.friend.name;
    let scene = scene.at(t.place(true));
    let pet = t.random.pick(PET_NAMES);
    let kind = t.random.pick(&[
        "dog", "cat", "rabbit", "puppy", "kitten", "turtle", "goat", "duck", "parrot", "hamster",
    ]);
    let color = t.random.pick(&[
        "white", "black", "brown", "gray", "small", "fat", "young", "old",
    ]);
    let an = article(color);
    let [first, second, right] = t.spots(scene.place);
    let inside = scene.place.inside;
    tell!(
        t,
        "{a} had {an} {color} {kind} named {pet}.",
        "{a}'s {kind} was called {pet}, and it was {color}."
    );
    tell!(
        t,
        "one day {pet} ran away.",
        "one morning {pet} was gone.",
        "but today {pet} did not come home."
    );
    tell!(
        t,
        "{a} asked {b} to help {him} look for {pet}.",
        "\"Where is {pet}?\" {a} asked {b}.",
        "{a} and {b} went out to find {pet}."
    );
    tell!(
        t,
        "they searched {inside}.",
        "first they looked for {pet} {inside}."
    );
    tell!(
        t,
        "{b} looked {first}, but {pet} was not there.",
        "{b} did not find {pet} {first}."
    );
    tell!(
        t,
        "{a} looked {second}, but found only a leaf.",
        "{pet} was not {second} either."
    );
    tell!(
        t,
        "they called, \"{pet}! {pet}!\"",
        "then they heard a small sound.",
        "\"Be quiet and listen,\" said {b}."
    );
    tell!(
        t,
        "{pet} was {right}!",
        "and there, {right}, was {pet}.",
        "{a} ran and found {pet} {right}."
    );
    tell!(
        t,
        "{a} took {pet} in {his} arms.",
        "{a} carried {pet} home.",
        "\"Never run away again,\" {a} said."
    );
    match t.random.below(4) {
        0 => t.ask(&format!("Where was {pet}?"), &format!("{pet} was {right}.")),
        1 => t.ask(
            &format!("Who was {pet}?"),
            &format!("{pet} was {a}'s {kind}."),
        ),
        2 => t.ask(
            &format!("Where did {b} look?"),
            &format!("{b} looked {first}."),
        ),
        _ => end_together(t, &scene),
    }
}
