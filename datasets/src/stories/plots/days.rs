//! Plots about time and causes.

use crate::stories::frame::{end_alone, end_together, introduce};
use crate::stories::lexicon::{PET_NAMES, Person, Place, number_word};
use crate::stories::teller::{Scene, Teller, tell};

struct Change {
    wish: &'static str,
    sky: &'static str,
    cause: &'static str,
    effect: &'static str,
    instead: &'static str,
    feeling: &'static str,
}

#[rustfmt::skip]
const CHANGES: &[Change] = &[
    Change { wish: "fly a kite", sky: "the wind stopped", cause: "there was no wind", effect: "the kite fell to the ground", instead: "ran races", feeling: "disappointed" },
    Change { wish: "have a picnic", sky: "it began to rain", cause: "it was raining", effect: "the blanket got wet", instead: "ate under the table", feeling: "sad" },
    Change { wish: "swim in the lake", sky: "a storm came up", cause: "there was a storm", effect: "the water was wild", instead: "played cards at home", feeling: "disappointed" },
    Change { wish: "build a snowman", sky: "the sun came out", cause: "it was too warm", effect: "all the snow melted", instead: "looked for the first flowers", feeling: "surprised" },
    Change { wish: "ride bikes", sky: "it started to snow", cause: "it was snowing", effect: "the road was white", instead: "built a snowman", feeling: "surprised" },
    Change { wish: "play ball", sky: "dark clouds came", cause: "it was raining", effect: "the grass was wet", instead: "painted pictures", feeling: "sad" },
    Change { wish: "look at the stars", sky: "the fog came", cause: "it was foggy", effect: "they could not see the sky", instead: "told stories by the fire", feeling: "disappointed" },
    Change { wish: "paint the fence", sky: "it began to rain", cause: "it was raining", effect: "the paint would not dry", instead: "baked bread", feeling: "a little angry" },
    Change { wish: "sail a toy boat", sky: "it got very cold", cause: "it was so cold", effect: "the pond was frozen", instead: "slid on the ice", feeling: "surprised" },
];

/// A plan, a change of weather, another plan.
pub(super) fn weather(t: &mut Teller, scene: &Scene) {
    let (a, b, elder) = (scene.hero.name, scene.friend.name, scene.elder.name);
    let Change {
        wish,
        sky,
        cause,
        effect,
        instead,
        feeling,
    } = CHANGES[t.random.below(CHANGES.len())];
    tell!(
        t,
        "{a} and {b} wanted to {wish}.",
        "{a} wanted to {wish} with {b}.",
        "\"Today we will {wish},\" {a} told {b}."
    );
    tell!(
        t,
        "they went outside together.",
        "they ran out of the house.",
        "both of them were very excited."
    );
    tell!(t, "but then {sky}.", "but soon {sky}.", "suddenly, {sky}.");
    tell!(t, "{effect}.", "they saw that {effect}.");
    tell!(
        t,
        "they could not {wish} because {cause}.",
        "because {cause}, they could not {wish}."
    );
    tell!(
        t,
        "{a} was {feeling}.",
        "{a} and {b} were {feeling}.",
        "this made {a} {feeling}."
    );
    tell!(
        t,
        "\"We can do something else,\" said {b}.",
        "{b} had a better idea.",
        "\"Do not worry,\" said {elder}."
    );
    tell!(t, "so they {instead}.", "then {a} and {b} {instead}.");
    tell!(
        t,
        "that was fun too.",
        "it was even more fun.",
        "in the end, they had a good time."
    );
    match t.random.below(3) {
        0 => t.ask(
            &format!("Why could they not {wish}?"),
            &format!("Because {cause}."),
        ),
        1 => t.ask("What did they do instead?", &format!("They {instead}.")),
        _ => end_together(t, scene),
    }
}

/// A seed grows in its order.
pub(super) fn seed(t: &mut Teller, scene: &Scene) {
    let Person {
        name: a, he, his, ..
    } = scene.hero;
    let elder = scene.elder.name;
    let (plant, fruit) = t.random.pick(&[
        ("a sunflower", "yellow petals"),
        ("a tomato plant", "red tomatoes"),
        ("a bean plant", "green beans"),
        ("a pumpkin plant", "big orange pumpkins"),
        ("a strawberry plant", "sweet strawberries"),
        ("a rose bush", "pink roses"),
        ("a pea plant", "round peas"),
        ("a small cherry tree", "white blossoms"),
        ("a pepper plant", "shiny peppers"),
        ("a lavender bush", "purple flowers"),
    ]);
    introduce(t, scene.hero);
    tell!(
        t,
        "{elder} gave {a} a seed.",
        "{he} found a seed in {his} pocket.",
        "{he} bought a seed at the market."
    );
    tell!(
        t,
        "\"What will it be?\" asked {a}.",
        "{a} did not know what it would be.",
        "\"I wonder what it will be,\" {a} said."
    );
    tell!(
        t,
        "{a} planted it in a pot.",
        "{he} put it in the ground behind the house.",
        "{a} dug a hole and put the seed in it."
    );
    tell!(
        t,
        "every day {he} gave it water.",
        "{he} watered it each morning.",
        "{a} gave it water and put it in the sun."
    );
    let days = number_word(t.random.between(3, 14));
    tell!(
        t,
        "for {days} days nothing happened.",
        "{he} waited for {days} days.",
        "{days} days went by."
    );
    tell!(
        t,
        "then a small green leaf came out.",
        "one morning there was a tiny green leaf.",
        "at last {he} saw something green."
    );
    tell!(
        t,
        "it grew and grew, and it became {plant}.",
        "week after week it grew taller, and it was {plant}."
    );
    tell!(
        t,
        "in summer it had {fruit}.",
        "soon it had {fruit}.",
        "everybody came to see the {fruit}.",
        "one day it was full of {fruit}."
    );
    match t.random.below(3) {
        0 => t.ask("What did the seed become?", &format!("It became {plant}.")),
        1 => t.ask(
            "How long did nothing happen?",
            &format!("Nothing happened for {days} days."),
        ),
        _ => end_alone(t, scene.hero),
    }
}

/// Three places, a thing from each, and home again.
pub(super) fn trip(t: &mut Teller, scene: &Scene) {
    let Person {
        name: a, he, his, ..
    } = scene.hero;
    let b = scene.friend.name;
    let stops: [Place; 3] = loop {
        let stops = [t.place(true), t.place(true), t.place(true)];
        if stops[0].name != stops[1].name
            && stops[1].name != stops[2].name
            && stops[0].name != stops[2].name
        {
            break stops;
        }
    };
    let items = t.items::<3>();
    introduce(t, scene.hero);
    tell!(
        t,
        "one day {he} went for a long walk with {b}.",
        "{he} took {his} bag and went out with {b}.",
        "{a} and {b} went on a trip."
    );
    for (step, (place, item)) in stops.iter().zip(items).enumerate() {
        let (place, thing) = (place.name, item.a());
        let finder = t.random.pick(&[a, b]);
        match step {
            0 => tell!(
                t,
                "first they came to {place}, and {finder} found {thing}.",
                "at first they went to {place}, where {finder} found {thing}."
            ),
            1 => tell!(
                t,
                "then they walked to {place}, where {finder} found {thing}.",
                "next they went to {place}, and {finder} saw {thing} and took it."
            ),
            _ => tell!(
                t,
                "last of all they went to {place}, and there {finder} found {thing}.",
                "at the end they came to {place}, where {finder} picked up {thing}."
            ),
        }
    }
    tell!(
        t,
        "in the evening they were tired and went home.",
        "when the sun went down, they went home.",
        "then it was time to go home."
    );
    let [first, second, third] = items.map(|item| item.the());
    tell!(
        t,
        "they put {first}, {second} and {third} on the table.",
        "at home they looked at {first}, {second} and {third}."
    );
    let asked = t.random.below(3);
    match t.random.below(3) {
        0 => t.ask(
            &format!("Where did they find {}?", items[asked].the()),
            &format!("They found it {}.", stops[asked].inside),
        ),
        1 => {
            let order = ["first", "second", "last"][asked];
            t.ask(
                &format!("Which place did they visit {order}?"),
                &format!("They visited {} {order}.", stops[asked].name),
            );
        }
        _ => end_together(t, scene),
    }
}

/// Fear of a noise, and what it was.
pub(super) fn noise(t: &mut Teller, scene: &Scene) {
    let Person {
        name: a,
        he,
        him,
        his,
        ..
    } = scene.hero;
    let (b, pet) = (scene.friend.name, t.random.pick(PET_NAMES));
    let (sound, source) = t.random.pick(&[
        ("a loud bang", "only the door in the wind"),
        ("a strange scratching", "only a mouse"),
        ("a soft tapping", "only the rain on the window"),
        ("a long howl", "only the wind in the chimney"),
        ("the sound of footsteps", "only the cat on the stairs"),
        ("a deep rumble", "only the thunder far away"),
        ("a squeaking noise", "only the old gate"),
        ("a low growl", "only the dog in a dream"),
        ("a whisper", "only the leaves of the tree"),
        ("a splash", "only a frog in the pond"),
    ]);
    tell!(
        t,
        "it was night, and {a} was in bed.",
        "one dark night {a} could not sleep.",
        "{a} and {his} cat {pet} were in bed."
    );
    tell!(t, "suddenly {he} heard {sound}.", "then there was {sound}.");
    tell!(
        t,
        "{a} was afraid.",
        "{he} was scared and hid under the blanket.",
        "{his} heart beat fast."
    );
    tell!(
        t,
        "\"What was that?\" {he} whispered.",
        "\"Who is there?\" asked {a}.",
        "{he} called {b}, but nobody came."
    );
    tell!(
        t,
        "then {he} took a lamp and got up.",
        "{a} was brave and went to look.",
        "{he} took a deep breath and looked out."
    );
    tell!(
        t,
        "slowly {he} opened the door.",
        "it was dark, but {he} went on.",
        "{he} walked on the tips of {his} toes."
    );
    tell!(
        t,
        "it was {source}!",
        "now {he} knew what it was: it was {source}.",
        "{he} looked around and saw that it was {source}."
    );
    tell!(
        t,
        "{a} laughed.",
        "{a} was not afraid any more.",
        "\"Is that all?\" {a} said.",
        "this made {him} laugh."
    );
    tell!(
        t,
        "{he} went back to bed and fell asleep.",
        "then {he} slept until the morning.",
        "after that {a} slept well."
    );
    match t.random.below(3) {
        0 => t.ask(
            &format!("What did {a} hear?"),
            &format!("{he} heard {sound}."),
        ),
        1 => t.ask("What was it?", &format!("It was {source}.")),
        _ => {}
    }
}
