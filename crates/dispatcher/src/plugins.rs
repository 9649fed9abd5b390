//! Names plugin crates once, so that they are linked and can be missed.

use dispatcher_core::Listed;

/// The plugin crates that a program names. Made by [`plugins!`](crate::plugins!).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugins(Vec<Listed>);

impl Plugins {
    /// What [`plugins!`](crate::plugins!) calls.
    #[must_use]
    pub fn new(crate_names: &[&'static str]) -> Plugins {
        Plugins(crate_names.iter().map(|crate_name| Listed { crate_name }).collect())
    }

    pub(crate) fn and(mut self, other: Plugins) -> Vec<Listed> {
        self.0.extend(other.0);
        self.0
    }
}

/// Names the plugin crates of a program: `plugins! { handler_mine, sink_mine }`.
///
/// A crate that is only listed in `Cargo.toml` is left out by the linker, silently. Naming it here links it, and at start
/// the dispatcher checks that something registered from it.
#[macro_export]
macro_rules! plugins {
    ($($crate_name:ident),* $(,)?) => {{
        $(use $crate_name as _;)*
        $crate::Plugins::new(&[$(stringify!($crate_name)),*])
    }};
}
