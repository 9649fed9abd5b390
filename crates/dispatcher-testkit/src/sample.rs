//! Callbacks and events as the dispatcher would make them.

use std::sync::Arc;

use bytes::Bytes;
use dispatcher_core::{App, Callback, CallbackId, CallbackParts, Command, Event, NewEvent, Timestamp};

/// A callback of `command` with the catalogue's sample as its body, of the app 1400000001, `main`.
///
/// # Panics
/// When the catalogue does not know the command; use [`callback`] with a body of your own then.
#[must_use]
#[track_caller]
pub fn sample(command: &str) -> Callback {
    let info = tencent_chat::command(command);
    let info = info.unwrap_or_else(|| panic!("{command:?} is not in the catalogue, so there is no sample of it"));
    callback(command, info.sample)
}

/// A callback of `command` with this body, its key, time and identity read as intake reads them.
///
/// # Panics
/// When intake would refuse the body.
#[must_use]
#[track_caller]
pub fn callback(command: &str, body: &str) -> Callback {
    callback_from("iOS", command, body)
}

/// The same, sent from this platform (`OptPlatform`), such as `RESTAPI`.
///
/// # Panics
/// When intake would refuse the body.
#[must_use]
#[track_caller]
pub fn callback_from(platform: &str, command: &str, body: &str) -> Callback {
    taken(platform, command, body).unwrap_or_else(|err| panic!("intake refuses this body of {command}: {err}"))
}

/// The callback, unless intake would refuse it.
pub(crate) fn taken(platform: &str, command: &str, body: &str) -> Result<Callback, tencent_chat::EnvelopeError> {
    let envelope = tencent_chat::inspect(body.as_bytes(), command)?;
    let id = CallbackId::mint();
    Ok(Callback::new(CallbackParts {
        id,
        app: App::new(1_400_000_001, "main"),
        command: Command::new(command),
        query: tencent_chat::query_string(1_400_000_001, command, Some("203.0.113.7"), Some(platform), None).into(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        received_at: Timestamp::now(),
        event_time: envelope.event_time.map(Timestamp::from_millis),
        key: envelope.key.map(Into::into),
        identity: envelope.tells_apart.then(|| u128::from_be_bytes(*id.as_bytes())),
    }))
}

/// What the handler called `handler` made of `callback`, as a sink gets it; `seq` is that of the first.
#[must_use]
pub fn events(seq: u64, handler: &str, callback: &Callback, new: &[NewEvent]) -> Vec<Event> {
    let shared = Arc::new(callback.clone());
    let event = |(n, new): (usize, &NewEvent)| Event {
        seq: seq + n as u64,
        handler: handler.into(),
        n: u32::try_from(n).expect("a handler returns few events"),
        event_type: new.event_type().into(),
        key: new.key(callback).cloned(),
        time: new.time(callback),
        data: new.data().clone(),
        callback: Arc::clone(&shared),
        replay: false,
    };
    new.iter().enumerate().map(event).collect()
}
