//! Any list of commands, one after the other, to two replicas and to a model of the shop: each answer must be the model's,
//! and so must everything there is in the end. A list that fails is made shorter as long as it fails.

mod command;
mod drive;
mod shop;

use std::sync::{Arc, Mutex};

use command::{Command, command};
use drive::Drive;
use holdfast::app::App;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use shop::Ask;
use sqlx::PgPool;
use tokio::runtime::Runtime;

use crate::support::campaign::{amount, report};
use crate::support::{Client, Peer, TestApp, TestDatabase, invariants, shared_redis};

/// So many lists share a database, so that looking through all of it after each stays quick.
const LISTS_A_DATABASE: u32 = 25;
const COMMANDS_MAX: usize = 40;
/// What the first two variants of each list open with.
const OPENING: [i64; 2] = [6, 3];

/// Two replicas, and what is broken in their database already: by a list that failed and is being made shorter.
struct World {
    replicas: [(Arc<App>, Client); 2],
    pool: PgPool,
    broken: Mutex<Vec<(&'static str, String)>>,
}

impl World {
    /// Runs one list, and tells of the first difference what was asked until then.
    async fn run(&self, commands: &[Command]) -> Result<usize, String> {
        let mut asked = Vec::new();
        let driven = self.drive(commands, &mut asked).await;
        let broken = invariants::broken(&mut self.pool.acquire().await.unwrap()).await;
        let before = std::mem::replace(&mut *self.broken.lock().unwrap(), broken.clone());
        let new = broken.iter().find(|one| !before.contains(one));
        let outcome = driven.and(new.map_or(Ok(()), |new| Err(format!("{new:?}"))));
        outcome.map(|()| asked.len()).map_err(|found| {
            let asked: String = asked.iter().map(|ask| format!("\n    {ask:?}")).collect();
            format!("{found}\nafter{asked}")
        })
    }

    async fn drive(&self, commands: &[Command], asked: &mut Vec<Ask>) -> Result<(), String> {
        let mut drive = Drive::new(self.replicas.clone(), self.pool.clone());
        for on_hand in OPENING {
            drive.ask(&Ask::Create { on_hand }).await.unwrap();
        }
        for command in commands {
            let Some(ask) = command.ask(drive.model()) else { continue };
            asked.push(ask.clone());
            drive.ask(&ask).await?;
        }
        drive.compare().await
    }
}

#[test]
fn any_list_of_commands_is_answered_as_the_model_answers_it() {
    let runtime = Runtime::new().unwrap();
    let (lists, mut answers) = (amount(50, 5_000), 0);
    for database in 0..lists.div_ceil(LISTS_A_DATABASE as usize) {
        // Under both layers and under one, in turn.
        let redis = (database % 2 == 0).then(shared_redis);
        let (app, peer) = runtime.block_on(async {
            let app = TestApp::with(TestDatabase::fresh().await, redis.as_deref(), &[]).await;
            let peer = Peer::start(&app.database.url, redis.as_deref(), &[]).await;
            (app, peer)
        });
        let world = World {
            replicas: [(app.app.clone(), app.client.clone()), (peer.app.clone(), peer.client.clone())],
            pool: app.database.pool.clone(),
            broken: Mutex::default(),
        };
        let config = Config {
            cases: LISTS_A_DATABASE,
            failure_persistence: None,
            max_shrink_iters: 1_000,
            ..Config::default()
        };
        let any_list = proptest::collection::vec(command(), 0..=COMMANDS_MAX);
        let counted = std::cell::Cell::new(0);
        let outcome = TestRunner::new(config).run(&any_list, |commands| {
            let answered = runtime.block_on(world.run(&commands)).map_err(TestCaseError::fail)?;
            counted.set(counted.get() + answered);
            Ok(())
        });
        match outcome {
            Ok(()) => answers += counted.get(),
            Err(TestError::Fail(found, _)) => panic!("{found}"),
            Err(aborted) => panic!("{aborted}"),
        }
        drop(world);
        runtime.block_on(async {
            peer.finish().await;
            app.finish().await;
        });
    }
    report(&format!(
        "{lists} lists of commands, {answers} in all: each was answered as the model answers it"
    ));
}
