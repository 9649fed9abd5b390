//! Blocks of addresses, in settings.

use std::{borrow::Cow, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::InvalidUnit;

/// A block of addresses such as `10.0.0.0/8`; a single address is a block of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether `address` is in it. An IPv4 address that is written as an IPv6 one is another: see
    /// [`IpAddr::to_canonical`].
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for Network {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Network, InvalidUnit> {
        let block = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        block.map(Network).ok_or_else(|| {
            InvalidUnit::new(format!(
                "{text:?} is not a network; write an address and a length, such as \"10.0.0.0/8\""
            ))
        })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Network, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A network such as \"10.0.0.0/8\", or a single address." })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_block_or_an_address() {
        for (network, address, is_in) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("::/0", "192.0.2.7", false),
            ("0.0.0.0/0", "192.0.2.7", true),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), is_in, "{address} in {network:?}");
        }
        for text in ["10.0.0.0/8", "2001:db8::/32"] {
            assert_eq!(serde_json::to_value(text.parse::<Network>().unwrap()).unwrap(), text);
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "example.com"] {
            assert!(text.parse::<Network>().unwrap_err().to_string().contains("is not a network"), "{text}");
        }
    }
}
