//! All plugins that are linked into the program.

use std::fmt;

use crate::{HandlerPlugin, RESERVED_KEYS, SinkPlugin};

/// Where a registration stands. Made by [`origin!`](crate::origin!) inside the plugin's crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The crate's name.
    pub crate_name: &'static str,
    /// The crate's version.
    pub version: &'static str,
    /// The crate's description in its manifest: one line about the plugin.
    pub description: &'static str,
    /// The source file.
    pub file: &'static str,
    /// The line in it.
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({}:{})", self.crate_name, self.version, self.file, self.line)
    }
}

/// The [`Origin`] of the line that it stands in.
#[macro_export]
macro_rules! origin {
    () => {
        $crate::Origin {
            crate_name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            description: env!("CARGO_PKG_DESCRIPTION"),
            file: file!(),
            line: line!(),
        }
    };
}

/// A plugin crate that a binary names, and from which something must therefore have registered.
///
/// A crate that is only listed in `Cargo.toml` is left out by the linker, silently; naming it links it, and the list is
/// compared with what registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The crate's name as Rust spells it: `sink_file`.
    pub crate_name: &'static str,
}

/// All plugins that are linked into the program, sorted by name.
#[derive(Clone)]
pub struct Registry {
    handlers: Vec<&'static HandlerPlugin>,
    sinks: Vec<&'static SinkPlugin>,
}

impl Registry {
    /// Collects what has registered and compares it with the crates that were to register.
    ///
    /// # Errors
    /// All of: two handlers or two sinks of one name; a listed crate from which nothing registered; a plugin whose
    /// settings declare a reserved key.
    pub fn collect(listed: &[Listed]) -> Result<Registry, Vec<RegistryError>> {
        Registry::of(inventory::iter::<HandlerPlugin>().collect(), inventory::iter::<SinkPlugin>().collect(), listed)
    }

    fn of(
        mut handlers: Vec<&'static HandlerPlugin>,
        mut sinks: Vec<&'static SinkPlugin>,
        listed: &[Listed],
    ) -> Result<Registry, Vec<RegistryError>> {
        // The order of registration is an accident of linking.
        handlers.sort_by_key(|plugin| (plugin.name, plugin.origin.crate_name));
        sinks.sort_by_key(|plugin| (plugin.name, plugin.origin.crate_name));

        let mut errors = Vec::new();
        let handler_rows = handlers.iter().map(|plugin| (plugin.name, plugin.origin, plugin.schema()));
        check("handler", handler_rows.collect(), &mut errors);
        let sink_rows = sinks.iter().map(|plugin| (plugin.name, plugin.origin, plugin.schema()));
        check("sink", sink_rows.collect(), &mut errors);
        for crate_name in listed.iter().map(|listed| listed.crate_name) {
            let mut origins =
                handlers.iter().map(|plugin| plugin.origin).chain(sinks.iter().map(|plugin| plugin.origin));
            if !origins.any(|origin| origin.crate_name.replace('-', "_") == crate_name) {
                errors.push(RegistryError::NothingRegistered { crate_name });
            }
        }
        if errors.is_empty() { Ok(Registry { handlers, sinks }) } else { Err(errors) }
    }

    /// The handler of this name.
    #[must_use]
    pub fn handler(&self, name: &str) -> Option<&'static HandlerPlugin> {
        self.handlers.iter().copied().find(|plugin| plugin.name == name)
    }

    /// The sink of this name.
    #[must_use]
    pub fn sink(&self, name: &str) -> Option<&'static SinkPlugin> {
        self.sinks.iter().copied().find(|plugin| plugin.name == name)
    }

    /// All handlers.
    #[must_use]
    pub fn handlers(&self) -> &[&'static HandlerPlugin] {
        &self.handlers
    }

    /// All sinks.
    #[must_use]
    pub fn sinks(&self) -> &[&'static SinkPlugin] {
        &self.sinks
    }
}

fn check(kind: &'static str, plugins: Vec<(&'static str, Origin, schemars::Schema)>, errors: &mut Vec<RegistryError>) {
    for pair in plugins.windows(2) {
        let ((name, first, _), (next, second, _)) = (&pair[0], &pair[1]);
        if name == next {
            errors.push(RegistryError::SameName { kind, name, first: *first, second: *second });
        }
    }
    for (name, origin, schema) in &plugins {
        let properties = schema.get("properties").and_then(|properties| properties.as_object());
        for key in properties.into_iter().flat_map(|properties| properties.keys()) {
            if RESERVED_KEYS.contains(&key.as_str()) {
                errors.push(RegistryError::ReservedKey { kind, name, origin: *origin, key: key.clone() });
            }
        }
    }
}

/// Why the plugins of a program do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryError {
    /// Two plugins of one kind have one name.
    SameName {
        /// `handler` or `sink`.
        kind: &'static str,
        /// The name.
        name: &'static str,
        /// Where one of them is registered.
        first: Origin,
        /// Where the other is.
        second: Origin,
    },
    /// Nothing registered from a crate that was to register something.
    NothingRegistered {
        /// The crate's name as Rust spells it.
        crate_name: &'static str,
    },
    /// A plugin's settings declare a key that belongs to the dispatcher.
    ReservedKey {
        /// `handler` or `sink`.
        kind: &'static str,
        /// The plugin's name.
        name: &'static str,
        /// Where it is registered.
        origin: Origin,
        /// The key.
        key: String,
    },
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegistryError::SameName { kind, name, first, second } => {
                write!(f, "two {kind}s are called {name:?}: {first} and {second}; rename one, or link only one")
            }
            RegistryError::NothingRegistered { crate_name } => write!(
                f,
                "nothing registered from the crate {crate_name}; it needs a line such as \
                 `inventory::submit! {{ handler!(…) }}` or `sink!(…)`, and the same version of dispatcher-core as this \
                 program"
            ),
            RegistryError::ReservedKey { kind, name, origin, key } => write!(
                f,
                "the {kind} {name:?} of {origin} has a setting `{key}`, a name that belongs to the dispatcher; rename it"
            ),
        }
    }
}

impl std::error::Error for RegistryError {}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::{DeliverContext, DeliveryError, Event, Lanes, OpenContext, OpenError, Outcomes, Sink, SinkConfig};

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Settings {
        #[allow(dead_code, reason = "only its name is looked at")]
        timeout: Option<String>,
    }

    #[async_trait]
    impl SinkConfig for Settings {
        type Sink = Nothing;

        async fn open(&self, _: &OpenContext) -> Result<Nothing, OpenError> {
            Ok(Nothing)
        }
    }

    struct Nothing;

    #[async_trait]
    impl Sink for Nothing {
        async fn deliver(&mut self, _: &[Event], _: &DeliverContext) -> Result<Outcomes, DeliveryError> {
            Ok(Outcomes::all_done())
        }
    }

    #[test]
    fn refuses_equal_names_reserved_keys_and_crates_without_a_plugin() {
        static ONE: SinkPlugin = SinkPlugin::new::<Settings>("twin", Lanes::One, origin!());
        static TWO: SinkPlugin = SinkPlugin::new::<Settings>("twin", Lanes::One, origin!());
        let listed = [Listed { crate_name: "dispatcher_core" }, Listed { crate_name: "sink_forgotten" }];

        let errors = Registry::of(vec![], vec![&ONE, &TWO], &listed).err().unwrap();
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 4, "{said:#?}");
        assert!(said[0].starts_with("two sinks are called \"twin\": dispatcher-core "), "{}", said[0]);
        assert!(said[1].contains("has a setting `timeout`"), "{}", said[1]);
        assert!(said[3].starts_with("nothing registered from the crate sink_forgotten;"), "{}", said[3]);
    }
}
