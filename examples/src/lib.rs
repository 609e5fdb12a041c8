//! What several examples need, or what none of them is about: data, a plot, the layer of packed weights.

mod argument;
mod characters;
mod digits;
mod learning_rate;
mod packed;
mod plot;
mod random;
mod timing;

pub use argument::argument_or;
pub use characters::Characters;
pub use digits::{CLASSES, Digits, PIXELS, accuracy};
pub use learning_rate::FallingRate;
pub use packed::{PackedLayer, relative_difference};
pub use plot::{Curve, Plot};
pub use random::Random;
pub use timing::microseconds;

/// Any error, which ends an example.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
