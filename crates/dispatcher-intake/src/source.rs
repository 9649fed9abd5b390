//! Where a request comes from, when proxies stand in between.

use std::net::IpAddr;

use dispatcher_core::Network;
use warp::http::{HeaderMap, HeaderName, HeaderValue};

/// The `X-Forwarded-For` headers of a request, in their order. Whether to believe them is for [`client`] to say.
#[derive(Clone)]
pub(crate) struct Forwarded(Vec<HeaderValue>);

// As a name, and not as text, that would be parsed for each request.
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl Forwarded {
    /// Those of a request, if it has any.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Forwarded> {
        let values: Vec<HeaderValue> = headers.get_all(&X_FORWARDED_FOR).iter().cloned().collect();
        (!values.is_empty()).then_some(Forwarded(values))
    }
}

/// Who sent a request: the peer, or, where that is a proxy that is trusted, the last in `X-Forwarded-For` that is none.
/// What stands before that one anybody may have written. `None` where what a proxy wrote is no address.
pub(crate) fn client(peer: IpAddr, trusted: &[Network], forwarded: Option<&Forwarded>) -> Option<IpAddr> {
    let mut client = peer.to_canonical();
    let Some(Forwarded(values)) = forwarded else { return Some(client) };
    for value in values.iter().rev() {
        for entry in value.as_bytes().rsplit(|&byte| byte == b',') {
            if !is_trusted(client, trusted) {
                return Some(client);
            }
            client = address(entry)?;
        }
    }
    Some(client)
}

pub(crate) fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// An address as proxies write it: some with a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?.trim();
    let plain = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    plain.or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn believes_proxies_that_are_trusted_and_nobody_before_them() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap());
        for (peer, forwarded, expected) in [
            ("203.0.113.1", &[][..], Some("203.0.113.1")),
            ("203.0.113.1", &["192.0.2.1"], Some("203.0.113.1")),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("10.0.0.1", &["192.0.2.1"], Some("192.0.2.1")),
            ("::ffff:10.0.0.1", &["::ffff:192.0.2.1"], Some("192.0.2.1")),
            ("10.0.0.1", &["1.1.1.1, 192.0.2.1"], Some("192.0.2.1")),
            ("10.0.0.1", &["1.1.1.1, 192.0.2.1, 10.0.0.2"], Some("192.0.2.1")),
            ("10.0.0.1", &["1.1.1.1", "192.0.2.1", "10.0.0.2,10.0.0.3"], Some("192.0.2.1")),
            ("10.0.0.1", &["10.0.0.9, 10.0.0.2"], Some("10.0.0.9")),
            ("2001:db8::1", &["192.0.2.1:4711"], Some("192.0.2.1")),
            ("10.0.0.1", &["[2001:db9::1]:4711"], Some("2001:db9::1")),
            ("10.0.0.1", &["[2001:db9::1]"], Some("2001:db9::1")),
            ("10.0.0.1", &["unknown"], None),
            ("10.0.0.1", &["192.0.2.1, "], None),
            ("10.0.0.1", &["junk, 192.0.2.1"], Some("192.0.2.1")),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append(&X_FORWARDED_FOR, HeaderValue::from_static(value));
            }
            let found = client(peer.parse().unwrap(), &trusted, Forwarded::of(&headers).as_ref());
            assert_eq!(found, expected.map(|text| text.parse().unwrap()), "{peer} says {forwarded:?}");
        }
    }
}
