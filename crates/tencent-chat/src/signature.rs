//! The proof that a callback comes from someone who knows the app's token.
//!
//! It covers neither body nor command, and holds for as long as the receiver takes its `RequestTime` for fresh (the
//! pages say a minute): it keeps strangers out, and does not tell whether a body was changed on the way. TLS does.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::query::hex_digit;

/// A signature; displayed as it is sent, in lower-case hex. Not shown by `Debug`: with its time it opens the door.
#[derive(Clone, Copy)]
pub struct Signature([u8; 32]);

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(..)")
    }
}

/// Signs: SHA-256 over the token and right after it the time, in the digits of the parameter `RequestTime`.
///
/// <https://cloud.tencent.com/document/product/269/32431>
pub fn sign(token: &str, request_time: &str) -> Signature {
    Signature(Sha256::new().chain_update(token).chain_update(request_time).finalize().into())
}

/// Whether `sign`, hex of either case, is the signature of this token and time. Takes as long for a nearly right one as
/// for a wrong one. An empty token verifies nothing: anyone could sign with it.
///
/// Whether the time is fresh is for the caller to check.
#[must_use]
pub fn verify(token: &str, request_time: &str, sign: &str) -> bool {
    let Some(received) = unhex(sign) else { return false };
    let right = self::sign(token, request_time).0.ct_eq(&received);
    bool::from(right) && !token.is_empty()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = hex_digit(high)? << 4 | hex_digit(low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The published vector. Older revisions of the page print the token as `xxxyyy`, beside the same digest.
    const TOKEN: &str = "xxxxyyyy";
    const TIME: &str = "1669872112";
    const SIGN: &str = "17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061";

    #[test]
    fn signs_the_published_vector() {
        assert_eq!(sign(TOKEN, TIME).to_string(), SIGN);
    }

    #[test]
    fn verifies_only_the_right_signature() {
        let upper = SIGN.to_uppercase();
        let of_nothing = sign("", TIME).to_string();
        for (token, time, sign, right) in [
            (TOKEN, TIME, SIGN, true),
            (TOKEN, TIME, &*upper, true),
            ("xxxyyy", TIME, SIGN, false),
            (TOKEN, "1669872113", SIGN, false),
            // The signature sees no seam between token and time; the receiver, who knows its token, does.
            ("xxxxyyyy1", "669872112", SIGN, true),
            (TOKEN, TIME, "", false),
            (TOKEN, TIME, &SIGN[1..], false),
            (TOKEN, TIME, &SIGN[..62], false),
            (TOKEN, TIME, &format!("{SIGN}00"), false),
            (TOKEN, TIME, &SIGN.replace('b', "g"), false),
            (TOKEN, TIME, &format!("{}群", &SIGN[..61]), false),
            ("", TIME, &of_nothing, false),
        ] {
            assert_eq!(verify(token, time, sign), right, "{token:?} {time:?} {sign:?}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", sign(TOKEN, TIME)), "Signature(..)");
    }
}
