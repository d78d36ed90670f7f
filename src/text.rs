//! Bounded text: what callers may write into reasons, references and names.
//!
//! Inner code can't hold text that Postgres would refuse (U+0000) or that would break a log line or a
//! terminal (control characters), nor text without an end.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is refused. Says what would be right, never what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextError {
    max: usize,
    rule: &'static str,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "must be 1 to {} {}", self.max, self.rule)
    }
}

fn checked(
    text: String,
    max: usize,
    rule: &'static str,
    allows: fn(char) -> bool,
) -> Result<String, TextError> {
    // At most `max + 1` characters are looked at, however long the text is.
    let length = text.chars().take(max + 1).count();
    let fits = (1..=max).contains(&length) && text.chars().all(allows);
    if fits { Ok(text) } else { Err(TextError { max, rule }) }
}

/// Neither control nor layout-changing: bidirectional overrides can make a line read as another.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

fn is_trimmed(text: &str) -> bool {
    text.trim().len() == text.len()
}

fn is_visible_ascii(c: char) -> bool {
    c.is_ascii_graphic()
}

fn is_of_a_hash(c: char) -> bool {
    is_visible_ascii(c) && c != ':'
}

// The same rules as patterns, for the description of the API. A test holds them together.
const PLAIN: &str = r"^[^\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028\u2029]+$";
const TRIMMED: &str = r"^[^\s\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028\u2029]([^\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028\u2029]*[^\s\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028\u2029])?$";
const VISIBLE: &str = "^[!-~]+$";
const OF_A_HASH: &str = "^[!-9;-~]+$";

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $max:literal, $rule:literal, $pattern:expr, $allows:expr $(, $whole:expr)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String")]
        #[schemars(inline, extend("minLength" = 1, "maxLength" = $max, "pattern" = $pattern))]
        pub struct $name(String);

        impl TryFrom<String> for $name {
            type Error = TextError;

            fn try_from(text: String) -> Result<Self, TextError> {
                let text = checked(text, $max, $rule, $allows)?;
                $(if !$whole(&text) {
                    return Err(TextError { max: $max, rule: $rule });
                })?
                Ok(Self(text))
            }
        }

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }
    };
}

text!(
    /// Why something was done: 1 to 255 characters.
    Reason, 255, "characters without control characters", PLAIN, is_plain
);
text!(
    /// What a change belongs to outside Holdfast, such as a document's number: 1 to 255 characters.
    Reference, 255, "characters without control characters", PLAIN, is_plain
);
text!(
    /// What people call a variant: 1 to 255 characters.
    Name, 255, "characters without control characters", PLAIN, is_plain
);
text!(
    /// A variant's stock keeping unit: 1 to 64 characters, case-sensitive, spaces inside allowed.
    Sku, 64, "printable characters, with no space at either end", TRIMMED, is_plain, is_trimmed
);
text!(
    /// The storefront's own id of a user: 1 to 64 visible ASCII characters.
    UserId, 64, "visible ASCII characters", VISIBLE, is_visible_ascii
);
text!(
    /// A rack's name in the warehouse: 1 to 64 characters, case-sensitive, spaces inside allowed.
    RackId, 64, "printable characters, with no space at either end", TRIMMED, is_plain, is_trimmed
);
text!(
    /// A floor of the warehouse: 1 to 64 characters.
    Floor, 64, "printable characters, with no space at either end", TRIMMED, is_plain, is_trimmed
);
text!(
    /// A counting session's id, made by Holdfast or by a device: 1 to 64 visible ASCII characters.
    SessionId, 64, "visible ASCII characters", VISIBLE, is_visible_ascii
);
text!(
    /// A device's own id of what it sends: 1 to 128 characters.
    ClientId, 128, "printable characters, with no space at either end", TRIMMED, is_plain, is_trimmed
);
text!(
    /// The number of one single unit: 1 to 128 characters.
    SerialNumber, 128, "printable characters, with no space at either end", TRIMMED, is_plain, is_trimmed
);
text!(
    /// Whose books an invoice is in: 1 to 128 visible ASCII characters.
    AccountId, 128, "visible ASCII characters", VISIBLE, is_visible_ascii
);
text!(
    /// The hash of a file: 1 to 128 visible ASCII characters without a colon.
    FileHash, 128, "visible ASCII characters without a colon", OF_A_HASH, is_of_a_hash
);
text!(
    /// What a vendor says of a line: 1 to 1,000 characters.
    Description, 1_000, "characters without control characters", PLAIN, is_plain
);
text!(
    /// Who holds a lease: 1 to 255 characters.
    LeaseOwner, 255, "characters without control characters", PLAIN, is_plain
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_characters_and_bounded_on_both_sides() {
        assert!(Sku::try_from("é".repeat(64)).is_ok());
        assert!(Sku::try_from("é".repeat(65)).is_err());
        assert!(Sku::try_from(String::new()).is_err());
        assert!(UserId::try_from("u".repeat(64)).is_ok() && UserId::try_from("u".repeat(65)).is_err());
    }

    #[test]
    fn what_a_log_or_postgres_would_choke_on_is_refused() {
        for bad in ["a\0b", "a\nb", "\u{1b}[31m", "\u{202e}abc", "\u{7f}", "\u{85}"] {
            assert!(Reason::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        for bad in ["a b", "ü", "a\tb"] {
            assert!(UserId::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        assert!(Sku::try_from(" A".to_owned()).is_err() && Sku::try_from(" ".to_owned()).is_err());
        assert!(Sku::try_from("15056BL set of 3 🎁".to_owned()).is_ok());
    }
}
