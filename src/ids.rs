//! The one source of identifiers and secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

/// A new identifier for something Holdfast makes: UUID version 7, so rows made later sort later.
#[must_use]
pub fn fresh() -> Uuid {
    Uuid::now_v7()
}

/// 32 hexadecimal characters (122 random bits from the operating system): unguessable, unique across hosts.
#[must_use]
pub fn token() -> String {
    Uuid::new_v4().simple().to_string()
}

/// A new API key: `hf_` and 64 hexadecimal characters (244 random bits).
#[must_use]
pub fn api_key() -> String {
    format!("hf_{}{}", token(), token())
}

/// A new secret for signing webhooks: `whsec_` and the base64 of 32 bytes, 244 bits of them random.
#[must_use]
pub fn webhook_secret() -> String {
    let bytes = [*Uuid::new_v4().as_bytes(), *Uuid::new_v4().as_bytes()].concat();
    format!("whsec_{}", STANDARD.encode(bytes))
}

/// Whether `key` has the form of an API key.
#[must_use]
pub fn is_api_key(key: &str) -> bool {
    key.strip_prefix("hf_")
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// 128 random bits, which need not be secret.
#[must_use]
pub fn random_u128() -> u128 {
    // In each of the two, six bits are fixed; they do not meet.
    Uuid::new_v4().as_u128() ^ Uuid::new_v4().as_u128().rotate_left(64)
}

/// One random byte, for jitter.
#[must_use]
pub fn random_byte() -> u8 {
    Uuid::new_v4().as_bytes()[0]
}
