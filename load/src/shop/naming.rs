//! Every name a run gives: skus, users and keys, each under the run's own prefix, so that one database
//! can see many runs and none meets another's things.
//!
//! What must stay true: the same row gets the same names whenever it is sent in the same run (that is
//! what makes a retry a retry), and no two pieces of work share a key.

use anyhow::ensure;

/// The names of one run.
#[derive(Clone, Debug)]
pub struct Naming {
    run: String,
}

const LONGEST_RUN: usize = 24;
const LONGEST_SKU: usize = 64;
const LONGEST_USER: usize = 64;
const LONGEST_NAME: usize = 255;
/// Leaves room in a key of 255 for the run and for two numbers in one key.
const LONGEST_INVOICE: usize = 32;

const _: () = assert!(LONGEST_RUN + "-guest-".len() + LONGEST_INVOICE <= LONGEST_USER);
const _: () = assert!(LONGEST_RUN + "--order-".len() + 2 * LONGEST_INVOICE <= 255);

/// How a name had to be changed to be one the service takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameChange {
    None,
    WasEmpty,
    HadControls,
    WasLong,
}

impl Naming {
    /// The names of the run called `run`.
    pub fn new(run: &str) -> Self {
        Self { run: run.to_owned() }
    }

    /// Whether `run` can be part of every name.
    pub fn check_run(run: &str) -> anyhow::Result<()> {
        ensure!(
            (1..=LONGEST_RUN).contains(&run.len()) && is_visible_ascii(run),
            "a run's name is 1 to {LONGEST_RUN} visible ASCII characters"
        );
        Ok(())
    }

    /// The sku of a stock code, unless it could not be one.
    pub fn sku(&self, stock_code: &str) -> Option<String> {
        let sku = format!("{}-{stock_code}", self.run);
        let fits = sku.chars().count() <= LONGEST_SKU && !sku.chars().any(char::is_control);
        (fits && !stock_code.is_empty()).then_some(sku)
    }

    /// Whether an invoice number can be part of a key.
    pub fn can_key(&self, invoice: &str) -> bool {
        (1..=LONGEST_INVOICE).contains(&invoice.len()) && is_visible_ascii(invoice)
    }

    /// The user a customer is, unless the number could not be part of one.
    pub fn user(&self, customer: &str) -> Option<String> {
        let user = format!("{}-{customer}", self.run);
        (user.len() <= LONGEST_USER && is_visible_ascii(&user)).then_some(user)
    }

    /// The made-up user of an invoice that names no customer.
    pub fn guest(&self, invoice: &str) -> String {
        format!("{}-guest-{invoice}", self.run)
    }

    /// The key of a sale.
    pub fn sale_key(&self, invoice: &str) -> String {
        format!("{}-{invoice}", self.run)
    }

    /// The key of what one return takes back from one earlier order.
    pub fn cancel_key(&self, invoice: &str, order: &str) -> String {
        format!("{}-{invoice}-order-{order}", self.run)
    }

    /// The key of what one row does by itself.
    pub fn row_key(&self, invoice: &str, line: u64) -> String {
        format!("{}-{invoice}-row-{line}", self.run)
    }
}

/// A text made fit to be a name or a reason, with `fallback` for an empty one.
pub fn fit_name(text: &str, fallback: &str) -> (String, NameChange) {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let clean = clean.trim();
    if clean.is_empty() {
        return (fallback.to_owned(), NameChange::WasEmpty);
    }
    if clean.chars().count() > LONGEST_NAME {
        let short: String = clean.chars().take(LONGEST_NAME).collect();
        return (short.trim_end().to_owned(), NameChange::WasLong);
    }
    let change = if text.chars().any(char::is_control) { NameChange::HadControls } else { NameChange::None };
    (clean.to_owned(), change)
}

fn is_visible_ascii(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_run_never_meet() {
        let naming = Naming::new("r");
        let keys = [
            naming.sale_key("536365"),
            naming.cancel_key("C536379", "536365"),
            naming.row_key("C536379", 536_365),
            naming.row_key("536365", 2),
        ];
        for (position, key) in keys.iter().enumerate() {
            assert!(!keys[..position].contains(key), "{key} twice");
        }
    }

    #[test]
    fn skus_keep_case_and_inner_spaces() {
        let naming = Naming::new("r");
        assert_eq!(naming.sku("85123a").as_deref(), Some("r-85123a"));
        assert_ne!(naming.sku("85123a"), naming.sku("85123A"));
        assert_eq!(naming.sku("BANK CHARGES").as_deref(), Some("r-BANK CHARGES"));
        assert_eq!(naming.sku("£40").as_deref(), Some("r-£40"));
    }

    #[test]
    fn names_are_made_fit() {
        assert_eq!(fit_name("MUG", "22"), ("MUG".into(), NameChange::None));
        assert_eq!(fit_name("  ", "22"), ("22".into(), NameChange::WasEmpty));
        assert_eq!(fit_name("A\tB\n", "22"), ("A B".into(), NameChange::HadControls));
        let (short, change) = fit_name(&"é".repeat(300), "22");
        assert_eq!((short.chars().count(), change), (255, NameChange::WasLong));
    }

    #[test]
    fn a_run_is_named_in_visible_ascii() {
        assert!(Naming::check_run("nightly-1").is_ok());
        for wrong in ["", "two words", "é", "a-name-of-more-than-24-chars"] {
            assert!(Naming::check_run(wrong).is_err(), "{wrong} was taken");
        }
    }
}
