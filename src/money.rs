//! Prices and currencies. Exact decimals, never floats; nothing is ever rounded.
//!
//! The rule: a price has at most four decimals, a line's total is price times quantity, an order's total is
//! the sum of its lines' totals, and each keeps every decimal it has. Amounts are written with at least as
//! many decimals as the currency's minor unit (ISO 4217), so a dollar is `"1.00"` and a yen is `"1"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use iso_currency::Currency as Iso;
use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The most decimals a price may have.
const PRICE_SCALE_MAX: usize = 4;
/// The most digits before the point.
const PRICE_DIGITS_MAX: usize = 13;
/// The most digits before the point of a total. With four decimals that is 28 digits, all of which
/// `Decimal` holds exactly.
const TOTAL_DIGITS_MAX: usize = 24;

/// An ISO 4217 currency code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency(Iso);

impl Currency {
    /// The currency of this code, in capitals.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Iso::from_code(code).map(Self)
    }

    /// The code.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// The decimals of this currency's minor unit, if it has one: gold has none.
    #[must_use]
    pub fn decimals(self) -> Option<u32> {
        self.0.exponent().map(u32::from)
    }

    /// `amount` with at least the decimals of this currency's minor unit.
    #[must_use]
    pub fn written(self, amount: Decimal) -> Decimal {
        let scale = self.decimals().unwrap_or(0).max(amount.normalize().scale());
        let mut written = amount;
        written.rescale(scale);
        written
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl TryFrom<String> for Currency {
    type Error = &'static str;

    fn try_from(code: String) -> Result<Self, Self::Error> {
        Self::from_code(&code).ok_or("must be an ISO 4217 currency code in capitals, as in \"EUR\"")
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Currency {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "An ISO 4217 currency code.", "pattern": "^[A-Z]{3}$"})
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// An amount of money that is not negative: up to 13 digits, a point, up to 4 decimals. Zero is an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(inline, extend("pattern" = r"^[0-9]{1,13}(\.[0-9]{1,4})?$"))]
pub struct Amount(Decimal);

impl Amount {
    /// The decimal.
    #[must_use]
    pub fn get(self) -> Decimal {
        self.0
    }
}

impl TryFrom<String> for Amount {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let rule = "must be a decimal string that is not negative, with up to 13 digits and 4 decimals, as in \"12.50\"";
        plain_decimal(&text, PRICE_DIGITS_MAX).map(Self).ok_or(rule)
    }
}

/// A sum of line totals: up to 24 digits, a point, up to 4 decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(inline, extend("pattern" = r"^[0-9]{1,24}(\.[0-9]{1,4})?$"))]
pub struct Total(Decimal);

impl Total {
    /// The decimal.
    #[must_use]
    pub fn get(self) -> Decimal {
        self.0
    }
}

impl TryFrom<String> for Total {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let rule = "must be a decimal string that is not negative, with up to 24 digits and 4 decimals, as in \"12.50\"";
        plain_decimal(&text, TOTAL_DIGITS_MAX).map(Self).ok_or(rule)
    }
}

/// Digits, and perhaps a point and up to four more. `Decimal`'s own parser takes exponents, signs and
/// underscores, and rounds what it can't hold.
fn plain_decimal(text: &str, digits_max: usize) -> Option<Decimal> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |part: &str, max| (1..=max).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let plain = digits(whole, digits_max) && digits(decimals, PRICE_SCALE_MAX);
    Decimal::from_str(text).ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Result<Amount, &'static str> {
        Amount::try_from(text.to_owned())
    }

    #[test]
    fn amounts_are_plain_decimals_and_nothing_else() {
        for good in ["0", "0.00", "12.50", "0.0001", "9999999999999.9999"] {
            assert!(amount(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-1",
            "+5",
            "1e5",
            "1_000",
            "1,5",
            ".5",
            "5.",
            "NaN",
            "Infinity",
            "0.00001",
            " 1",
            "10000000000000",
            "1.2.3",
        ] {
            assert!(amount(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_amount_is_written_with_the_decimals_of_its_currency_and_loses_none() {
        let written = |code: &str, text: &str| {
            Currency::from_code(code).unwrap().written(amount(text).unwrap().get()).to_string()
        };
        assert_eq!(written("USD", "1"), "1.00");
        assert_eq!(written("USD", "12.5000"), "12.50");
        assert_eq!(written("USD", "0.0015"), "0.0015");
        assert_eq!(written("JPY", "100.00"), "100");
        assert_eq!(written("KWD", "1.5"), "1.500");
    }

    #[test]
    fn unknown_and_small_written_codes_are_not_currencies() {
        assert!(Currency::from_code("usd").is_none() && Currency::from_code("XXY").is_none());
        assert!(Currency::from_code("").is_none() && Currency::from_code("USDX").is_none());
    }
}
