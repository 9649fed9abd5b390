//! Which certificate a client is shown: the one for the name that it asks for, or else the one for everybody.
//!
//! rustls has a resolver by name too. It knows no wildcards, and refuses who asks for no name or for another one: here,
//! that is who calls by an address, as a probe of a balancer does.

use std::{collections::HashMap, fmt, sync::Arc};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// Certificates by name.
pub(crate) struct ByName {
    everybodys: Arc<CertifiedKey>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    /// With this one, which is for `names`, for everybody else as well.
    pub(crate) fn new(names: &[String], key: CertifiedKey) -> ByName {
        let everybodys = Arc::new(key);
        let by_name = names.iter().map(|name| (name.clone(), everybodys.clone())).collect();
        ByName { everybodys, by_name }
    }

    /// Shows `key` to whoever asks for one of `names`.
    pub(crate) fn add(&mut self, names: &[String], key: CertifiedKey) {
        let key = Arc::new(key);
        self.by_name.extend(names.iter().map(|name| (name.clone(), key.clone())));
    }

    /// A name by itself goes before the wildcard that it falls under. `name` is in lower case, as rustls has it.
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(name).or_else(wildcard)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked_for = hello.server_name().and_then(|name| self.find(name));
        Some(asked_for.unwrap_or(&self.everybodys).clone())
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByName") // There are keys inside.
    }
}
