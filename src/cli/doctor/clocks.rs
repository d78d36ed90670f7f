//! How far the clocks of those who tell times are apart. Nothing is decided by comparing two of them, so it is never an error:
//! but whoever reads logs, movements and locks side by side is misled.

use tokio::time::Instant;

use super::Finding;
use crate::clock;

/// Clocks that are further apart, in seconds, are told of.
const APART_MAX: f64 = 1.0;

/// How far another's clock is ahead of this host's, in seconds, give or take `within`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    seconds: f64,
    within: f64,
}

/// Compares a clock with this host's. `ask` gives its time, in seconds since 1970.
pub(super) async fn compared<E>(ask: impl Future<Output = Result<f64, E>>) -> Result<Ahead, E> {
    let (began, since) = (clock::shown_now(), Instant::now());
    let theirs = ask.await?;
    let within = since.elapsed().as_secs_f64() / 2.0;
    let ours = began.timestamp_micros() as f64 / 1e6 + within;
    Ok(Ahead { seconds: theirs - ours, within })
}

/// What there is to say of the clocks that could be asked.
pub(super) fn compare(postgres: Option<&Ahead>, redis: Option<&Ahead>) -> Vec<Finding> {
    let here = Ahead { seconds: 0.0, within: 0.0 };
    let named = [("this host", Some(&here)), ("Postgres", postgres), ("Redis", redis)];
    let known: Vec<_> = named.into_iter().filter_map(|(name, clock)| Some((name, clock?))).collect();
    let mut findings = Vec::new();
    for (place, (first, one)) in known.iter().enumerate() {
        for (second, other) in &known[place + 1..] {
            let apart = other.seconds - one.seconds;
            if apart.abs() - one.within - other.within > APART_MAX {
                let how = if apart > 0.0 { "ahead of" } else { "behind" };
                findings.push(Finding::warning(format!(
                    "clocks: that of {second} is {:.1} s {how} that of {first}: times in logs, answers and locks do not agree; \
                     let all follow one time server",
                    apart.abs()
                )));
            }
        }
    }
    if findings.is_empty() && known.len() > 1 {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        findings.push(Finding::good(format!("clocks: {} agree to a second", names.join(", "))));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Grade;

    #[test]
    fn only_what_is_apart_for_certain_is_told_of() {
        let at = |seconds, within| Ahead { seconds, within };
        let told = |postgres, redis| compare(Some(&postgres), Some(&redis));
        let good = told(at(0.4, 0.1), at(-0.4, 0.1));
        assert!(matches!(good.as_slice(), [Finding(Grade::Good, _)]), "{good:?}");
        // It took long to answer: its clock may be right.
        let slow = told(at(3.0, 2.5), at(0.0, 0.1));
        assert!(matches!(slow.as_slice(), [Finding(Grade::Good, _)]), "{slow:?}");
        let wrong = told(at(0.0, 0.1), at(-60.0, 0.1));
        let texts: Vec<_> = wrong.iter().map(|Finding(_, text)| text.as_str()).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(
            texts[0].starts_with("clocks: that of Redis is 60.0 s behind that of this host"),
            "{texts:?}"
        );
        assert!(texts[1].starts_with("clocks: that of Redis is 60.0 s behind that of Postgres"), "{texts:?}");
        assert!(compare(None, None).is_empty());
    }
}
