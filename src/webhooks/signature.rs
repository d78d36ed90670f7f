//! Whether a webhook was sent by somebody who knows a secret. Pure: no clock, no database, no network.
//!
//! Two ways of signing, both HMAC-SHA256 over the bytes as they came:
//!
//! | | signs | with | sends |
//! | --- | --- | --- | --- |
//! | Standard Webhooks | `id.timestamp.body` | the bytes that the secret is the base64 of | `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64> …` |
//! | Stripe | `timestamp.body` | the secret as it is written, `whsec_` included | `stripe-signature: t=…,v1=<hex>,…` |
//!
//! What must stay true: any of the secrets and any of the signatures may match, so that secrets can be changed
//! without a gap; signatures are compared in constant time.

use axum::http::HeaderMap;
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hmac::digest::{CtOutput, Output};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
/// The shortest secret, in bytes: as many as can't be guessed. Standard Webhooks advises 24 to 64.
const SECRET_MIN_BYTES: usize = 16;
/// The longest id of an event, in characters.
pub const EVENT_ID_MAX_CHARS: usize = 255;
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

type Tag = CtOutput<Hmac<Sha256>>;

/// What webhooks may be signed with. None: no webhook is taken.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Vec<Secret>);

#[derive(Debug, Clone)]
struct Secret {
    written: SecretString,
    decoded: SecretSlice<u8>,
}

impl Secrets {
    /// Reads secrets with commas between them.
    ///
    /// # Errors
    /// What is wrong with which one, without repeating it.
    pub fn read(list: Option<&str>) -> Result<Self, String> {
        let secret = |(index, written): (usize, &str)| {
            let decoded = written.trim().strip_prefix(PREFIX).and_then(|base64| BASE64.decode(base64).ok());
            let decoded = decoded.filter(|bytes| bytes.len() >= SECRET_MIN_BYTES).ok_or_else(|| {
                format!(
                    "secret {} must be {PREFIX} and the base64 of at least {SECRET_MIN_BYTES} bytes",
                    index + 1
                )
            })?;
            Ok(Secret { written: written.trim().into(), decoded: decoded.into() })
        };
        let list = list.map(|list| list.split(',').enumerate().map(secret).collect());
        list.transpose().map(|secrets| Self(secrets.unwrap_or_default()))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Signs as Standard Webhooks specifies, with each of the secrets: the value of `webhook-signature`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp}.");
        let sign = |secret: &Secret| {
            // A key of any length will do.
            let mac = Hmac::<Sha256>::new_from_slice(secret.decoded.expose_secret()).ok()?;
            let tag = mac.chain_update(&head).chain_update(body).finalize().into_bytes();
            Some(format!("v1,{}", BASE64.encode(tag)))
        };
        self.0.iter().filter_map(sign).collect::<Vec<_>>().join(" ")
    }
}

/// How a webhook was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// As Standard Webhooks specifies.
    Standard,
    /// As Stripe does.
    Stripe,
}

impl Scheme {
    /// The scheme's name in tables and lists.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Stripe => "stripe",
        }
    }

    /// The scheme of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Standard, Self::Stripe].into_iter().find(|scheme| scheme.as_str() == name)
    }
}

/// What the headers of a request claim.
pub struct Signature {
    scheme: Scheme,
    /// The event's id, where the scheme signs one.
    id: Option<String>,
    /// As written, for so it is signed.
    timestamp: String,
    tags: Vec<Tag>,
}

impl Signature {
    /// Reads the headers. `None` if they are not those of either scheme.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let header = |name| headers.get(name)?.to_str().ok();
        // A list may be parted over several lines of one name.
        let lines = headers.get_all("webhook-signature").iter().map(|line| line.to_str().ok());
        match lines.collect::<Option<Vec<_>>>()?.join(" ") {
            list if list.is_empty() => Self::stripe(header("stripe-signature")?),
            list => Self::standard(header("webhook-id")?, header("webhook-timestamp")?, &list),
        }
    }

    fn standard(id: &str, timestamp: &str, list: &str) -> Option<Self> {
        let tags = list.split(' ').filter_map(|one| one.strip_prefix("v1,"));
        let tags = tags.filter_map(|base64| tag(&BASE64.decode(base64).ok()?)).collect();
        let id = Some(id.to_owned()).filter(|id| is_event_id(id))?;
        Some(Self { scheme: Scheme::Standard, id: Some(id), timestamp: timestamp.to_owned(), tags })
    }

    fn stripe(list: &str) -> Option<Self> {
        let parts = || list.split(',').filter_map(|part| part.trim().split_once('='));
        let (_, timestamp) = parts().find(|(name, _)| *name == "t")?;
        let tags = parts().filter(|(name, _)| *name == "v1");
        let tags = tags.filter_map(|(_, digits)| tag(&hex::decode(digits).ok()?)).collect();
        Some(Self { scheme: Scheme::Stripe, id: None, timestamp: timestamp.to_owned(), tags })
    }

    /// Whether `body` was signed so with one of `secrets`.
    #[must_use]
    pub fn is_good(&self, body: &[u8], secrets: &Secrets) -> bool {
        let head = match &self.id {
            Some(id) => format!("{id}.{}.", self.timestamp),
            None => format!("{}.", self.timestamp),
        };
        secrets.0.iter().any(|secret| {
            let key = match self.scheme {
                Scheme::Standard => secret.decoded.expose_secret(),
                Scheme::Stripe => secret.written.expose_secret().as_bytes(),
            };
            Hmac::<Sha256>::new_from_slice(key).is_ok_and(|mac| {
                let right = mac.chain_update(&head).chain_update(body).finalize();
                self.tags.contains(&right)
            })
        })
    }

    /// When it was signed, in seconds since 1970.
    #[must_use]
    pub fn signed_at(&self) -> Option<i64> {
        self.timestamp.parse().ok()
    }

    /// How it was signed, and the event's id if that was signed too.
    #[must_use]
    pub fn into_parts(self) -> (Scheme, Option<String>) {
        (self.scheme, self.id)
    }
}

/// Whether this can be the id of an event: visible ASCII, and not a page of it.
#[must_use]
pub fn is_event_id(id: &str) -> bool {
    (1..=EVENT_ID_MAX_CHARS).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

fn tag(bytes: &[u8]) -> Option<Tag> {
    let right_length = bytes.len() == Output::<Hmac<Sha256>>::default().len();
    right_length.then(|| CtOutput::new(Output::<Hmac<Sha256>>::clone_from_slice(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_plJ3nmyCDGBKInavdOK15jsl";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    /// From the tests of the libraries of Standard Webhooks.
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: &str = "1614265330";
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    /// `printf '1614265330.{"test": 2432232314}' | openssl dgst -sha256 -hmac "$SECRET"`
    const STRIPE: &str = "t=1614265330,v1=2e37df5d4a028c51a7f3133d64ae1e300d2c2c900f1b1d49d4369ad2530f8964";

    fn secrets(list: &str) -> Secrets {
        Secrets::read(Some(list)).unwrap()
    }

    fn is_good(id: &str, timestamp: &str, list: &str, body: &[u8], known: &str) -> bool {
        Signature::standard(id, timestamp, list).is_some_and(|given| given.is_good(body, &secrets(known)))
    }

    #[test]
    fn a_signature_of_the_standard_is_good_and_nothing_near_it_is() {
        assert!(is_good(ID, TIMESTAMP, SIGNED, BODY, SECRET));
        for (id, timestamp, list, body, known) in [
            ("msg_other", TIMESTAMP, SIGNED, BODY, SECRET),
            (ID, "1614265331", SIGNED, BODY, SECRET),
            (ID, TIMESTAMP, SIGNED, br#"{"test":2432232314}"#, SECRET),
            (ID, TIMESTAMP, SIGNED, BODY, OTHER),
            (ID, TIMESTAMP, &SIGNED[..40], BODY, SECRET),
            (ID, TIMESTAMP, &SIGNED[3..], BODY, SECRET),
            (ID, TIMESTAMP, &SIGNED.replace("v1", "v1a"), BODY, SECRET),
            (ID, TIMESTAMP, "v1,", BODY, SECRET),
            (ID, TIMESTAMP, "", BODY, SECRET),
            ("", TIMESTAMP, SIGNED, BODY, SECRET),
            (&"x".repeat(256), TIMESTAMP, SIGNED, BODY, SECRET),
        ] {
            assert!(!is_good(id, timestamp, list, body, known), "{id} {timestamp} {list}");
        }
    }

    #[test]
    fn what_is_signed_here_is_what_the_standard_signs() {
        assert_eq!(secrets(SECRET).sign(ID, TIMESTAMP.parse().unwrap(), BODY), SIGNED);
        let both = secrets(&format!("{OTHER},{SECRET}")).sign(ID, TIMESTAMP.parse().unwrap(), BODY);
        assert!(both.ends_with(SIGNED) && is_good(ID, TIMESTAMP, &both, BODY, OTHER));
    }

    #[test]
    fn any_secret_and_any_signature_may_match_while_secrets_are_changed() {
        let both = format!("{OTHER}, {SECRET}");
        let list = format!("v2,x v1,bm90aGluZw== {SIGNED} v1,!");
        assert!(is_good(ID, TIMESTAMP, &list, BODY, &both) && is_good(ID, TIMESTAMP, SIGNED, BODY, &both));
        assert!(!is_good(ID, TIMESTAMP, &list, BODY, OTHER));
    }

    #[test]
    fn a_signature_as_stripe_makes_it_is_good() {
        let good = |list: &str| Signature::stripe(list).is_some_and(|s| s.is_good(BODY, &secrets(SECRET)));
        assert!(good(STRIPE) && good(&format!("{STRIPE},v0=00,v1=00")));
        for bad in [&STRIPE.replace("v1", "v0"), &STRIPE.replace("t=16", "t=17"), "v1=00", "t=1614265330", ""]
        {
            assert!(!good(bad), "{bad}");
        }
    }

    #[test]
    fn a_secret_that_is_none_is_refused_by_its_place_and_not_shown() {
        assert!(Secrets::read(None).unwrap().is_empty());
        let short = "whsec_c2VzYW1l";
        for bad in ["sesame", "whsec_", "whsec_se same", short, "", "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
        {
            let error = Secrets::read(Some(&format!("{SECRET},{bad}"))).unwrap_err();
            assert!(error.starts_with("secret 2 ") && !error.contains("sesame"), "{error}");
        }
        assert!(!format!("{:?}", secrets(SECRET)).contains("MfKQ"));
    }
}
