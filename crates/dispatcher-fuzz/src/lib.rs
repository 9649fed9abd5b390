#![doc = include_str!("../README.md")]

mod body;
mod configuration;
mod control;
mod json;
mod query;

pub use body::body;
pub use configuration::configuration;
pub use control::control;
pub use query::query;

/// A property, held against one input. Panics where it does not hold.
pub type Property = fn(&[u8]);

/// The properties, each with the name of its fuzz target and of its folder in `corpus`.
pub const PROPERTIES: [(&str, Property); 4] =
    [("body", body), ("configuration", configuration), ("control", control), ("query", query)];
