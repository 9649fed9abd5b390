//! Where a connection may go: public addresses, and networks that the configuration names.
//!
//! Without this, whoever can write a URL or answer a DNS query for one makes the dispatcher speak to its own network: to
//! metadata services, admin pages, databases. Names are judged at every connect, by the addresses that they resolve to
//! then and that are connected to; an address in the URL never reaches the resolver and is judged when settings are.

use std::{
    error, fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use dispatcher_core::Network;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Judges addresses. Cheap to clone.
#[derive(Clone)]
pub struct Guard {
    allowed: Arc<[Network]>,
}

impl Guard {
    /// Lets public addresses and these networks pass.
    #[must_use]
    pub fn new(allowed: &[Network]) -> Guard {
        Guard { allowed: allowed.into() }
    }

    /// Whether a connection to this address may be made.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let inner = innermost(address).unwrap_or(address);
        is_public(inner) || self.allowed.iter().any(|network| network.contains(address) || network.contains(inner))
    }

    /// Judges a URL that has an address in place of a name. `localhost` counts as one: it is no public name anywhere.
    ///
    /// # Errors
    /// Which address is refused, and what to write to allow it.
    pub fn check_literal(&self, url: &Url) -> Result<(), String> {
        let (address, network) = match url.host() {
            Some(Host::Ipv4(address)) => (IpAddr::V4(address), format!("{address}/32")),
            Some(Host::Ipv6(address)) => (IpAddr::V6(address), format!("{address}/128")),
            Some(Host::Domain(name)) if is_localhost(name) => {
                let local = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                if local.into_iter().any(|address| self.allows(address)) {
                    return Ok(());
                }
                (local[0], "127.0.0.0/8".to_owned())
            }
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err("names no host".to_owned()),
        };
        if self.allows(address) {
            return Ok(());
        }
        let host = url.host().map(|host| host.to_string()).unwrap_or_default();
        Err(format!("{host} is not a public address; if it is meant, write allow_networks = [\"{network}\"]"))
    }
}

/// Looks a name up as the system does and lets only allowed addresses out.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            // The port is filled in by the client.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found.iter().copied().filter(|found| guard.allows(found.ip())).collect();
            match found.first() {
                Some(first) if allowed.is_empty() => {
                    Err(Refused { name: name.as_str().to_owned(), address: first.ip() }.into())
                }
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// A name that resolves to addresses none of which is allowed.
#[derive(Debug)]
struct Refused {
    name: String,
    address: IpAddr,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} resolves to {}, which is not a public address; if it is meant, add it to allow_networks",
            self.name, self.address
        )
    }
}

impl error::Error for Refused {}

/// Whether an address that wraps no other is reachable by everyone, by the registries of special addresses.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    !matches!(
        (a, b, c, d),
        (0 | 10 | 127 | 224.., ..) // This network, private, loopback, multicast and reserved.
            | (100, 64..=127, ..) // Shared by carriers; Tencent's and Alibaba's metadata services are in it.
            | (169, 254, ..) // Link-local; the metadata services of most clouds.
            | (172, 16..=31, ..)
            | (192, 168, ..)
            | (192, 0, 0 | 2, _) // Protocol assignments; documentation.
            | (198, 18 | 19, ..) // Benchmarks.
            | (198, 51, 100, _) // Documentation.
            | (203, 0, 113, _) // Documentation.
            | (168, 63, 129, 16) // Azure's host, public by its number only.
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Only 2000::/3 is given out at all; loopback, unique and link-local, site-local and multicast are outside.
    let [a, b, ..] = address.segments();
    a & 0xe000 == 0x2000
        && !(a == 0x2001 && b < 0x0200) // Protocol assignments.
        && !(a == 0x2001 && b == 0x0db8) // Documentation.
        && !(a == 0x3fff && b < 0x1000) // Documentation.
}

/// The address of version 4 inside one of version 6, where a gateway or the system itself would unwrap it.
fn innermost(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let (high, low) = match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => (g, h), // Mapped; NAT64.
        (0x2002, ..) => (b, c),                                         // 6to4.
        (0x2001, 0, ..) => (!g, !h),                                    // Teredo.
        _ => return None,
    };
    Some(IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))))
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &[&str]) -> Guard {
        let networks: Vec<Network> = allowed.iter().map(|text| text.parse().unwrap()).collect();
        Guard::new(&networks)
    }

    #[test]
    fn only_public_addresses_pass() {
        let guard = guard(&[]);
        for (address, passes) in [
            ("1.1.1.1", true),
            ("9.255.255.255", true),
            ("11.0.0.0", true),
            ("100.63.255.255", true),
            ("100.128.0.0", true),
            ("168.63.129.15", true),
            ("172.15.255.255", true),
            ("172.32.0.0", true),
            ("192.0.1.0", true),
            ("198.20.0.0", true),
            ("223.255.255.255", true),
            ("0.0.0.0", false),
            ("0.255.0.1", false),
            ("10.0.0.1", false),
            ("100.64.0.0", false),
            ("100.127.255.255", false),
            ("127.0.0.1", false),
            ("127.255.255.255", false),
            ("168.63.129.16", false),
            ("169.254.169.254", false),
            ("172.16.0.0", false),
            ("172.31.255.255", false),
            ("192.0.0.192", false),
            ("192.168.1.1", false),
            ("198.18.0.0", false),
            ("198.19.255.255", false),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700:4700::1111", true),
            ("2001:4860:4860::8888", true),
            ("::", false),
            ("::1", false),
            ("::7f00:1", false),
            ("fc00::1", false),
            ("fdff::1", false),
            ("fe80::1", false),
            ("febf::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("100::1", false),
            ("2001:db8::1", false),
            ("2001:2::1", false),
            ("64:ff9b:1::1", false),
            // Wrapped: what is inside decides.
            ("::ffff:1.1.1.1", true),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("64:ff9b::1.1.1.1", true),
            ("64:ff9b::10.0.0.1", false),
            ("2002:0101:0101::1", true),
            ("2002:7f00:0001::1", false),
            ("2002:a9fe:a9fe::", false),
            ("2001:0:4136:e378:8000:63bf:fefe:fefe", true), // 1.1.1.1, every bit turned round.
            ("2001:0:4136:e378:8000:63bf:80ff:fffe", false), // 127.0.0.1.
        ] {
            assert_eq!(guard.allows(address.parse().unwrap()), passes, "{address}");
        }
    }

    #[test]
    fn named_networks_pass_also_when_wrapped() {
        let guard = guard(&["10.1.0.0/16", "fd00::/8"]);
        for (address, passes) in [
            ("10.1.2.3", true),
            ("10.2.0.1", false),
            ("::ffff:10.1.2.3", true),
            ("::ffff:10.2.2.3", false),
            ("fd00::1", true),
            ("fc00::1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(guard.allows(address.parse().unwrap()), passes, "{address}");
        }
    }

    #[test]
    fn an_address_in_a_url_is_judged_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "0177.0.0.1",
            "127.1",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::]",
            "0.0.0.0",
            "0",
            "localhost",
            "LocalHost.",
            "api.localhost",
            "169.254.169.254",
            "[64:ff9b::7f00:1]",
        ] {
            let url = crate::target::parse(&format!("http://{host}:9000/in")).unwrap();
            assert!(guard(&[]).check_literal(&url).is_err(), "{host} passed");
        }
        let url = crate::target::parse("http://0x7f.1/in").unwrap();
        assert_eq!(
            guard(&[]).check_literal(&url).unwrap_err(),
            "127.0.0.1 is not a public address; if it is meant, write allow_networks = [\"127.0.0.1/32\"]"
        );
        for (host, allowed) in [("127.0.0.1", "127.0.0.0/8"), ("localhost", "127.0.0.0/8"), ("localhost", "::1/128")] {
            let url = crate::target::parse(&format!("http://{host}/")).unwrap();
            assert_eq!(guard(&[allowed]).check_literal(&url), Ok(()), "{host} with {allowed}");
        }
        let url = crate::target::parse("https://example.com/in").unwrap();
        assert_eq!(guard(&[]).check_literal(&url), Ok(()));
    }

    #[tokio::test]
    async fn a_name_is_judged_by_what_it_resolves_to() {
        let name = || "localhost".parse::<Name>().unwrap();
        let refused = guard(&[]).resolve(name()).await.err().unwrap().to_string();
        assert!(refused.starts_with("localhost resolves to ") && refused.contains("allow_networks"), "{refused}");
        let addresses: Vec<IpAddr> =
            guard(&["127.0.0.0/8"]).resolve(name()).await.unwrap().map(|found| found.ip()).collect();
        assert_eq!(addresses, [IpAddr::V4(Ipv4Addr::LOCALHOST)], "only the allowed ones");
    }
}
