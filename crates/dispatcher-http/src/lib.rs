//! What plugins that post over HTTP share.
//!
//! - [`target`]: the URL that is posted to, as it is sent and as people may see it.
//! - [`Guard`]: where a connection may go.
//! - [`read_headers`]: headers out of a configuration.
//! - [`Client`]: keeps connections, follows no redirects, obeys no proxy of the environment, and reads no more of an answer
//!   than it was told to.
//! - [`client_tls`]: what a client speaks TLS with, here and in the program itself.
//! - [`Answer`] and [`NoAnswer`]: what came of a request, without what people write to each other.
//!
//! What an answer means – done, again, never – is for each plugin to say.

mod answer;
mod client;
mod excerpt;
mod guard;
mod headers;
mod named;
pub mod target;

pub use answer::{Answer, BodyEnd, NoAnswer};
pub use client::{Client, ClientParts, Roots, Tls, client_tls};
pub use dispatcher_core::Network;
pub use excerpt::EXCERPT_MAX;
pub use guard::Guard;
pub use headers::read_headers;
