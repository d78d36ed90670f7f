//! Three replicas on one database and one Redis, each with a link of its own to it, and a crowd that buys from all:
//! what a fault of Redis is let loose on.

use std::time::Duration;

use holdfast::locks::LockMode;
use holdfast::locks::timing::REDIS_TIMEOUT;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::campaign::{amount, report};
use super::stranger::inventory_lock;
use super::{Client, Crowd, HeldRow, Link, Peer, Proxy, Reply, Stranger, TestApp, TestDatabase, eventually};

/// Far above what is promised, which is measured: it only tells a slow machine from a broken promise.
const SOON: Duration = Duration::from_secs(30);
/// What a fault of Redis may add to an answer: its timeout, and as much again for a waiter elsewhere who notices later.
const ADDED_MAX: Duration = REDIS_TIMEOUT.saturating_mul(2);
/// What a machine that does other work besides may add: the campaigns tell how long it was.
const NOISE: Duration = Duration::from_secs(10);
/// All replicas use Redis again, by themselves and long before a lock's time is over.
const RETURN_MAX: Duration = NOISE.saturating_add(Duration::from_secs(2));

pub struct Shop {
    pub app: TestApp,
    pub peers: [Peer; 2],
    pub crowd: Crowd,
    /// Of each replica, to Redis.
    pub links: Vec<Proxy>,
    /// The slowest answer before anything broke.
    calm: Duration,
}

impl Shop {
    /// With the Redis at `redis_url`, and the settings that a shop has by default.
    pub async fn on(redis_url: &str) -> Self {
        let mut links = Vec::new();
        for _ in 0..3 {
            links.push(Proxy::before_redis(redis_url).await);
        }
        let app = TestApp::with(TestDatabase::fresh().await, Some(&links[0].redis_url()), &[]).await;
        let peers = [
            Peer::start(&app.database.url, Some(&links[1].redis_url()), &[]).await,
            Peer::start(&app.database.url, Some(&links[2].redis_url()), &[]).await,
        ];
        let crowd = Crowd::gather(&[&app.client, &peers[0].client, &peers[1].client]).await;
        crowd.changes(40).await;
        let calm = crowd.tally().slowest;
        let shop = Self { app, peers, crowd, links, calm };
        assert_eq!(shop.modes(), [LockMode::TwoLayer; 3], "before anything broke");
        shop
    }

    /// From now on all links are like this.
    pub fn link(&self, link: Link) {
        for proxy in &self.links {
            proxy.link(link);
        }
    }

    pub fn modes(&self) -> [LockMode; 3] {
        [&self.app.app, &self.peers[0].app, &self.peers[1].app].map(|app| app.locks.mode())
    }

    /// A fault begins.
    pub fn outage(&self, fault: impl Into<String>) -> Outage<'_> {
        self.crowd.begin_tally();
        let answer_max = Some(self.calm + ADDED_MAX + NOISE);
        Outage { shop: self, fault: fault.into(), seen: [false; 3], answer_max }
    }

    /// A sale in the middle of its section on the first replica.
    pub async fn section(&self, redis: &Stranger) -> Section {
        Section::begin(&self.app, &self.app.client, redis).await
    }

    /// Closes it, and checks that everything is told right and nothing is left in Redis.
    pub async fn close(self) {
        let redis = Stranger::at(&self.links[0].redis_url()).await;
        let changes = self.crowd.settle(&self.app.client, &self.app.database.pool).await;
        assert!(changes > 100, "{changes} changes are too few to prove anything");
        for peer in self.peers {
            peer.finish().await;
        }
        until_nothing_is_left(&redis).await;
        self.app.finish().await;
    }
}

/// Waits until Redis knows of no lock. One that a failover copied and nobody wants lasts for its whole TTL of 30 s.
pub async fn until_nothing_is_left(redis: &Stranger) {
    eventually(2 * SOON, "no lock is left", async || {
        redis.keys("inventory_lock:*").await.is_empty() && redis.keys("lock:*").await.is_empty()
    })
    .await;
}

/// A fault that goes on while the crowd buys.
pub struct Outage<'a> {
    shop: &'a Shop,
    fault: String,
    /// Which replicas were seen to do without Redis.
    seen: [bool; 3],
    /// How long an answer may take, where that is bounded by more than a line's own wait.
    answer_max: Option<Duration>,
}

impl Outage<'_> {
    /// Locks are waited for while it lasts: Redis is slow and used, or a stranger or a dead replica holds one. Whoever
    /// waits too long for a lock is refused, and that is noticed as a failure.
    pub fn with_long_lines(mut self) -> Self {
        self.answer_max = None;
        self
    }

    /// Lasts until every replica has noticed, and the crowd was answered often enough.
    pub async fn is_noticed(&mut self) {
        self.lasts_until("every replica notices", async |outage| {
            outage.seen == [true; 3] && outage.shop.crowd.tally().database_only > 0
        })
        .await;
    }

    /// Lasts until `bit` holds, and the crowd was answered often enough.
    pub async fn lasts_until(&mut self, what: &str, mut bit: impl AsyncFnMut(&Self) -> bool) {
        let (changes, limit) = (amount(60, 600), SOON * amount(1, 20) as u32);
        let (what, began) = (format!("{}: {what}", self.fault), Instant::now());
        loop {
            for (seen, mode) in self.seen.iter_mut().zip(self.shop.modes()) {
                *seen |= mode == LockMode::DatabaseOnly;
            }
            if bit(self).await && self.shop.crowd.tally().changes >= changes {
                return;
            }
            self.assert_nobody_failed();
            assert!(began.elapsed() < limit, "not within {limit:?}: {what}; {:?}", self.shop.crowd.tally());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lasts until the crowd was answered often enough: that it bites is seen otherwise.
    pub async fn lasts(&mut self) {
        self.lasts_until("the crowd is answered", async |_| true).await;
    }

    /// Redis is well again, though the replicas may not know: waits until all use it, by themselves.
    pub async fn ends(self) {
        let writable = async || {
            let Ok(redis) = Stranger::try_at(&self.shop.links[0].redis_url()).await else { return false };
            redis.try_ask::<String>(&["SET", "a test's own", "1", "PX", "100"]).await.is_ok()
        };
        eventually(SOON, &format!("{}: Redis can be written", self.fault), writable).await;
        let well_since = Instant::now();
        eventually(RETURN_MAX, &format!("{}: all replicas are two-layer again", self.fault), async || {
            self.shop.modes() == [LockMode::TwoLayer; 3]
        })
        .await;
        let back_after = well_since.elapsed();
        let during = self.shop.crowd.tally();
        self.shop.crowd.begin_tally();
        eventually(SOON, &format!("{}: all replicas answer under both layers", self.fault), async || {
            self.assert_nobody_failed();
            self.shop.crowd.tally().two_layer.iter().all(|answers| *answers > 0)
        })
        .await;
        let slowest = during.slowest.max(self.shop.crowd.tally().slowest);
        assert_eq!(during.failures, [""; 0], "{}", self.fault);
        let is_soon = self.answer_max.is_none_or(|max| slowest < max);
        assert!(is_soon, "{}: an answer took {slowest:?}", self.fault);
        report(&format!(
            "{}: {} of {} answers database-only, the slowest after {slowest:.2?} (in calm {:.2?}); two-layer again \
             after {back_after:.2?}",
            self.fault,
            during.database_only,
            during.answers(),
            self.shop.calm,
        ));
    }

    fn assert_nobody_failed(&self) {
        assert_eq!(self.shop.crowd.tally().failures, [""; 0], "{}", self.fault);
    }
}

/// A sale that has its locks and stands at its row, for as long as the test likes.
pub struct Section {
    pub key: String,
    pub token: String,
    pub row: HeldRow,
    pub variant: Uuid,
    pub sale: JoinHandle<Reply>,
}

impl Section {
    /// Of a variant of its own, sold through `client`.
    pub async fn begin(app: &TestApp, client: &Client, redis: &Stranger) -> Self {
        let variant = app.client.variant(10).await;
        let (key, row) = (inventory_lock(variant), HeldRow::of(&app.database, variant).await);
        let sale = sell(client, variant);
        row.until_wanted_by(1, &app.database.pool).await;
        let token = redis.holder(&key).await.expect("a section under both layers");
        Self { key, token, row, variant, sale }
    }

    /// Another replica sells the same, and nothing holds it back but the row: both end well, one after the other.
    pub async fn ends_beside(self, other: &Client, app: &TestApp) {
        let second = sell(other, self.variant);
        self.row.until_wanted_by(2, &app.database.pool).await;
        self.row.let_go().await;
        for sale in [self.sale, second] {
            sale.await.unwrap().expect(200);
        }
        assert_eq!(other.on_hand(self.variant).await, 8);
    }
}

pub fn sell(client: &Client, variant: Uuid) -> JoinHandle<Reply> {
    let client = client.clone();
    tokio::spawn(async move { client.decrement(variant, 1).await })
}
