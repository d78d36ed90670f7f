//! Postgres as the service sees it: by a session that is begun as the service's are.
//!
//! What must stay true: nobody is waited for without an end, and what was found is told whatever comes after it.

use std::fmt::Display;
use std::time::Duration;

use anyhow::Context;
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, PgConnection};
use tokio::time::timeout;

use super::clocks::{Ahead, compared};
use super::{Finding, connections, schema, tables, waiting};
use crate::config::Config;
use crate::db::{self, ACQUIRE_TIMEOUT};
use crate::locks::timing::STATEMENT_TIMEOUT;
use crate::operations::backlog;

/// The oldest Postgres that is supported.
const POSTGRES_MIN: i32 = 150_000;

/// How long Postgres may take to answer one question: longer than its own limit for a statement, of which nobody sees to it
/// while it hangs.
const ANSWER_MAX: Duration = STATEMENT_TIMEOUT.saturating_add(Duration::from_secs(5));

/// What there is to say, however far that came, and its clock if it tells.
pub(super) async fn look(config: &Config) -> (Vec<Finding>, Option<Ahead>) {
    let mut seen = Seen(Vec::new());
    // Whoever fell silent has been told of; nothing more is asked.
    let clock = ask_all(config, &mut seen).await.unwrap_or_default();
    (seen.0, clock)
}

/// What was found.
struct Seen(Vec<Finding>);

/// Nobody answers any more.
#[derive(Debug)]
struct Silent;

impl Seen {
    /// What was asked, or nothing if that failed: that is a finding itself, and no end of asking.
    async fn ask<T, E: Display>(
        &mut self,
        what: &str,
        limit: Duration,
        asked: impl Future<Output = Result<T, E>>,
    ) -> Result<Option<T>, Silent> {
        match timeout(limit, asked).await {
            Ok(Ok(told)) => Ok(Some(told)),
            Ok(Err(error)) => {
                self.0.push(Finding::error(format!("Postgres: {what}: {error:#}")));
                Ok(None)
            }
            Err(_) => {
                let text = format!("Postgres: {what}: no answer within {} s; does it hang?", limit.as_secs());
                self.0.push(Finding::error(text));
                Err(Silent)
            }
        }
    }

    /// The same of what is a finding, or several.
    async fn look(
        &mut self,
        what: &str,
        asked: impl Future<Output = sqlx::Result<impl IntoIterator<Item = Finding>>>,
    ) -> Result<(), Silent> {
        let found = self.ask(what, ANSWER_MAX, asked).await?;
        self.0.extend(found.into_iter().flatten());
        Ok(())
    }
}

async fn ask_all(config: &Config, seen: &mut Seen) -> Result<Option<Ahead>, Silent> {
    let connecting = async {
        let options = db::session_options(config.database_url.expose_secret())?;
        let connected = options.application_name("holdfast doctor").connect().await;
        connected.context("is it running, and is DATABASE_URL right?")
    };
    let Some(mut conn) = seen.ask("can't connect", ACQUIRE_TIMEOUT, connecting).await? else {
        return Ok(None);
    };
    let conn = &mut conn;
    let version = sqlx::query_scalar("SELECT current_setting('server_version_num')::int");
    seen.look("its version", async { Ok([look_at_version(version.fetch_one(&mut *conn).await?)]) }).await?;
    let schema = seen.ask("the schema", ANSWER_MAX, schema::look(conn)).await?;
    let is_current = schema.as_ref().is_some_and(|(_, is_current)| *is_current);
    seen.0.extend(schema.map(|(finding, _)| finding));
    seen.look("whether it keeps what is written", look_at_durability(conn)).await?;
    seen.look("what a session has", look_at_session(conn)).await?;
    let pool = config.db_max_connections;
    seen.look("room for connections", async { Ok([connections::look(conn, pool).await?]) }).await?;
    seen.look("the tables", tables::look(conn)).await?;
    if is_current
        && let Some((backlog, verdict)) = seen
            .ask("what waits", ANSWER_MAX, async { backlog::look(conn).await.map_err(anyhow::Error::from) })
            .await?
    {
        seen.0.extend(waiting::look_at_backlog(&backlog));
        seen.0.push(waiting::look_at_audit(verdict.as_ref()));
    }
    seen.look("who writes for long", waiting::look_at_long_writers(conn)).await?;
    let now = sqlx::query_scalar("SELECT extract(epoch FROM clock_timestamp())::float8");
    seen.ask("its clock", ANSWER_MAX, compared(now.fetch_one(conn))).await
}

fn look_at_version(version: i32) -> Finding {
    let shown = format!("{}.{}", version / 10_000, version % 10_000);
    if version < POSTGRES_MIN {
        Finding::error(format!("Postgres: version {shown} is too old; 15 or newer is needed"))
    } else {
        Finding::good(format!("Postgres: version {shown}"))
    }
}

/// What a lost write would look like: the answer was sent and the disk has nothing.
async fn look_at_durability(conn: &mut PgConnection) -> sqlx::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let value: String =
            sqlx::query_scalar("SELECT current_setting($1)").bind(setting).fetch_one(&mut *conn).await?;
        findings.push(if value == "off" {
            let text = format!("Postgres: {setting} is off: an acknowledged order can be lost; set it to on");
            Finding::error(text)
        } else {
            Finding::good(format!("Postgres: {setting} is {value}"))
        });
    }
    let (is_standby, reads_only): (bool, bool) =
        sqlx::query_as("SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool")
            .fetch_one(conn)
            .await?;
    if is_standby {
        let text = "Postgres: this is a standby, which only reads; point DATABASE_URL at the primary";
        findings.push(Finding::error(text));
    }
    if reads_only {
        let text = "Postgres: default_transaction_read_only is on: nothing can be written; reset it for the role and the database";
        findings.push(Finding::error(text));
    }
    Ok(findings)
}

/// A pooler in between may not pass on what a session asks for; then nothing of it holds, isolation included.
async fn look_at_session(conn: &mut PgConnection) -> sqlx::Result<Vec<Finding>> {
    let wanted = db::session_settings();
    let names: Vec<_> = wanted.iter().map(|(name, _)| *name).collect();
    let had: Vec<(String, String)> =
        sqlx::query_as("SELECT name, setting FROM pg_settings WHERE name = ANY($1)")
            .bind(names)
            .fetch_all(conn)
            .await?;
    Ok(compare_settings(&wanted, &had))
}

fn compare_settings(wanted: &[(&'static str, String)], had: &[(String, String)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, value) in wanted {
        let has = had.iter().find(|(other, _)| other == name).map_or("not there", |(_, has)| has.as_str());
        // Over a socket's file there are none.
        let is_local = name.starts_with("tcp_") && has == "0";
        if has != value && !is_local {
            findings.push(Finding::error(format!(
                "Postgres: a session asked for {name} {value} and has {has}: a pooler in between does not pass it on; see \
                 \"What Postgres must be\" in docs/OPERATIONS.md"
            )));
        }
    }
    if findings.is_empty() {
        let isolation = wanted.iter().find(|(name, _)| *name == "default_transaction_isolation");
        let isolation = isolation.map_or("", |(_, value)| value.as_str());
        let text = format!("Postgres: sessions are as asked for, with isolation {isolation}");
        findings.push(Finding::good(text));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Grade;

    #[test]
    fn an_old_postgres_is_an_error_and_a_new_one_is_not() {
        assert_eq!(look_at_version(140_012).0, Grade::Error);
        let Finding(grade, text) = look_at_version(150_000);
        assert_eq!((grade, text.as_str()), (Grade::Good, "Postgres: version 15.0"));
    }

    #[test]
    fn a_setting_that_did_not_arrive_is_named() {
        let wanted = db::session_settings();
        let mut had: Vec<_> =
            wanted.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let good = compare_settings(&wanted, &had);
        assert!(
            matches!(good.as_slice(), [Finding(Grade::Good, text)] if text.contains("read committed")),
            "{good:?}"
        );
        for (_, value) in had.iter_mut().filter(|(name, _)| name.starts_with("tcp_keepalives")) {
            *value = "0".to_owned();
        }
        assert_eq!(compare_settings(&wanted, &had)[0].0, Grade::Good, "a socket's file has none");
        let isolation = had.iter_mut().find(|(name, _)| name == "default_transaction_isolation").unwrap();
        isolation.1 = "serializable".to_owned();
        let bad = compare_settings(&wanted, &had);
        assert!(
            matches!(bad.as_slice(), [Finding(Grade::Error, text)] if text.contains("read committed and has serializable")),
            "{bad:?}"
        );
    }
}
