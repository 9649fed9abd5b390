//! The signature of Standard Webhooks, <https://www.standardwebhooks.com>: HMAC-SHA256 over id, time and body.

use base64::{Engine, prelude::BASE64_STANDARD};
use dispatcher_core::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// One signing key, ready for use: `whsec_` and base64 in the configuration.
#[derive(Clone)]
pub(crate) struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// Reads a key.
    ///
    /// # Errors
    /// What it should look like; never what it is.
    pub(crate) fn read(secret: &Secret) -> Result<SigningKey, &'static str> {
        let key = secret
            .expose()
            .strip_prefix("whsec_")
            .and_then(|encoded| BASE64_STANDARD.decode(encoded).ok())
            .filter(|key| !key.is_empty())
            .ok_or("not a webhook secret; write \"whsec_\" and base64 of 24 to 64 random bytes")?;
        let mac = Hmac::new_from_slice(&key).expect("HMAC takes keys of any length");
        Ok(SigningKey(mac))
    }

    fn sign(&self, id: &str, time: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{time}.").as_bytes());
        mac.update(body);
        BASE64_STANDARD.encode(mac.finalize().into_bytes())
    }
}

/// The header `webhook-signature`: one signature per key, so that a receiver may know the old one or the new one while
/// secrets are changed. `time` in Unix seconds.
pub(crate) fn signatures(keys: &[SigningKey], id: &str, time: i64, body: &[u8]) -> String {
    let signatures: Vec<String> = keys.iter().map(|key| format!("v1,{}", key.sign(id, time, body))).collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SECOND: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn key(secret: &str) -> Result<SigningKey, &'static str> {
        SigningKey::read(&Secret::new(secret).unwrap())
    }

    #[test]
    fn signs_the_published_vector() {
        // From the specification's reference libraries.
        assert_eq!(
            signatures(
                &[key(FIRST).unwrap()],
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn signs_once_per_key_as_the_reference_does() {
        let reference = |secret| standardwebhooks::Webhook::new(secret).unwrap().sign("id", 7, b"{}").unwrap();
        assert_eq!(
            signatures(&[key(FIRST).unwrap(), key(SECOND).unwrap()], "id", 7, b"{}"),
            format!("{} {}", reference(FIRST), reference(SECOND))
        );
    }

    #[test]
    fn refuses_what_is_no_secret() {
        for wrong in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_***", "whsec_…"] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
    }
}
