//! All that is written to the terminal: results to standard output, remarks to standard error.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's words to its user")]

/// A line of the result.
pub fn say(line: &str) {
    println!("{line}");
}

/// A remark beside the result.
pub fn remark(line: &str) {
    eprintln!("{line}");
}

/// 1234567 as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.char_indices() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_threes() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
