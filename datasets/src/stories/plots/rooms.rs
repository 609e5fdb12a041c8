//! A house in which people walk about and carry things: every sentence is an event of a small simulation, and the
//! questions are answered from its state.

use crate::stories::lexicon::{Item, Person, ROOMS};
use crate::stories::teller::{Scene, Teller, tell};

const EVENTS: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whereabouts {
    Room(usize),
    With(usize),
}

#[derive(Clone, Copy)]
enum Event {
    Go { person: usize, room: usize },
    Take { person: usize, item: usize },
    Leave { person: usize, item: usize },
    Give { person: usize, item: usize },
}

impl Event {
    fn actor(self) -> usize {
        let (Self::Go { person, .. }
        | Self::Take { person, .. }
        | Self::Leave { person, .. }
        | Self::Give { person, .. }) = self;
        person
    }

    fn item(self) -> Option<usize> {
        match self {
            Self::Go { .. } => None,
            Self::Take { item, .. } | Self::Leave { item, .. } | Self::Give { item, .. } => {
                Some(item)
            }
        }
    }
}

struct House {
    rooms: [&'static str; 3],
    people: [Person; 2],
    rooms_of_people: [usize; 2],
    items: [Item; 2],
    items_at: [Whereabouts; 2],
    last: Option<Event>,
}

/// Two people carry two things through three rooms.
pub(super) fn errands(t: &mut Teller, scene: &Scene) {
    let mut house = House {
        rooms: t.random.distinct(ROOMS),
        people: [scene.hero, scene.friend],
        rooms_of_people: [t.random.below(3), t.random.below(3)],
        items: t.items(),
        items_at: [
            Whereabouts::Room(t.random.below(3)),
            Whereabouts::Room(t.random.below(3)),
        ],
        last: None,
    };
    house.describe(t);
    for _ in 0..EVENTS {
        let event = house.next_event(t);
        house.tell(t, event);
        house.happen(event);
    }
    let first = t.random.below(6);
    house.question(t, first);
    if t.random.chance(2) {
        let second = first + t.random.between(1, 5);
        house.question(t, second);
    }
}

impl House {
    fn describe(&self, t: &mut Teller) {
        let [a, b] = self.people.map(|person| person.name);
        let [room_a, room_b] = self.rooms_of_people.map(|room| self.rooms[room]);
        if room_a == room_b {
            tell!(
                t,
                "{a} and {b} were in {room_a}.",
                "both {a} and {b} were in {room_a}."
            );
        } else {
            tell!(
                t,
                "{a} was in {room_a} and {b} was in {room_b}.",
                "{a} was in {room_a}, but {b} was in {room_b}."
            );
        }
        let [first, second] = self.items.map(Item::a);
        let [room_first, room_second] = [0, 1].map(|item| self.rooms[self.room_of_item(item)]);
        if room_first == room_second {
            tell!(
                t,
                "there was {first} in {room_first}, and {second} was there too.",
                "{first} and {second} were in {room_first}."
            );
        } else {
            tell!(
                t,
                "there was {first} in {room_first} and {second} in {room_second}.",
                "{first} was in {room_first}, and {second} was in {room_second}."
            );
        }
    }

    fn room_of_item(&self, item: usize) -> usize {
        match self.items_at[item] {
            Whereabouts::Room(room) => room,
            Whereabouts::With(person) => self.rooms_of_people[person],
        }
    }

    /// Most events move a thing, where one can be moved. Nobody undoes what was just done or only walks about.
    fn next_event(&self, t: &mut Teller) -> Event {
        let just_moved = self.last.and_then(Event::item);
        let mut moves = Vec::new();
        for (item, whereabouts) in self.items_at.into_iter().enumerate() {
            match whereabouts {
                _ if just_moved == Some(item) => {}
                Whereabouts::Room(room) => {
                    let near = (0..2).filter(|&person| self.rooms_of_people[person] == room);
                    moves.extend(near.map(|person| Event::Take { person, item }));
                }
                Whereabouts::With(person) => {
                    moves.push(Event::Leave { person, item });
                    if self.rooms_of_people[0] == self.rooms_of_people[1] {
                        moves.push(Event::Give { person, item });
                    }
                }
            }
        }
        if !moves.is_empty() && !t.random.chance(6) {
            return t.random.pick(&moves);
        }
        let person = match self.last {
            Some(Event::Go { person, .. }) => 1 - person,
            Some(event) if t.random.chance(2) => event.actor(),
            _ => t.random.below(2),
        };
        let here = self.rooms_of_people[person];
        let wanted = self.room_of_item(t.random.below(2));
        let room = if wanted == here {
            (here + t.random.between(1, 2)) % 3
        } else {
            wanted
        };
        Event::Go { person, room }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Go { person, room } => self.rooms_of_people[person] = room,
            Event::Take { person, item } => self.items_at[item] = Whereabouts::With(person),
            Event::Leave { person, item } => {
                self.items_at[item] = Whereabouts::Room(self.rooms_of_people[person]);
            }
            Event::Give { person, item } => self.items_at[item] = Whereabouts::With(1 - person),
        }
        self.last = Some(event);
    }

    fn tell(&self, t: &mut Teller, event: Event) {
        let person = event.actor();
        let Person { name, he, .. } = self.people[person];
        let again = self.last.is_some_and(|last| last.actor() == person);
        let a = if again { he } else { name };
        let other = self.people[1 - person].name;
        match event {
            Event::Go { room, .. } => {
                let room = self.rooms[room];
                tell!(
                    t,
                    "{a} went to {room}.",
                    "then {a} walked to {room}.",
                    "{a} ran to {room}.",
                    "after that, {a} went to {room}."
                );
            }
            Event::Take { item, .. } => {
                let thing = self.items[item].the();
                if again && matches!(self.last, Some(Event::Go { .. })) {
                    tell!(
                        t,
                        "{a} picked up {thing}.",
                        "{a} took {thing}.",
                        "there {a} took {thing}."
                    );
                } else {
                    tell!(t, "{a} picked up {thing}.", "{a} took {thing}.");
                }
            }
            Event::Leave { item, .. } => {
                let (thing, room) = (
                    self.items[item].the(),
                    self.rooms[self.rooms_of_people[person]],
                );
                tell!(
                    t,
                    "{a} put down {thing}.",
                    "{a} left {thing} in {room}.",
                    "{a} left {thing} there."
                );
            }
            Event::Give { item, .. } => {
                let thing = self.items[item].the();
                tell!(
                    t,
                    "{a} gave {thing} to {other}.",
                    "{a} handed {thing} to {other}."
                );
            }
        }
    }

    fn question(&self, t: &mut Teller, kind: usize) {
        let which = kind % 2;
        let Person { name, he, .. } = self.people[which];
        let thing = self.items[which].the();
        match (kind % 6) / 2 {
            0 => {
                let room = self.rooms[self.room_of_item(which)];
                t.ask(
                    &format!("Where was {thing} in the end?"),
                    &format!("It was in {room}."),
                );
            }
            1 => {
                let room = self.rooms[self.rooms_of_people[which]];
                t.ask(
                    &format!("Where was {name} in the end?"),
                    &format!("{he} was in {room}."),
                );
            }
            _ => {
                let answer = match self.items_at[which] {
                    Whereabouts::With(person) => {
                        format!("{} had {thing}.", self.people[person].name)
                    }
                    Whereabouts::Room(_) => format!("Nobody had {thing}."),
                };
                t.ask(&format!("Who had {thing} in the end?"), &answer);
            }
        }
    }
}
