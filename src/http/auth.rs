//! Who calls, and what they may do.
//!
//! What must stay true: a route answers nobody until [`allow`] has let them pass, for a handler gets its
//! [`Caller`] from there, or from [a good signature](crate::webhooks::signed), and from nowhere else; keys are
//! compared by their SHA-256 alone, and neither key nor hash is ever logged.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::preference::Patience;
use super::problem::{Code, Problem};
use super::shell::RequestContext;
use crate::app::App;
use crate::db::{Db, DbError};
use crate::ids;
use crate::telemetry::trace::Trace;

/// How long a key that was found stays known without asking again: so long a revoked key still works.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// How long one that was found still lets its holder look on, while it can't be looked up.
const TRUSTED_FOR: Duration = Duration::from_secs(60 * 60);
/// How long such a look-up may take: longer than a connection for it may.
const LOOK_UP_MAX: Duration = Duration::from_millis(1_500);
/// How long after one that failed none is tried for whoever is trusted.
const AWAY_FOR: Duration = Duration::from_secs(1);
/// Keys known at once; beyond it the store is asked each time.
const MAX_KNOWN: usize = 10_000;

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Orders, holds, decrement, increment, reads.
    Storefront,
    /// Adjustments, counts, racks, reads.
    Warehouse,
    /// Invoices.
    Finance,
    /// Everything, and locks, keys, audit, metrics.
    Operator,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::Storefront, Self::Warehouse, Self::Finance, Self::Operator];

    /// The scope's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Storefront => "storefront",
            Self::Warehouse => "warehouse",
            Self::Finance => "finance",
            Self::Operator => "operator",
        }
    }

    /// The scope of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// The holder of a key.
#[derive(Debug)]
pub struct Principal {
    /// The user the key speaks for.
    pub subject: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
}

impl Principal {
    /// Whether one of `scopes` is among its own. An operator may do everything.
    #[must_use]
    pub fn may(&self, scopes: &[Scope]) -> bool {
        self.scopes.iter().any(|scope| *scope == Scope::Operator || scopes.contains(scope))
    }
}

/// Who makes this request. A handler that takes it as an argument can only be reached through [`allow`].
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key's holder.
    pub principal: Arc<Principal>,
    /// The request's id.
    pub request_id: Arc<str>,
    /// Cancelled when the caller hangs up.
    pub gone: CancellationToken,
    /// How long the caller is ready to wait.
    pub patience: Patience,
    /// The request's place in a trace.
    pub trace: Trace,
}

impl Caller {
    /// Whoever signed this request with a secret, which opens the route that asks for it and no other.
    #[must_use]
    pub fn signed(context: RequestContext) -> Self {
        let principal = Principal { subject: "webhook".to_owned(), scopes: Vec::new() };
        Self::within(context, Arc::new(principal))
    }

    fn within(context: RequestContext, principal: Arc<Principal>) -> Self {
        let RequestContext { request_id, gone, patience, trace } = context;
        Self { principal, request_id, gone, patience, trace }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::new(Code::Unauthenticated, "This route was not opened to anyone."))
    }
}

type Hash = [u8; 32];

/// A key that was found.
#[derive(Debug, Clone)]
struct Known {
    principal: Arc<Principal>,
    since: Instant,
}

/// Looks keys up, and remembers for a little while whom it found.
///
/// What must stay true: whoever changes anything is looked up, but for those who were a moment ago. Who only looks on is let
/// in when nobody can be looked up, if that key was good within the hour: the calls that tell what is wrong are needed most
/// when Postgres is away.
#[derive(Debug)]
pub struct Keyring {
    admin: Option<(Hash, Arc<Principal>)>,
    known: Mutex<HashMap<Hash, Known>>,
    /// When it last looked in vain, for somebody who looks on.
    in_vain: Mutex<Option<Instant>>,
    /// How long a key that was found is not looked up again.
    pub known_for: Duration,
}

impl Keyring {
    /// A ring that knows the admin key, if there is one.
    #[must_use]
    pub fn new(admin_key: Option<&SecretString>) -> Self {
        let admin = admin_key.map(|key| {
            let principal = Principal { subject: "admin".to_owned(), scopes: Scope::ALL.to_vec() };
            (hash(key.expose_secret()), Arc::new(principal))
        });
        Self { admin, known: Mutex::default(), in_vain: Mutex::default(), known_for: KNOWN_FOR }
    }

    /// The holder of `key`, if it is a live one.
    async fn holder(
        &self,
        app: &Arc<App>,
        key: &str,
        looks_on: bool,
    ) -> Result<Option<Arc<Principal>>, DbError> {
        let hash = hash(key);
        if let Some((admin, principal)) = &self.admin
            && *admin == hash
        {
            return Ok(Some(principal.clone()));
        }
        // Only keys of the form that is made here are looked up: guessing at random costs no query.
        if !ids::is_api_key(key) {
            return Ok(None);
        }
        let known = self.known().get(&hash).cloned();
        if let Some(known) = &known
            && known.since.elapsed() < self.known_for
        {
            return Ok(Some(known.principal.clone()));
        }
        if looks_on {
            let trusted = known.filter(|known| known.since.elapsed() < TRUSTED_FOR);
            if trusted.is_none() || !self.has_looked_in_vain() {
                if let Ok(found) = look_up_aside(app, hash).await {
                    return Ok(self.remember(hash, found));
                }
                *self.in_vain.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
            if let Some(trusted) = trusted {
                return Ok(Some(trusted.principal));
            }
        }
        let found = store::find_key(&mut *app.db.read().await?, &hash).await?;
        Ok(self.remember(hash, found))
    }

    fn has_looked_in_vain(&self) -> bool {
        let last = *self.in_vain.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < AWAY_FOR)
    }

    fn remember(&self, hash: Hash, found: Option<Principal>) -> Option<Arc<Principal>> {
        let mut known = self.known();
        let Some(principal) = found.map(Arc::new) else {
            known.remove(&hash);
            return None;
        };
        if known.len() >= MAX_KNOWN && !known.contains_key(&hash) {
            known.retain(|_, known| known.since.elapsed() < self.known_for);
        }
        if known.len() < MAX_KNOWN || known.contains_key(&hash) {
            known.insert(hash, Known { principal: principal.clone(), since: Instant::now() });
        }
        Some(principal)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Hash, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks a key up over the connection of those who look on, which is there when all others are busy. A Postgres that hangs
/// keeps a task of its own, and nobody else.
async fn look_up_aside(app: &Arc<App>, hash: Hash) -> Result<Option<Principal>, DbError> {
    let asking = app.clone();
    let looking =
        app.tasks.spawn(async move { store::find_key(&mut *asking.db.look_on().await?, &hash).await });
    match timeout(LOOK_UP_MAX, looking).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => Err(DbError::PoolExhausted),
    }
}

/// The SHA-256 of a key: what is stored and compared.
#[must_use]
pub fn hash(key: &str) -> Hash {
    Sha256::digest(key.as_bytes()).into()
}

/// Whom a route lets in.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    /// Whoever has one of these scopes, and operators.
    pub scopes: &'static [Scope],
    /// Whether it only shows what goes on, whatever is away: then so does its door.
    pub looks_on: bool,
}

/// Lets through who has one of the scopes it is given: laid over each route by [`super::open_to`].
///
/// # Errors
/// 401 `unauthenticated` without a live key, 403 `forbidden` without the scope.
pub async fn allow(
    State((app, door)): State<(Arc<App>, Door)>,
    mut request: Request,
    next: Next,
) -> Response {
    let context = request.extensions().get::<RequestContext>().cloned().unwrap_or_default();
    let given = request.headers().get(AUTHORIZATION).cloned();
    match admit(&app, door, given.as_ref(), context).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn admit(
    app: &Arc<App>,
    Door { scopes, looks_on }: Door,
    given: Option<&HeaderValue>,
    context: RequestContext,
) -> Result<Caller, Problem> {
    let unknown = || Problem::new(Code::Unauthenticated, "Send a live key as `Authorization: Bearer <key>`.");
    let header = given.and_then(|value| value.to_str().ok());
    let key = header
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, key) = key.ok_or_else(unknown)?;
    let principal = app.keys.holder(app, key.trim(), looks_on).await?.ok_or_else(unknown)?;
    if !principal.may(scopes) {
        let names: Vec<_> = scopes.iter().map(|scope| scope.as_str()).chain(["operator"]).collect();
        return Err(Problem::new(
            Code::Forbidden,
            format!("This needs a key with scope {}.", names.join(" or ")),
        ));
    }
    Ok(Caller::within(context, principal))
}

/// A key to be made.
#[derive(Debug)]
pub struct NewKey<'a> {
    /// What people call it.
    pub name: &'a str,
    /// Whom it speaks for.
    pub subject: &'a str,
    /// What it allows.
    pub scopes: &'a [Scope],
}

/// Makes a key and gives it: the only time it can be seen.
///
/// # Errors
/// [`DbError`].
pub async fn create_key(db: &Db, new: &NewKey<'_>) -> Result<SecretString, DbError> {
    let key = ids::api_key();
    let mut conn = db.read().await?;
    store::insert_key(&mut conn, new, &hash(&key)).await?;
    Ok(key.into())
}

mod store {
    use sqlx::PgConnection;

    use super::{Hash, NewKey, Principal, Scope};
    use crate::db::DbError;

    pub(super) async fn find_key(conn: &mut PgConnection, hash: &Hash) -> Result<Option<Principal>, DbError> {
        let row = sqlx::query!(
            "SELECT subject, scopes FROM api_keys WHERE key_hash = $1 AND revoked_at IS NULL",
            hash.as_slice(),
        )
        .fetch_optional(conn)
        .await?;
        Ok(row.map(|row| Principal {
            subject: row.subject,
            scopes: row.scopes.iter().filter_map(|name| Scope::named(name)).collect(),
        }))
    }

    pub(super) async fn insert_key(
        conn: &mut PgConnection,
        new: &NewKey<'_>,
        hash: &Hash,
    ) -> Result<(), DbError> {
        let scopes: Vec<String> = new.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
        sqlx::query!(
            "INSERT INTO api_keys (key_id, name, subject, scopes, key_hash) VALUES ($1, $2, $3, $4, $5)",
            crate::ids::fresh(),
            new.name,
            new.subject,
            &scopes,
            hash.as_slice(),
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}
