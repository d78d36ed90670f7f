//! The answers that one event's deliveries got: the same each time, and all but the first marked as duplicates.

use serde_json::Value;

use crate::connection::{Answer, Settled};

/// How the answers of one event's deliveries do not go together.
pub(super) fn compare_deliveries(times: &[&Settled]) -> Vec<String> {
    let answers: Vec<_> = times.iter().filter_map(|settled| settled.answer.as_ref()).collect();
    let mut found = Vec::new();
    let receipts: Vec<_> = answers.iter().map(|answer| receipt(answer)).collect();
    if let Some(pair) = receipts.windows(2).find(|pair| pair[0].0 != pair[1].0) {
        found.push(format!("answered {:?} and {:?}", pair[0].0, pair[1].0));
    }
    // A refusal is not remembered, so none is a duplicate.
    if !answers.iter().all(|answer| answer.status.is_success()) {
        return found;
    }
    let firsts = receipts.iter().filter(|(_, duplicate)| !duplicate).count();
    // A delivery whose answer was lost may have been the first.
    let doubted = times.iter().any(|settled| settled.answer.is_none() || settled.had_doubt());
    if firsts > 1 || firsts == 0 && !doubted && !answers.is_empty() {
        found.push(format!("{firsts} of {} answers are the first", answers.len()));
    }
    found
}

/// What an answer says, and whether it is marked as a duplicate. Of a refusal only its kind is compared: what is left
/// of an order may have become less.
fn receipt(answer: &Answer) -> (Value, bool) {
    if !answer.status.is_success() {
        return (Value::from(answer.phrase()), false);
    }
    let mut body: Value = answer.json().unwrap_or_default();
    let mark = body.as_object_mut().and_then(|fields| fields.remove("duplicate"));
    (body, mark == Some(Value::Bool(true)))
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use hyper::header::HeaderMap;

    use super::*;
    use crate::connection::{Broken, Cause};

    const FIRST: &str = r#"{"result":"cancelled","order_id":"o"}"#;
    const AGAIN: &str = r#"{"result":"cancelled","order_id":"o","duplicate":true}"#;
    const OTHER: &str = r#"{"result":"already_cancelled","order_id":"o","duplicate":true}"#;

    fn found(bodies: &[(u16, &'static str)], causes: &[Cause]) -> usize {
        let settled = |(status, body): &(u16, &'static str)| {
            let status = StatusCode::from_u16(*status).unwrap();
            let answer = Answer::new(status, &HeaderMap::new(), body.as_bytes().into());
            Settled { answer: Some(answer), causes: causes.to_vec() }
        };
        let times: Vec<_> = bodies.iter().map(settled).collect();
        compare_deliveries(&times.iter().collect::<Vec<_>>()).len()
    }

    #[test]
    fn one_is_the_first_and_all_say_the_same() {
        assert_eq!(found(&[(200, AGAIN), (200, FIRST), (200, AGAIN)], &[]), 0);
        assert_eq!(found(&[(200, FIRST)], &[]), 0);
        assert_eq!(found(&[(200, FIRST), (200, OTHER)], &[]), 1);
        assert_eq!(found(&[(200, FIRST), (200, FIRST)], &[]), 1, "an event that was carried out twice");
        assert_eq!(found(&[(200, AGAIN)], &[]), 1, "an event that nobody has delivered before");
    }

    #[test]
    fn the_first_may_have_been_lost_on_the_way() {
        assert_eq!(found(&[(200, AGAIN), (200, AGAIN)], &[Cause::Broken(Broken::Lost)]), 0);
        assert_eq!(found(&[(200, AGAIN), (200, AGAIN)], &[Cause::NotNow("429".into())]), 1);
    }

    #[test]
    fn a_refusal_is_looked_at_again_each_time() {
        const REFUSED: &str = r#"{"code":"cancel_exceeds_ordered"}"#;
        assert_eq!(found(&[(409, REFUSED), (409, REFUSED)], &[]), 0);
        assert_eq!(found(&[(409, REFUSED), (200, FIRST)], &[]), 1);
    }
}
