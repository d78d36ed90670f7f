//! The line, without a clock and without Redis.

use futures_util::FutureExt;
use uuid::Uuid;

use super::*;

const WITHIN: Option<Duration> = Some(Duration::from_secs(10));

fn keys(ids: &[u128]) -> LockKeys {
    LockKeys::variants(ids.iter().map(|id| Uuid::from_u128(*id))).unwrap()
}

fn join(lines: &Arc<Lines>, keys: LockKeys) -> Result<Place, LineFull> {
    lines.join(keys, "a token".into(), WITHIN)
}

fn is_served(place: &Place) -> bool {
    place.served().now_or_never().is_some()
}

#[test]
fn the_first_is_served_at_once_and_the_rest_in_order_of_arrival() {
    let lines = Arc::new(Lines::default());
    let first = join(&lines, keys(&[1])).unwrap();
    let second = join(&lines, keys(&[1])).unwrap();
    let third = join(&lines, keys(&[1])).unwrap();
    assert!(is_served(&first) && !is_served(&second) && !is_served(&third));
    drop(first);
    assert!(is_served(&second) && !is_served(&third));
    drop(second);
    assert!(is_served(&third));
}

#[test]
fn a_request_over_several_keys_waits_for_all_of_them_and_is_not_overtaken() {
    let lines = Arc::new(Lines::default());
    let one = join(&lines, keys(&[1])).unwrap();
    let both = join(&lines, keys(&[1, 2])).unwrap();
    let two = join(&lines, keys(&[2])).unwrap();
    assert!(!is_served(&both) && !is_served(&two), "two arrived after both, which needs it too");
    assert_eq!(both.blocked_by().unwrap().0, LockKey::Inventory(Uuid::from_u128(1)));
    drop(one);
    assert!(is_served(&both) && !is_served(&two));
    drop(both);
    assert!(is_served(&two));
}

#[test]
fn whoever_leaves_early_holds_nobody_back() {
    let lines = Arc::new(Lines::default());
    let first = join(&lines, keys(&[1])).unwrap();
    let gone = join(&lines, keys(&[1, 2])).unwrap();
    let last = join(&lines, keys(&[1, 2])).unwrap();
    drop(gone);
    assert!(!is_served(&last));
    drop(first);
    assert!(is_served(&last));
    drop(last);
    assert_eq!(lines.length(&LockKey::Inventory(Uuid::from_u128(1))), 0, "empty lines are not kept");
    assert!(lines.state().lines.is_empty() && lines.state().waiting.is_empty());
}

#[test]
fn only_those_who_will_be_served_next_are_announced() {
    let lines = Arc::new(Lines::default());
    let holder = join(&lines, keys(&[1, 2, 3])).unwrap();
    let next = lines.join(keys(&[1, 2]), "next".into(), WITHIN).unwrap();
    let elsewhere = join(&lines, keys(&[4])).unwrap();
    let held_up_elsewhere = lines.join(keys(&[3, 4]), "held up".into(), WITHIN).unwrap();
    let tokens: Vec<_> =
        holder.successors().into_iter().map(|successor| successor.map(|next| next.token)).collect();
    assert_eq!(tokens, [Some(Arc::from("next")), Some(Arc::from("next")), None]);
    drop(elsewhere);
    let successors = holder.successors();
    let held_up = successors[2].as_ref().unwrap();
    assert_eq!(&*held_up.token, "held up");
    assert!(!holder.has_lost(held_up));
    assert!(next.leave() && held_up_elsewhere.leave(), "Redis was told of both");
    assert!(holder.has_lost(held_up), "it was told of one that is gone");
    let unannounced = join(&lines, keys(&[1])).unwrap();
    assert!(!unannounced.leave());
}

#[test]
fn an_onlooker_sees_who_is_served_and_how_many_wait() {
    let lines = Arc::new(Lines::default());
    let _first = join(&lines, keys(&[1])).unwrap();
    let _both = join(&lines, keys(&[1, 2])).unwrap();
    let mut seen = lines.look(10);
    seen.sort_by(|a, b| a.key.cmp(&b.key));
    let told: Vec<_> = seen.iter().map(|line| (line.waiting, line.is_served)).collect();
    assert_eq!((told, lines.waiting()), (vec![(1, true), (0, false)], 1));
}

#[test]
fn strangers_do_not_wait_for_each_other() {
    let lines = Arc::new(Lines::default());
    let one = join(&lines, keys(&[1])).unwrap();
    let two = join(&lines, keys(&[2])).unwrap();
    assert!(is_served(&one) && is_served(&two));
}

#[test]
fn a_full_line_turns_the_next_one_away_and_joins_nothing() {
    let lines = Arc::new(Lines::default());
    let places: Vec<_> = (0..MAX_PLACES).map(|_| join(&lines, keys(&[1])).unwrap()).collect();
    assert_eq!(join(&lines, keys(&[1, 2])).unwrap_err(), LineFull);
    assert_eq!(lines.length(&LockKey::Inventory(Uuid::from_u128(2))), 0);
    drop(places);
    let shared = join(&lines, keys(&[1, 2])).unwrap();
    assert!((1..MAX_LINE).all(|_| lines.seat(shared.ticket(), &keys(&[1]))));
    assert!(!lines.seat(shared.ticket(), &keys(&[1])) && lines.seat(shared.ticket(), &keys(&[2])));
}

#[test]
fn a_place_that_waits_follows_whom_it_may_and_is_served_after_all_of_them() {
    let lines = Arc::new(Lines::default());
    let (one, two) = (join(&lines, keys(&[1])).unwrap(), join(&lines, keys(&[2])).unwrap());
    let mut behind = join(&lines, keys(&[1])).unwrap();
    assert_eq!((behind.ahead(), lines.last_in(&keys(&[2, 3]))), (&[one.ticket()][..], vec![two.ticket()]));
    assert!(!behind.extend(&keys(&[2]), |_| false), "it may not");
    assert!(behind.extend(&keys(&[2, 3]), |last| last == two.ticket()));
    drop(one);
    assert!(!is_served(&behind));
    drop(two);
    assert!(is_served(&behind));
    let (one, mut early) = (join(&lines, keys(&[6])).unwrap(), join(&lines, keys(&[6])).unwrap());
    let late = join(&lines, keys(&[7])).unwrap();
    assert!(!early.extend(&keys(&[7]), |_| true), "it came later");
    drop((one, early, late));
    let four = join(&lines, keys(&[4])).unwrap();
    assert!(!behind.extend(&keys(&[4]), |_| true), "it has come to its turn");
    assert!(behind.extend(&keys(&[5]), |_| false), "nobody is there");
    drop((four, behind));
    assert!(lines.state().lines.is_empty() && lines.state().waiting.is_empty());
}

#[test]
fn a_place_that_was_announced_follows_nobody() {
    let lines = Arc::new(Lines::default());
    let (holder, _two) = (join(&lines, keys(&[1])).unwrap(), join(&lines, keys(&[2])).unwrap());
    let mut next = join(&lines, keys(&[1])).unwrap();
    assert!(holder.successors()[0].is_some());
    assert!(!next.extend(&keys(&[2]), |_| true));
}

#[test]
fn a_place_that_leaves_the_line_it_waited_in_is_served() {
    let lines = Arc::new(Lines::default());
    let (one, two) = (join(&lines, keys(&[1])).unwrap(), join(&lines, keys(&[2])).unwrap());
    let mut all = join(&lines, keys(&[1, 2, 3])).unwrap();
    let last = join(&lines, keys(&[2])).unwrap();
    all.shrink(keys(&[2, 3]));
    assert!(!is_served(&all));
    all.shrink(keys(&[3]));
    assert!(is_served(&all) && !is_served(&last));
    drop(two);
    assert!(is_served(&last));
    drop((one, all, last));
    assert!(lines.state().lines.is_empty() && lines.state().waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_when_those_before_it_will_take_too_long_is_turned_away_and_joins_nothing() {
    let lines = Arc::new(Lines::default());
    let mut crowd: VecDeque<_> = (0..100).map(|_| join(&lines, keys(&[1])).unwrap()).collect();
    let serve = async |ms, mut place: Place| {
        place.has_lease();
        tokio::time::advance(Duration::from_millis(ms)).await;
    };
    for _ in 1..TELLING {
        serve(200, crowd.pop_front().unwrap()).await;
    }
    crowd.push_back(join(&lines, keys(&[1])).unwrap());
    serve(200, crowd.pop_front().unwrap()).await;
    assert_eq!(join(&lines, keys(&[2, 1])).unwrap_err(), LineFull, "each takes 200 ms");
    assert_eq!(lines.length(&LockKey::Inventory(Uuid::from_u128(2))), 0);
    join(&lines, keys(&[2])).expect("another line");
    drop(lines.join(keys(&[1]), "a token".into(), None).expect("it was let in before"));
    crowd.truncate(50);
    crowd.push_back(join(&lines, keys(&[1])).expect("the last is served after ten seconds"));
    assert_eq!(join(&lines, keys(&[1])).unwrap_err(), LineFull);
    // One that never had its lease tells nothing of how long a lease is held.
    tokio::time::advance(Duration::from_secs(60)).await;
    drop(crowd.pop_front());
    crowd.push_back(join(&lines, keys(&[1])).expect("as fast as before"));
    for place in crowd.drain(..) {
        serve(100, place).await;
    }
    let _crowd: Vec<_> = (0..100).map(|_| join(&lines, keys(&[1])).expect("it was empty since")).collect();
}
