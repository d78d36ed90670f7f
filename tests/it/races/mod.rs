//! Whatever two things happen to one order or hold at once, each is answered as if it had come before or after the
//! other, and nothing happens twice.

mod round;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use round::{Round, Shops};
use table::{Act, PAIRS, Race};

use crate::support::campaign::{amount, report};
use crate::support::{Peer, TestApp, TestDatabase, invariants, shared_redis};

/// So many pairs share a database: all of it is looked through after each round, which takes the longer the more there is.
fn pairs_a_database() -> usize {
    amount(PAIRS.len(), 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_pair_of_acts_raced_over_two_replicas_ends_as_if_one_had_come_before_the_other() {
    race_all(Some(&shared_redis())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_pair_of_acts_raced_without_redis_ends_as_if_one_had_come_before_the_other() {
    race_all(None).await;
}

async fn race_all(redis: Option<&str>) {
    let (rounds, mut seen) = (amount(2, 200), BTreeMap::new());
    for races in PAIRS.chunks(pairs_a_database()) {
        let app = Arc::new(TestApp::with(TestDatabase::fresh().await, redis, &[]).await);
        let peer = Peer::start(&app.database.url, redis, &[]).await;
        let shops = Shops::new(&app, &peer);
        for race in races {
            for _ in 0..rounds {
                *seen.entry((race.acts, run(&shops, race).await)).or_insert(0_usize) += 1;
                invariants::hold(&app.database.pool).await;
            }
        }
        drop(shops);
        peer.finish().await;
        Arc::into_inner(app).unwrap().finish().await;
    }
    let allowed: usize = PAIRS.iter().map(|race| race.endings.len()).sum();
    report(&format!(
        "{} pairs of acts on one order or hold, each raced {rounds} times over two replicas, {}: {} of the {allowed} right \
         endings were seen and no other, and all invariants held after each",
        PAIRS.len(),
        if redis.is_some() { "two-layer" } else { "database-only" },
        seen.len(),
    ));
}

/// Races two acts, and says which of their right endings it was.
async fn run(shops: &Shops, race: &Race) -> usize {
    let round = Round::begin(shops, race.acts).await;
    let told = round.race(shops).await;
    let level = round.level(shops).await;
    let fits = |answers: [&str; 2]| answers[0] == told[0] && answers[1] == told[1];
    let is_it = |answers: [&str; 2]| fits(answers) || (race.is_of_equals() && fits([answers[1], answers[0]]));
    let ending = race.endings.iter().position(|(answers, left)| is_it(*answers) && *left == level);
    round.give_up(shops).await;
    ending
        .unwrap_or_else(|| panic!("{:?}: {told:?} leaves {level:?}; right is {:?}", race.acts, race.endings))
}

#[test]
fn each_act_is_raced_with_each_other_and_with_itself() {
    for (place, first) in Act::ALL.iter().enumerate() {
        for second in &Act::ALL[place..] {
            let found = PAIRS.iter().filter(|race| race.acts == [*first, *second]).count();
            assert_eq!(found, 1, "{first:?} and {second:?}");
        }
    }
    assert_eq!(PAIRS.len(), Act::ALL.len() * (Act::ALL.len() + 1) / 2);
}
