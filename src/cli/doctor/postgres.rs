//! Postgres as the service sees it: by a session that is begun as the service's are.

use anyhow::Context;
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::clocks::{Ahead, compared};
use super::{Finding, connections, schema, tables, waiting};
use crate::config::Config;
use crate::db;
use crate::operations::backlog;

/// The oldest Postgres that is supported.
const POSTGRES_MIN: i32 = 150_000;

/// What there is to say, and its clock.
pub(super) async fn look(config: &Config) -> anyhow::Result<(Vec<Finding>, Ahead)> {
    let options =
        db::session_options(config.database_url.expose_secret())?.application_name("holdfast doctor");
    let mut conn =
        options.connect().await.context("can't connect; is it running, and is DATABASE_URL right?")?;
    let version =
        sqlx::query_scalar("SELECT current_setting('server_version_num')::int").fetch_one(&mut conn).await?;
    let (of_schema, is_current) = schema::look(&mut conn).await?;
    let mut findings = vec![look_at_version(version), of_schema];
    findings.extend(look_at_durability(&mut conn).await?);
    findings.extend(look_at_session(&mut conn).await?);
    findings.push(connections::look(&mut conn, config.db_max_connections).await?);
    findings.extend(tables::look(&mut conn).await?);
    if is_current {
        let (backlog, verdict) = backlog::look(&mut conn).await?;
        findings.extend(waiting::look_at_backlog(&backlog));
        findings.push(waiting::look_at_audit(verdict.as_ref()));
    }
    findings.extend(waiting::look_at_long_writers(&mut conn).await?);
    let clock = compared(
        sqlx::query_scalar("SELECT extract(epoch FROM clock_timestamp())::float8").fetch_one(&mut conn),
    )
    .await?;
    conn.close().await?;
    Ok((findings, clock))
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
