//! What breaks while buyers come, and how it is mended.

use super::{SCENARIOS, Town, tell};
use crate::support::campaign::amount;

/// How many effects there are before, while and after something is broken.
fn stretch() -> usize {
    amount(40, 600)
}

/// How often it breaks in one run.
fn times() -> usize {
    amount(1, 5)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_calm_every_unit_is_accounted_for() {
    let town = Town::found().await;
    for scenario in SCENARIOS {
        let load = town.open(scenario, true);
        town.more_effects(3 * stretch()).await;
        let found = load.verdict().await;
        tell(scenario, "calm", &found);
        assert_eq!(found["unknown_resent"], 0, "{found}");
    }
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_killed_and_started_again_costs_no_unit() {
    let mut town = Town::found().await;
    for scenario in SCENARIOS {
        let load = town.open(scenario, amount(0, 1) == 1);
        town.more_effects(stretch()).await;
        for time in 0..times() {
            town.kill(time % 2).await;
            town.more_effects(stretch()).await;
            town.start(time % 2).await;
            town.more_effects(stretch()).await;
        }
        let found = load.verdict().await;
        tell(scenario, "a replica killed and started again", &found);
        assert_was_resent(&found);
    }
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_stopped_at_once_and_started_again_costs_no_unit() {
    let mut town = Town::found().await;
    for scenario in SCENARIOS {
        let load = town.open(scenario, amount(0, 1) == 1);
        town.more_effects(stretch()).await;
        for _ in 0..times() {
            town.postgres.stop_immediately().await.unwrap();
            town.both_say("database", "down").await;
            town.postgres.restart().await.unwrap();
            town.both_say("database", "up").await;
            town.more_effects(stretch()).await;
        }
        let found = load.verdict().await;
        tell(scenario, "Postgres stopped immediately", &found);
        assert_was_resent(&found);
    }
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_and_started_again_costs_no_unit() {
    let mut town = Town::found().await;
    for scenario in SCENARIOS {
        let load = town.open(scenario, amount(0, 1) == 1);
        town.more_effects(stretch()).await;
        for _ in 0..times() {
            town.redis.kill().await.unwrap();
            town.both_say("lock_mode", "database_only").await;
            town.more_effects(stretch()).await;
            town.redis.restart().await.unwrap();
            town.both_say("lock_mode", "two_layer").await;
            town.more_effects(stretch()).await;
        }
        let found = load.verdict().await;
        tell(scenario, "Redis killed and started again", &found);
        // Nobody need notice.
        assert_eq!(found["unknown_resent"], 0, "{found}");
        let modes = |mode: &str| {
            found["calls"].as_object().unwrap().values().any(|call| call["lock_modes"][mode].is_u64())
        };
        assert!(modes("two_layer") && modes("database_only"), "{found}");
    }
    town.close().await;
}

/// Else nothing was shown.
#[track_caller]
fn assert_was_resent(found: &serde_json::Value) {
    let resent = ["unknown_resent", "refused_resent"].map(|field| found[field].as_u64().unwrap());
    // One break may meet nobody in the middle; several do.
    let noticed = if amount(0, 1) == 1 { resent[0] } else { resent.iter().sum() };
    assert!(noticed > 0, "nobody noticed: {found}");
}
