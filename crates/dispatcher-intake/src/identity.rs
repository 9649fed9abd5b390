//! What is equal for repeats of one callback, and for nothing else.

use bytes::Bytes;
use dispatcher_core::Command;
use sha2::{Digest, Sha256};

/// The first 128 bits of a SHA-256 over app, command, request id and body. Each part but the last is preceded by its
/// length, so that no two different callbacks are the same text.
pub(crate) fn identity(sdk_app_id: u64, command: &Command, request_id: Option<&str>, body: &Bytes) -> u128 {
    let command = command.as_str();
    let mut head = [0; 24];
    head[..8].copy_from_slice(&sdk_app_id.to_le_bytes());
    head[8..16].copy_from_slice(&(command.len() as u64).to_le_bytes());
    head[16..].copy_from_slice(&request_id.map_or(u64::MAX, |id| id.len() as u64).to_le_bytes());
    let mut hash = Sha256::new();
    hash.update(head);
    hash.update(command);
    hash.update(request_id.unwrap_or_default());
    hash.update(body);
    let digest = hash.finalize();
    u128::from_be_bytes(*digest.first_chunk().expect("a SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn differs_in_every_part_and_at_every_seam() {
        let parts: [(u64, &str, Option<&str>, &str); 9] = [
            (1, "A.B", None, "{}"),
            (2, "A.B", None, "{}"),
            (1, "A.C", None, "{}"),
            (1, "A.B", None, "{ }"),
            (1, "A.B", Some("r"), "{}"),
            (1, "A.B", Some("s"), "{}"),
            (1, "A.Br", None, "{}"),
            (1, "A.B", None, "r{}"),
            (1, "A.", Some("B"), "r{}"),
        ];
        let of = |(app, command, request_id, body): (u64, &str, Option<&str>, &'static str)| {
            identity(app, &Command::new(command), request_id, &Bytes::from_static(body.as_bytes()))
        };
        assert_eq!(parts.map(of).into_iter().collect::<HashSet<_>>().len(), parts.len());
        assert_eq!(of(parts[0]), of(parts[0]));
    }

    #[test]
    fn is_the_same_from_release_to_release() {
        // Stored in journals, and part of the idempotency keys that receivers keep.
        let of = identity(1400000001, &Command::new("Some.Command"), None, &Bytes::from_static(b"{}"));
        assert_eq!(format!("{of:032x}"), "df79308b71234561cb1dd10f40e31d7c");
    }
}
