//! Whom a connection comes from where a proxy in front says so in the PROXY protocol (HAProxy's `send-proxy`, and that of
//! balancers that pass connections on as they are): a header before everything else, TLS included.
//!
//! It is asked of everybody: a listener that guesses whether there is a header lets strangers choose whether to write one.

use std::{io, net::SocketAddr, sync::Arc};

use proxy_header::{Error, ParseConfig, Protocol, ProxiedAddress, ProxyHeader};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tracing::debug;

use crate::{
    Outcome,
    connection::{Connection, Place},
    rules::Rules,
    source,
};

/// The longest header. Addresses take 52 bytes; the rest are notes, such as the certificate that a client showed the proxy.
const LONGEST: usize = 4096;

/// Takes the header from the connection, which is from then on the client's that it names. `None`: it is to be closed, and
/// why is counted, unless it only ended.
pub(crate) async fn introduce(
    stream: &mut TcpStream,
    connection: Arc<Connection>,
    place: &mut Place,
    rules: &Rules,
) -> Option<Arc<Connection>> {
    let (worker, peer) = (&connection.worker, connection.peer);
    let refuse = |outcome: Outcome| {
        worker.tally.count(outcome);
        debug!(%peer, reason = outcome.name(), "connection closed");
    };
    if !source::is_trusted(peer.ip().to_canonical(), &rules.options.trusted_proxies) {
        refuse(Outcome::ProxyUnknown);
        return None;
    }
    let client = match connection.unless_closed(read(stream)).await? {
        Ok(client) => client,
        Err(NoHeader::Gone) => return None,
        Err(NoHeader::Malformed) => {
            refuse(Outcome::ProxyHeader);
            return None;
        }
    };
    if let Some(client) = client
        && !place.seat.move_to(client.ip())
    {
        debug!(%client, proxy = %peer, "connection closed: its address has as many as it may");
        worker.tally.count(Outcome::AddressFull);
        return None;
    }
    worker.introduce(place.id, client)
}

/// Why there is no header.
#[derive(Debug)]
enum NoHeader {
    /// The peer went away before it said anything, as probes of balancers do, or it broke off.
    Gone,
    /// What came is none, or too long.
    Malformed,
}

impl From<io::Error> for NoHeader {
    fn from(_: io::Error) -> NoHeader {
        NoHeader::Gone
    }
}

/// Takes the header from the stream, and nothing of what follows it. `None`: the proxy speaks for itself, or does not know.
async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, NoHeader> {
    let mut header = Vec::new();
    loop {
        let n_taken = header.len();
        header.resize(LONGEST, 0);
        let n_there = stream.peek(&mut header[n_taken..]).await?;
        header.truncate(n_taken + n_there);
        if n_there == 0 {
            return Err(if n_taken == 0 { NoHeader::Gone } else { NoHeader::Malformed });
        }
        let whole = parse(&header)?;
        // Of a header that is not whole yet, all that is there is part.
        let end = whole.map_or(header.len(), |(end, _)| end);
        stream.read_exact(&mut header[n_taken..end]).await?;
        if let Some((_, client)) = whole {
            return Ok(client);
        }
        if header.len() == LONGEST {
            return Err(NoHeader::Malformed);
        }
    }
}

/// Where it ends, and whom it names. `None`: there is more to come.
fn parse(header: &[u8]) -> Result<Option<(usize, Option<SocketAddr>)>, NoHeader> {
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    match ProxyHeader::parse(header, config) {
        Ok((header, end)) => match header.proxied_address() {
            None => Ok(Some((end, None))),
            Some(ProxiedAddress { protocol: Protocol::Stream, source, .. }) => Ok(Some((end, Some(*source)))),
            Some(_) => Err(NoHeader::Malformed),
        },
        Err(Error::BufferTooShort) => Ok(None),
        Err(_) => Err(NoHeader::Malformed),
    }
}
