//! Signing webhooks, as Standard Webhooks specifies it.
//!
//! What must stay true: the secret is never shown, whether in a report, a message or a debug print.

use std::fmt::{Debug, Formatter};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use sha2::Sha256;

use super::EventBody;
use crate::connection::Call;

/// Where webhooks are sent.
const PATH: &str = "/api/v1/webhooks/cancellations";
/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// Somebody who knows a secret.
pub struct Signer {
    secret: Vec<u8>,
}

impl Debug for Signer {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        out.write_str("Signer")
    }
}

impl Signer {
    /// Knows the first of these secrets, which have commas between them.
    pub fn new(secrets: &str) -> anyhow::Result<Self> {
        let first = secrets.split(',').next().unwrap_or_default().trim();
        let base64 = first.strip_prefix(PREFIX).context("a webhook secret begins with whsec_")?;
        let secret =
            BASE64_STANDARD.decode(base64).ok().context("a webhook secret is base64 after whsec_")?;
        Ok(Self { secret })
    }

    /// A delivery of an event, signed now. It may be sent again for as long as the service's tolerance lasts.
    pub fn delivery(&self, event_id: &str, body: &EventBody<'_>) -> anyhow::Result<Call> {
        let body = Bytes::from(serde_json::to_vec(body).context("cannot write an event")?);
        let timestamp = now()?.to_string();
        let signature = self.signature(event_id, &timestamp, &body)?;
        let header = |name, value: &str| {
            anyhow::Ok((HeaderName::from_static(name), HeaderValue::from_str(value).context("a header")?))
        };
        let headers = vec![
            header("webhook-id", event_id)?,
            header("webhook-timestamp", &timestamp)?,
            header("webhook-signature", &signature)?,
        ];
        Call::signed(PATH, headers, body)
    }

    fn signature(&self, event_id: &str, timestamp: &str, body: &[u8]) -> anyhow::Result<String> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.secret).context("a secret of any length is one")?;
        mac.update(format!("{event_id}.{timestamp}.").as_bytes());
        mac.update(body);
        Ok(format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
    }
}

#[expect(clippy::disallowed_methods, reason = "a sender of webhooks signs by its own clock")]
fn now() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn a_signature_is_the_one_that_standard_webhooks_gives() -> anyhow::Result<()> {
        let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, whsec_b3RoZXI=")?;
        let signature =
            signer.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#)?;
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        Ok(())
    }

    #[test]
    fn a_secret_is_neither_taken_wrong_nor_shown() -> anyhow::Result<()> {
        for wrong in ["", "MfKQ", "whsec_?"] {
            let refused = Signer::new(wrong).map(|_| ()).map_err(|error| format!("{error:#}"));
            assert!(refused.is_err_and(|words| !words.contains("MfKQ")), "{wrong:?} was taken or told");
        }
        assert_eq!(format!("{:?}", Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?), "Signer");
        Ok(())
    }
}
