//! Writes each event as a line of JSON to a TCP connection, for log collectors that listen for lines.
//!
//! An event counts as delivered once the system has taken its line. What it had taken when a connection breaks may not
//! have arrived: use the bundled `http` sink, whose receiver answers, where every event matters.

use async_trait::async_trait;
use dispatcher_core::{
    CheckContext, DeliverContext, DeliveryError, Event, OpenContext, OpenError, Outcomes, SettingError, Sink,
    SinkConfig, sink,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{io::AsyncWriteExt, net::TcpStream};

inventory::submit! { sink!(TcpConfig, "tcp", lanes = 1) }

/// `[sinks.<name>]` with `type = "tcp"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TcpConfig {
    /// Where the collector listens: `host:port`.
    address: String,
}

#[async_trait]
impl SinkConfig for TcpConfig {
    type Sink = TcpSink;

    fn check(&self, _: &CheckContext) -> Result<(), Vec<SettingError>> {
        let port = self.address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) => Ok(()),
            _ => Err(vec![SettingError::new("address", "no port; write \"host:port\", such as \"127.0.0.1:5170\"")]),
        }
    }

    async fn open(&self, _: &OpenContext) -> Result<TcpSink, OpenError> {
        let connected = TcpStream::connect(&self.address).await;
        let connection = connected.map_err(|err| OpenError::key("address", format!("{}: {err}", self.address)))?;
        Ok(TcpSink { address: self.address.clone(), connection: Some(connection), lines: Vec::new() })
    }
}

struct TcpSink {
    address: String,
    connection: Option<TcpStream>, // Gone after a failure.
    lines: Vec<u8>,                // Kept between batches: a steady load allocates nothing.
}

#[async_trait]
impl Sink for TcpSink {
    async fn deliver(&mut self, batch: &[Event], _: &DeliverContext) -> Result<Outcomes, DeliveryError> {
        self.lines.clear();
        for event in batch {
            event.write_json_line(&mut self.lines);
        }
        // Taken out and put back only after success: a connection that broke half-way through a line is not used again.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => TcpStream::connect(&self.address).await?,
        };
        connection.write_all(&self.lines).await?;
        self.connection = Some(connection);
        Ok(Outcomes::all_done())
    }
}
