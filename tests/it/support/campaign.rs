//! How much is done: a little in every run of the tests, a lot when `HOLDFAST_CAMPAIGN=long`.

/// `short` or `long`, as the campaign is.
pub fn amount(short: usize, long: usize) -> usize {
    if std::env::var("HOLDFAST_CAMPAIGN").is_ok_and(|campaign| campaign == "long") { long } else { short }
}

/// What was measured, for whoever runs the tests with `--nocapture`: `make prove` collects these lines.
#[expect(clippy::print_stdout, reason = "figures of a test are its output")]
pub fn report(line: &str) {
    println!("measured: {line}");
}
