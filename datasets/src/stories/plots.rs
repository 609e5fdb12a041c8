//! What happens in a story.

mod animals;
mod counting;
mod days;
mod deeds;
mod hiding;
mod kindness;
mod owning;
mod rooms;

use super::teller::{Scene, Teller};

pub(super) type Plot = fn(&mut Teller, &Scene);

/// Every plot is as likely as the others; one named twice is twice as likely.
pub(super) const PLOTS: &[Plot] = &[
    hiding::moved_while_away,
    hiding::put_away,
    hiding::put_away,
    owning::trade,
    owning::lend,
    hiding::tidy,
    hiding::three_cups,
    hiding::lost,
    owning::gift,
    rooms::errands,
    rooms::errands,
    counting::share,
    counting::gather,
    counting::eat,
    counting::compare,
    counting::divide,
    days::weather,
    days::seed,
    days::trip,
    deeds::race,
    deeds::baking,
    days::noise,
    deeds::practice,
    animals::hungry_animal,
    kindness::broken,
    kindness::confession,
    kindness::heavy_load,
    kindness::newcomer,
    animals::lost_pet,
    owning::favorite_colors,
];
