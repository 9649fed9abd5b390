//! How many connections may be open at once, in all and from one address. That may change while they are.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dispatcher_core::Network;
use tokio::sync::Notify;
use tracing::warn;

use crate::{IntakeOptions, files, source};

/// The places of connections. Only the accept loop takes them; where a proxy says whom one comes from, it moves.
pub(crate) struct Places {
    state: Mutex<State>, // Locked when a connection comes and when it goes.
    changed: Notify,
}

struct State {
    taken: usize,
    of: HashMap<IpAddr, usize>,
    limits: Limits,
}

struct Limits {
    in_all: usize,
    per_address: Option<usize>,
    proxies: Vec<Network>, // Each stands for many: its connections are limited in all alone.
}

impl Limits {
    fn new(options: &IntakeOptions) -> Limits {
        let (asked, room) = (options.max_connections.max(1), files::room());
        if asked > room {
            warn!(
                max_connections = asked,
                counts_as = room,
                "the system allows fewer open files than [intake] max_connections needs: raise the limit of open files \
                 (LimitNOFILE= of a systemd unit, ulimit -Hn) or lower max_connections"
            );
        }
        Limits {
            in_all: asked.min(room),
            per_address: options.max_connections_per_address,
            proxies: options.trusted_proxies.clone(),
        }
    }
}

impl Places {
    pub(crate) fn new(options: &IntakeOptions) -> Places {
        let state = State { taken: 0, of: HashMap::new(), limits: Limits::new(options) };
        Places { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Waits until there is a place.
    pub(crate) async fn wait(&self) {
        // One waits here at most, and a notification that comes before it waits is kept for it.
        while !self.is_free() {
            self.changed.notified().await;
        }
    }

    pub(crate) fn is_free(&self) -> bool {
        let state = self.state();
        state.taken < state.limits.in_all
    }

    /// How many there are.
    pub(crate) fn limit(&self) -> usize {
        self.state().limits.in_all
    }

    /// Lets this many in from now on; who is in stays.
    pub(crate) fn replace(&self, options: &IntakeOptions) {
        self.state().limits = Limits::new(options);
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is taken; free again when this is dropped.
pub(crate) struct Seat {
    places: Arc<Places>,
    address: IpAddr,
}

impl Seat {
    /// `None` if this address has as many as it may.
    pub(crate) fn take(places: &Arc<Places>, peer: IpAddr) -> Option<Seat> {
        let address = counted_as(peer);
        let state = &mut *places.state();
        let n = state.of.get(&address).copied().unwrap_or_default();
        if state.limits.per_address.is_some_and(|limit| n >= limit)
            && !source::is_trusted(peer.to_canonical(), &state.limits.proxies)
        {
            return None;
        }
        state.of.insert(address, n + 1);
        state.taken += 1;
        Some(Seat { places: places.clone(), address })
    }
}

impl Seat {
    /// Counts it for this address instead. `false` if that has as many as it may; nothing has changed then.
    pub(crate) fn move_to(&mut self, client: IpAddr) -> bool {
        let seat = Seat::take(&self.places, client);
        seat.map(|seat| *self = seat).is_some()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.places.state();
        state.taken -= 1;
        if let Some(n) = state.of.get_mut(&self.address) {
            *n -= 1;
            if *n == 0 {
                state.of.remove(&self.address);
            }
        }
        drop(state);
        self.places.changed.notify_one();
    }
}

/// Whoever has one IPv6 address has the 2⁶⁴ around it.
fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_a_proxy_all() {
        let options = IntakeOptions {
            max_connections: 100,
            max_connections_per_address: Some(2),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            ..IntakeOptions::default()
        };
        let places = Arc::new(Places::new(&options));
        let take = |address: &str| Seat::take(&places, address.parse().unwrap());
        let seats = [take("192.0.2.1"), take("::ffff:192.0.2.1"), take("2001:db8::1"), take("2001:db8::2")];
        assert!(seats.iter().all(Option::is_some));
        assert!(take("192.0.2.1").is_none() && take("2001:db8::ffff").is_none());
        assert!(take("192.0.2.2").is_some() && take("2001:db8:0:1::1").is_some());
        let many: Vec<_> = (0..10).map(|_| take("10.0.0.1")).collect();
        assert!(many.iter().all(Option::is_some));
        assert_eq!(places.state().taken, 14);
        drop((seats, many));
        assert!(take("192.0.2.1").is_some());
        let state = places.state();
        assert_eq!((state.taken, state.of.len()), (0, 0));
    }

    #[test]
    fn a_seat_that_moves_counts_where_it_is() {
        let options = IntakeOptions {
            max_connections_per_address: Some(1),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            ..IntakeOptions::default()
        };
        let places = Arc::new(Places::new(&options));
        let take = || Seat::take(&places, "10.0.0.1".parse().unwrap()).unwrap();
        let taken = || {
            let state = places.state();
            (state.taken, state.of.len())
        };
        let (mut one, mut other) = (take(), take());
        let client = "192.0.2.1".parse().unwrap();
        assert!(one.move_to(client) && !other.move_to(client));
        assert_eq!(taken(), (2, 2));
        drop(one);
        assert!(other.move_to(client));
        assert_eq!(taken(), (1, 1));
        drop(other);
        assert_eq!(taken(), (0, 0));
    }
}
