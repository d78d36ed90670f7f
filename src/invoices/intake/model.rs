//! The words of suppliers' invoices as types.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::compare::{Evidence, Facts, Lines, Vendor};
use super::rules::{self, Kind, OnDuplicate};
use super::spelling;
use crate::inventory::model::{LockSeen, Movement, Quantity};
use crate::leases::Fence;
use crate::locks::{LockKey, LockKeys, TooManyKeys};
use crate::money::{Amount, Currency};
use crate::text::{AccountId, Description, FileHash, Reference, Sku};

/// The most lines an invoice may have.
pub const LINES_MAX: usize = 2_000;
/// The longest name or number as it is compared.
const KEY_MAX_CHARS: usize = 255;
/// The first year an invoice may be of.
const FIRST_YEAR: i32 = 1970;

macro_rules! spelled {
    ($(#[$doc:meta])* $name:ident, $key:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
        #[serde(try_from = "String")]
        #[schemars(inline, extend("minLength" = 1, "maxLength" = 255))]
        pub struct $name {
            written: String,
            key: String,
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                let written: String = Reference::try_from(text).map_err(|_| $rule)?.into();
                let key = $key(&written);
                // One character may be many in its plain form.
                let fits = (1..=KEY_MAX_CHARS).contains(&key.chars().count());
                if fits { Ok(Self { written, key }) } else { Err($rule) }
            }
        }

        impl $name {
            /// As it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.written
            }

            /// As it is compared.
            #[must_use]
            pub fn key(&self) -> &str {
                &self.key
            }
        }
    };
}

spelled!(
    /// A vendor's name: 1 to 255 characters, with a letter or a digit.
    VendorName,
    spelling::vendor_key,
    "must be 1 to 255 characters without control characters, with a letter or a digit among them"
);
spelled!(
    /// An invoice's number: 1 to 255 characters, with a letter or a digit.
    InvoiceNumber,
    spelling::number_key,
    "must be 1 to 255 characters without control characters, with a letter or a digit among them"
);

/// The date of an invoice, from 1970 on. That it is less than a year ahead is seen by the database's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(inline, extend("format" = "date"))]
pub struct InvoiceDate(NaiveDate);

impl InvoiceDate {
    /// The date.
    #[must_use]
    pub fn get(self) -> NaiveDate {
        self.0
    }
}

impl TryFrom<String> for InvoiceDate {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok();
        let date = date.filter(|date| is_plain && date.year() >= FIRST_YEAR);
        date.map(Self).ok_or("must be a date from 1970-01-01 on, as in \"2026-03-31\"")
    }
}

/// `POST /invoices`, `POST /invoices/check`, and one of `POST /invoices/batch`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct GivenInvoice {
    /// Whose books.
    pub account_id: AccountId,
    /// Who bills.
    pub vendor_name: VendorName,
    /// The vendor's number for it.
    pub invoice_number: InvoiceNumber,
    /// The date on it.
    pub invoice_date: InvoiceDate,
    /// What is to be paid.
    pub total: Amount,
    /// In which currency.
    pub currency: Currency,
    /// What is billed.
    #[serde(default)]
    #[schemars(length(max = LINES_MAX))]
    pub lines: Vec<GivenLine>,
    /// The hash of the file it was read from.
    pub file_hash: Option<FileHash>,
    /// What becomes of it if it is a near duplicate; the account's policy unless said.
    pub on_duplicate: Option<OnDuplicate>,
    /// The claim of the file's processing marker, which ends with it.
    pub fence: Option<Fence>,
}

/// A line of an invoice as it was read.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct GivenLine {
    /// The stock keeping unit, where it is ours.
    pub sku: Option<Sku>,
    /// The vendor's words.
    pub description: Description,
    /// How many.
    pub quantity: Quantity,
    /// What one costs.
    pub unit_price: Amount,
}

impl GivenInvoice {
    /// What it is compared by; the vendor by the name it is known under, if by another than its own.
    #[must_use]
    pub fn facts(&self, vendor_key: Option<&str>) -> Facts {
        let (vendor, number) = (&self.vendor_name, &self.invoice_number);
        Facts {
            vendor: match vendor_key {
                Some(known) => {
                    Vendor { written: vendor.written.clone(), key: known.to_owned(), form: String::new() }
                }
                None => Vendor {
                    written: vendor.written.clone(),
                    key: vendor.key.clone(),
                    form: spelling::vendor_form(&vendor.written).to_owned(),
                },
            },
            number: (number.written.clone(), number.key.clone(), spelling::squashed(&number.written)),
            date: self.invoice_date.get(),
            total: self.total.get(),
            currency: self.currency.code().to_owned(),
            file_hash: self.file_hash.as_ref().map(|hash| hash.as_str().to_ascii_lowercase()),
            lines: lines_of(&self.lines),
        }
    }
}

/// The keys whose locks an upload takes.
///
/// # Errors
/// [`TooManyKeys`].
pub fn locks_of<'a>(invoices: impl Iterator<Item = (&'a str, &'a Facts)>) -> Result<LockKeys, TooManyKeys> {
    LockKeys::new(invoices.flat_map(|(account, facts)| keys_of(account, facts)).collect())
}

/// The same of one whose vendor's names are learned by the way.
///
/// # Errors
/// [`TooManyKeys`].
pub fn locks_to_learn(account: &str, facts: &Facts) -> Result<LockKeys, TooManyKeys> {
    LockKeys::new(keys_of(account, facts).chain([names_of(account)]).collect())
}

/// The key under which an account's names are learned and forgotten.
///
/// # Errors
/// [`TooManyKeys`].
pub fn locks_of_names(account: &str) -> Result<LockKeys, TooManyKeys> {
    LockKeys::new(vec![names_of(account)])
}

fn names_of(account: &str) -> LockKey {
    LockKey::invoice_check(account, rules::ALIASES_KEY)
}

fn keys_of(account: &str, facts: &Facts) -> impl Iterator<Item = LockKey> {
    rules::blocking_keys(facts).into_iter().map(move |key| LockKey::invoice_check(account, &key))
}

fn lines_of(lines: &[GivenLine]) -> Lines {
    let amounts = |line: &GivenLine| format!("{}|{}", line.quantity.get(), line.unit_price.get().normalize());
    let whole = |line: &GivenLine| {
        let sku = line.sku.as_ref().map_or("", |sku| sku.as_str());
        format!("{sku}|{}|{}", spelling::words_key(line.description.as_str()), amounts(line))
    };
    Lines::new(lines.iter().map(|line| (hashed(&whole(line)), hashed(&amounts(line)))).collect())
}

fn hashed(text: &str) -> i64 {
    let hash = Sha256::digest(text.as_bytes());
    hash[..8].iter().fold(0, |number, byte| number << 8 | i64::from(*byte))
}

/// What an invoice was found to be.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Verdict {
    /// Whether and why it is in already.
    pub r#type: Kind,
    /// How alike it is to the other, from 0 to 1; null where nothing was compared.
    pub score: Option<f64>,
    /// Why.
    pub evidence: Vec<Evidence>,
    /// The other.
    pub invoice_id: Option<Uuid>,
    /// Whether all that may be it were looked at: not where very many are alike.
    pub compared_all: bool,
    /// The same in a sentence.
    pub message: &'static str,
}

impl Verdict {
    /// What is told of an invoice that is this to another.
    #[must_use]
    pub fn new(kind: Kind, score: i32, evidence: Vec<Evidence>, invoice_id: Option<Uuid>) -> Self {
        let message = match kind {
            Kind::New => "No invoice of this account is this one.",
            Kind::Near => "An invoice that is in is very much like this one.",
            Kind::Exact => "This vendor's invoice of this number is in.",
            Kind::FileHash => "An invoice read from the same file is in.",
            Kind::Concurrent => {
                "Another upload that may be the same invoice is being processed. Please wait."
            }
        };
        let score = invoice_id.map(|_| f64::from(score) / 100.0);
        Self { r#type: kind, score, evidence, invoice_id, compared_all: kind != Kind::Concurrent, message }
    }
}

/// How far an invoice has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceState {
    /// It is in.
    Accepted,
    /// It is kept, and somebody has to look at it.
    Flagged,
    /// Somebody has, and let it pass.
    Overridden,
    /// It was taken out.
    Voided,
}

impl InvoiceState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Flagged, Self::Overridden, Self::Voided];

    /// The state's name in answers and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Flagged => "flagged",
            Self::Overridden => "overridden",
            Self::Voided => "voided",
        }
    }
}

/// An invoice as callers see it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Invoice {
    /// Its id.
    pub invoice_id: Uuid,
    /// Whose books.
    pub account_id: String,
    /// Who bills, as it was written.
    pub vendor_name: String,
    /// The vendor's number, as it was written.
    pub invoice_number: String,
    /// The date on it.
    pub invoice_date: NaiveDate,
    /// What is to be paid.
    pub total: Decimal,
    /// In which currency.
    pub currency: Currency,
    /// The hash of its file.
    pub file_hash: Option<String>,
    /// How far it has come.
    pub state: InvoiceState,
    /// `new`, or `near` if it was flagged.
    pub verdict: Kind,
    /// What it was flagged for, the most alike first.
    pub matches: Vec<Match>,
    /// Whether all that may be it were looked at: not where very many are alike.
    pub compared_all: bool,
    /// What is billed.
    pub lines: Vec<InvoiceLine>,
    /// What people decided on it.
    pub decisions: Vec<Decision>,
    /// Whose key brought it.
    pub uploaded_by: String,
    /// When.
    pub uploaded_at: DateTime<Utc>,
    /// The lock this answer's write was made under; when only read, that of the upload.
    pub lock: LockSeen,
}

/// An earlier invoice that a flagged one is near to.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "InvoiceMatch")]
pub struct Match {
    /// The earlier one.
    pub invoice_id: Uuid,
    /// How alike they are, from 0 to 1.
    pub score: f64,
    /// Why.
    pub evidence: serde_json::Value,
}

/// One line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InvoiceLine {
    /// Its id.
    pub line_id: Uuid,
    /// The stock keeping unit, where it is ours.
    pub sku: Option<String>,
    /// The vendor's words.
    pub description: String,
    /// How many.
    pub quantity: i64,
    /// What one costs.
    pub unit_price: Decimal,
    /// How many of them came in.
    pub received_quantity: i64,
}

/// What somebody decided on an invoice, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "InvoiceDecision")]
pub struct Decision {
    /// `override` or `void`.
    pub kind: String,
    /// Why.
    pub reason: String,
    /// Whose key.
    pub decided_by: String,
    /// When.
    pub decided_at: DateTime<Utc>,
}

/// An invoice of which something came in.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "ReceivedInvoice")]
pub struct Received {
    /// It, as it is now.
    #[serde(flatten)]
    pub invoice: Invoice,
    /// What came in just now.
    pub movements: Vec<Movement>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_whole_days_from_1970_on_and_nothing_else() {
        for good in ["1970-01-01", "2024-02-29", "9999-12-31"] {
            assert!(InvoiceDate::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "1969-12-31",
            "2023-02-29",
            "2024-1-1",
            "24-01-01",
            "+2024-1-1",
            "2024-01-01T00:00:00Z",
            "0",
            "NaN",
        ] {
            assert!(InvoiceDate::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_and_numbers_without_a_letter_or_a_digit_are_none() {
        // The last one is fifteen letters in its plain form, each time.
        let long = "\u{fdfa}".repeat(255);
        for bad in ["", " ", "---", "\u{301}\u{301}", "\u{202e}abc", "a\0", &"x".repeat(256), &long] {
            assert!(VendorName::try_from(bad.to_owned()).is_err(), "{bad:?}");
            assert!(InvoiceNumber::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        assert!(VendorName::try_from("\u{5d0}\u{5d1}".to_owned()).is_ok());
    }
}
