//! The words of the stories.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) name: &'static str,
    pub(super) he: &'static str,
    pub(super) him: &'static str,
    pub(super) his: &'static str,
    /// "girl", "boy", "woman" or "man".
    pub(super) kind: &'static str,
}

const fn female(name: &'static str, kind: &'static str) -> Person {
    Person {
        name,
        he: "she",
        him: "her",
        his: "her",
        kind,
    }
}

const fn male(name: &'static str, kind: &'static str) -> Person {
    Person {
        name,
        he: "he",
        him: "him",
        his: "his",
        kind,
    }
}

pub(super) fn girl(name: &'static str) -> Person {
    female(name, "girl")
}

pub(super) fn boy(name: &'static str) -> Person {
    male(name, "boy")
}

#[rustfmt::skip]
pub(super) const GIRLS: &[&str] = &[
    "Mia", "Lily", "Anna", "Emma", "Zoe", "Ella", "Ruby", "Nora", "Grace", "Lucy", "Ivy", "Rosa", "Clara", "Alice",
    "Molly", "Eva", "Hana", "Leila", "Maya", "Sofia", "June", "Amy", "Beth", "Kate", "Sara", "Tina", "Olive", "Pia",
    "Greta", "Nina", "Julia", "Carmen", "Yuki", "Aisha", "Helen", "Fiona", "Martha", "Wendy", "Ines", "Dora",
];

#[rustfmt::skip]
pub(super) const BOYS: &[&str] = &[
    "Tom", "Ben", "Sam", "Max", "Leo", "Jack", "Finn", "Noah", "Omar", "Hugo", "Adam", "Paul", "Luke", "Theo",
    "Oscar", "Felix", "Ravi", "Kenji", "Ali", "Otto", "Tim", "Dan", "Joe", "Nick", "Peter", "Henry", "Oliver", "Jonas",
    "Marco", "Eli", "David", "Simon", "Pablo", "Emil", "George", "Victor", "Martin", "Hassan", "Ivan", "Jim",
];

/// Grown-ups whom a child can address by name.
pub(super) const FAMILY: &[Person] = &[
    female("Mom", "woman"),
    male("Dad", "man"),
    female("Grandma", "woman"),
    male("Grandpa", "man"),
    female("Aunt Rose", "woman"),
    male("Uncle Frank", "man"),
    female("Aunt Vera", "woman"),
    male("Uncle Bill", "man"),
];

pub(super) const NEIGHBORS: &[Person] = &[
    female("the teacher", "woman"),
    male("the baker", "man"),
    female("the farmer", "woman"),
    male("the old sailor", "man"),
    female("the doctor", "woman"),
    male("the gardener", "man"),
    female("the painter", "woman"),
    male("the shopkeeper", "man"),
    female("the librarian", "woman"),
    male("the carpenter", "man"),
    female("the nurse", "woman"),
    male("the fisherman", "man"),
];

#[rustfmt::skip]
pub(super) const CHARACTERS: &[&str] = &[
    "kind", "clever", "brave", "shy", "curious", "cheerful", "quiet", "careful", "gentle", "funny", "friendly",
    "polite", "patient", "happy", "helpful", "honest", "little", "young", "lively", "thoughtful",
];

#[rustfmt::skip]
pub(super) const COLORS: &[&str] = &[
    "red", "blue", "green", "yellow", "pink", "purple", "orange", "white", "black", "brown", "gray", "silver", "golden",
];

const ANY: &[&str] = &["small", "big", "old", "new", "tiny", "pretty", "little"];
const TOY: &[&str] = &["wooden", "shiny", "round", "funny", "bright", "favorite"];
const CLOTH: &[&str] = &["soft", "warm", "striped", "woolen", "dotted", "thick"];
const TOOL: &[&str] = &["shiny", "heavy", "useful", "clean", "strong", "rusty"];
const TREASURE: &[&str] = &["smooth", "shiny", "strange", "beautiful", "lucky", "magic"];
const PAPER: &[&str] = &[
    "thin",
    "thick",
    "colorful",
    "interesting",
    "secret",
    "folded",
];

/// Nouns with the adjectives that fit them besides colors.
#[rustfmt::skip]
const NOUNS: &[(&[&str], &[&str])] = &[
    (TOY, &[
        "ball", "kite", "doll", "drum", "puzzle", "robot", "whistle", "top", "toy car", "toy boat", "toy train",
        "toy horse", "puppet", "block", "balloon", "trumpet", "flute", "wagon", "bell", "toy duck", "toy plane",
    ]),
    (CLOTH, &[
        "hat", "scarf", "mitten", "boot", "blanket", "coat", "cap", "sock", "shirt", "towel", "pillow", "sweater",
        "teddy bear", "ribbon", "glove", "slipper",
    ]),
    (TOOL, &[
        "cup", "key", "lamp", "spoon", "bottle", "brush", "hammer", "bucket", "umbrella", "jar", "bowl", "pot", "comb",
        "mirror", "clock", "rope", "shovel", "lantern", "plate", "camera", "ladle", "broom",
    ]),
    (TREASURE, &["shell", "stone", "feather", "ring", "coin", "marble", "button", "crystal", "medal", "necklace", "star"]),
    (PAPER, &["book", "map", "card", "letter", "notebook", "picture", "ticket", "mask", "poster", "paper boat"]),
];

/// "a" or "an" before a word.
pub(super) fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o']) || ["umbrella", "honest"].contains(&word) {
        "an"
    } else {
        "a"
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) noun: &'static str,
    pub(super) adjective: &'static str,
}

impl Item {
    pub(super) fn draw(random: &mut crate::random::SplitMix64) -> Self {
        let (fitting, nouns) = random.pick(NOUNS);
        let adjective = match random.below(4) {
            0 => random.pick(ANY),
            1 => random.pick(fitting),
            _ => random.pick(COLORS),
        };
        Self {
            noun: random.pick(nouns),
            adjective,
        }
    }

    /// "a red ball"
    pub(super) fn a(self) -> String {
        format!(
            "{} {} {}",
            article(self.adjective),
            self.adjective,
            self.noun
        )
    }

    /// "the red ball"
    pub(super) fn the(self) -> String {
        format!("the {} {}", self.adjective, self.noun)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// "in the park"
    pub(super) inside: &'static str,
    /// "the park"
    pub(super) name: &'static str,
    pub(super) outdoors: bool,
    /// Where a thing can lie: "under the bench".
    pub(super) spots: &'static [&'static str],
}

const fn indoors(
    inside: &'static str,
    name: &'static str,
    spots: &'static [&'static str],
) -> Place {
    Place {
        inside,
        name,
        outdoors: false,
        spots,
    }
}

const fn outdoors(
    inside: &'static str,
    name: &'static str,
    spots: &'static [&'static str],
) -> Place {
    Place {
        inside,
        name,
        outdoors: true,
        spots,
    }
}

#[rustfmt::skip]
pub(super) const PLACES: &[Place] = &[
    indoors("in the kitchen", "the kitchen", &["on the table", "in the drawer", "in the cupboard", "under the chair", "on the shelf", "in the basket", "behind the door", "on the stove", "next to the sink"]),
    indoors("in the bedroom", "the bedroom", &["under the bed", "in the toy box", "on the desk", "in the closet", "behind the curtain", "under the blanket", "on the shelf", "next to the lamp"]),
    indoors("in the living room", "the living room", &["on the sofa", "under the rug", "behind the sofa", "on the shelf", "in the wooden chest", "next to the fireplace", "under the cushion", "on the piano"]),
    indoors("in the classroom", "the classroom", &["on the desk", "in the cupboard", "on the shelf", "under the chair", "in the school bag", "behind the globe", "next to the window"]),
    indoors("in the attic", "the attic", &["in the old trunk", "behind the mirror", "under the blanket", "in the dusty box", "next to the window", "on top of the wardrobe"]),
    indoors("in the library", "the library", &["on the shelf", "under the table", "behind the books", "on the chair", "in the drawer", "next to the stairs"]),
    indoors("in the barn", "the barn", &["in the hay", "behind the door", "in the bucket", "under the ladder", "on the cart", "next to the cow"]),
    indoors("in the workshop", "the workshop", &["on the bench", "in the toolbox", "behind the paint cans", "under the table", "in the drawer", "on the hook"]),
    outdoors("in the park", "the park", &["under the bench", "behind the big tree", "in the bushes", "next to the fountain", "on the bench", "near the pond", "under the bridge"]),
    outdoors("in the garden", "the garden", &["under the apple tree", "in the wheelbarrow", "behind the shed", "in the flower pot", "on the wall", "next to the gate", "among the roses"]),
    outdoors("at the beach", "the beach", &["under the towel", "in the bucket", "behind the rock", "next to the sandcastle", "in the boat", "under the umbrella", "in the picnic basket"]),
    outdoors("on the farm", "the farm", &["in the hay", "behind the barn", "in the bucket", "on the fence", "under the tractor", "next to the well", "in the cart"]),
    outdoors("in the forest", "the forest", &["under the old oak", "behind the rock", "in the hollow log", "next to the stream", "on the tree stump", "under the leaves", "among the ferns"]),
    outdoors("on the playground", "the playground", &["under the slide", "on the swing", "in the sandbox", "behind the ladder", "on the bench", "next to the seesaw", "in the tunnel"]),
    outdoors("by the river", "the river", &["under the bridge", "in the boat", "behind the rock", "on the grass", "next to the willow", "among the reeds"]),
    outdoors("in the meadow", "the meadow", &["under the tree", "on the blanket", "behind the bush", "in the tall grass", "next to the fence", "in the picnic basket"]),
    outdoors("in the schoolyard", "the schoolyard", &["on the steps", "under the bench", "behind the bikes", "next to the gate", "in the school bag", "on the wall"]),
    outdoors("at the market", "the market", &["on the cart", "under the table", "in the basket", "behind the barrels", "next to the well", "on the steps"]),
];

/// Rooms of one house, each with "in".
#[rustfmt::skip]
pub(super) const ROOMS: &[&str] = &[
    "the kitchen", "the bedroom", "the garden", "the attic", "the living room", "the cellar", "the garage", "the hall",
    "the bathroom", "the office",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Countable {
    pub(super) one: &'static str,
    pub(super) many: &'static str,
}

impl Countable {
    /// "one apple", "seven apples", "no apples"
    pub(super) fn count(self, number: usize) -> String {
        let noun = if number == 1 { self.one } else { self.many };
        format!("{} {noun}", number_word(number))
    }
}

const fn countable(one: &'static str, many: &'static str) -> Countable {
    Countable { one, many }
}

#[rustfmt::skip]
pub(super) const FOODS: &[Countable] = &[
    countable("apple", "apples"), countable("pear", "pears"), countable("cookie", "cookies"), countable("plum", "plums"),
    countable("peach", "peaches"), countable("carrot", "carrots"), countable("cherry", "cherries"),
    countable("strawberry", "strawberries"), countable("grape", "grapes"), countable("nut", "nuts"),
    countable("pancake", "pancakes"), countable("muffin", "muffins"), countable("sandwich", "sandwiches"),
    countable("orange", "oranges"), countable("banana", "bananas"), countable("tomato", "tomatoes"),
    countable("dumpling", "dumplings"), countable("waffle", "waffles"), countable("fig", "figs"),
];

#[rustfmt::skip]
pub(super) const COLLECTIBLES: &[Countable] = &[
    countable("shell", "shells"), countable("stone", "stones"), countable("marble", "marbles"),
    countable("sticker", "stickers"), countable("balloon", "balloons"), countable("coin", "coins"),
    countable("button", "buttons"), countable("flower", "flowers"), countable("pencil", "pencils"),
    countable("card", "cards"), countable("leaf", "leaves"), countable("feather", "feathers"),
    countable("stamp", "stamps"), countable("pine cone", "pine cones"), countable("bead", "beads"),
];

/// What lies about out of doors.
#[rustfmt::skip]
pub(super) const FINDS: &[Countable] = &[
    countable("stone", "stones"), countable("flower", "flowers"), countable("leaf", "leaves"),
    countable("feather", "feathers"), countable("pine cone", "pine cones"), countable("mushroom", "mushrooms"),
    countable("berry", "berries"), countable("acorn", "acorns"), countable("snail", "snails"),
];

#[rustfmt::skip]
const NUMBERS: &[&str] = &[
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
];

/// The number in words, 0 (as "no") to 20; a larger one in digits.
pub(super) fn number_word(number: usize) -> String {
    NUMBERS
        .get(number)
        .map_or_else(|| number.to_string(), |&word| word.to_owned())
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Animal {
    pub(super) kind: &'static str,
    pub(super) food: &'static str,
    /// How it says thank you: "purred".
    pub(super) thanks: &'static str,
    pub(super) home: &'static str,
}

const fn animal(
    kind: &'static str,
    food: &'static str,
    thanks: &'static str,
    home: &'static str,
) -> Animal {
    Animal {
        kind,
        food,
        thanks,
        home,
    }
}

#[rustfmt::skip]
pub(super) const ANIMALS: &[Animal] = &[
    animal("dog", "a bone", "wagged its tail", "a wooden doghouse"),
    animal("cat", "some milk", "purred", "the house by the mill"),
    animal("kitten", "some fish", "purred softly", "a warm basket"),
    animal("puppy", "some meat", "barked happily", "the house on the hill"),
    animal("rabbit", "a carrot", "wiggled its nose", "a hole under the hedge"),
    animal("duck", "some bread", "quacked loudly", "the pond"),
    animal("hen", "some corn", "clucked", "the henhouse"),
    animal("goat", "some grass", "jumped around", "the stable"),
    animal("pony", "an apple", "nodded its head", "the stable"),
    animal("hedgehog", "a pear", "sniffed the air", "a pile of leaves"),
    animal("turtle", "some lettuce", "blinked slowly", "the pond"),
    animal("squirrel", "a nut", "swished its tail", "a hole in the oak tree"),
    animal("bird", "some seeds", "sang a song", "a nest in the tree"),
    animal("mouse", "some cheese", "squeaked", "a hole in the wall"),
    animal("lamb", "some hay", "bleated softly", "the green hill"),
    animal("donkey", "a turnip", "brayed", "the stable"),
    animal("fox", "some berries", "bowed its head", "a den in the woods"),
    animal("owl", "a worm", "hooted", "the church tower"),
    animal("parrot", "a cracker", "flapped its wings", "a big cage"),
    animal("frog", "a fly", "croaked", "the lily pond"),
];

#[rustfmt::skip]
pub(super) const PET_NAMES: &[&str] = &[
    "Rex", "Bella", "Socks", "Pepper", "Biscuit", "Lucky", "Daisy", "Rocky", "Shadow", "Ginger", "Patch", "Snowball",
    "Whiskers", "Bubbles", "Coco", "Nibbles",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_follow_the_sound() {
        for (word, expected) in [
            ("old", "an"),
            ("orange", "an"),
            ("umbrella", "an"),
            ("useful", "a"),
            ("honest", "an"),
            ("happy", "a"),
            ("red", "a"),
            ("apple", "an"),
        ] {
            assert_eq!(article(word), expected, "{word}");
        }
    }

    #[test]
    fn counts_agree_in_number() {
        let leaf = countable("leaf", "leaves");
        assert_eq!(leaf.count(1), "one leaf");
        assert_eq!(leaf.count(2), "two leaves");
        assert_eq!(leaf.count(0), "no leaves");
        assert_eq!(leaf.count(21), "21 leaves");
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = GIRLS.iter().chain(BOYS).chain(PET_NAMES).copied().collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
