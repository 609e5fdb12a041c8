//! What happens in a story.

mod counting;
mod days;
mod kindness;
mod objects;
mod rooms;

use super::teller::{Scene, Teller};

pub(super) type Plot = fn(&mut Teller, &Scene);

/// Every plot is as likely as the others; one named twice is twice as likely.
pub(super) const PLOTS: &[Plot] = &[
    objects::moved_while_away,
    objects::put_away,
    objects::put_away,
    objects::trade,
    objects::lend,
    objects::tidy,
    objects::three_cups,
    objects::lost,
    objects::gift,
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
    days::race,
    days::baking,
    days::noise,
    days::practice,
    kindness::hungry_animal,
    kindness::broken,
    kindness::confession,
    kindness::heavy_load,
    kindness::newcomer,
    kindness::lost_pet,
    kindness::favorite_colors,
];
