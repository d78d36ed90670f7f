//! Whether all replicas find room in Postgres when each has opened as many connections as it may.

use sqlx::PgConnection;

use super::Finding;
use crate::db::BESIDE_THE_POOL;

/// Who may connect, and who has.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
struct Room {
    /// For everybody but superusers.
    all: i32,
    /// Of this role and of this database, if they are limited.
    role_limit: Option<i32>,
    database_limit: Option<i32>,
    /// That are not Holdfast's.
    others: i64,
    replicas: i64,
}

pub(super) async fn look(conn: &mut PgConnection, pool: u32) -> sqlx::Result<Finding> {
    // Each replica's relay has one session; who may not see others' names still sees those of its own role.
    let room: Room = sqlx::query_as(
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                - coalesce(current_setting('reserved_connections', true)::int, 0) AS \"all\",
            (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user) AS role_limit,
            (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()) AS database_limit,
            count(*) FILTER (WHERE NOT is_ours) AS others,
            count(*) FILTER (WHERE is_ours AND application_name = 'holdfast relay') AS replicas
         FROM (SELECT application_name,
                   coalesce(datname = current_database() AND application_name LIKE 'holdfast%', false) AS is_ours
               FROM pg_stat_activity
               WHERE usesysid IS NOT NULL AND datid IS NOT NULL AND leader_pid IS NULL AND pid <> pg_backend_pid()) s",
    )
    .fetch_one(conn)
    .await?;
    Ok(judge(room, pool))
}

fn judge(room: Room, pool: u32) -> Finding {
    let each = i64::from(pool) + i64::from(BESIDE_THE_POOL);
    let replicas = room.replicas.max(1);
    let limits = [room.role_limit, room.database_limit].into_iter().flatten().map(i64::from);
    let free = limits.fold(i64::from(room.all) - room.others, i64::min);
    let who = if replicas == 1 { "a replica".to_owned() } else { format!("{replicas} replicas") };
    let told =
        format!("Postgres: {who} may open {} connections, and there is room for {free}", replicas * each);
    if replicas * each <= free {
        return Finding::good(told);
    }
    let most = free / replicas - i64::from(BESIDE_THE_POOL);
    let advice = if most >= 1 {
        format!("set HOLDFAST_DB_MAX_CONNECTIONS to {most} at most, or raise max_connections")
    } else {
        "raise max_connections, or the limit of the role or database".to_owned()
    };
    Finding::warning(format!("{told}: under load requests would be refused; {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Grade;

    #[test]
    fn all_replicas_are_counted_and_the_narrowest_limit_holds() {
        let room = Room { all: 97, role_limit: None, database_limit: None, others: 7, replicas: 0 };
        let told = |room, pool| {
            let Finding(grade, text) = judge(room, pool);
            (grade, text)
        };
        assert_eq!(told(room, 20).0, Grade::Good);
        assert_eq!(told(Room { replicas: 3, ..room }, 27).0, Grade::Good);
        let (grade, text) = told(Room { replicas: 3, ..room }, 28);
        assert_eq!(grade, Grade::Warning);
        assert!(text.contains("3 replicas may open 93 connections, and there is room for 90"), "{text}");
        assert!(text.contains("HOLDFAST_DB_MAX_CONNECTIONS to 27 at most"), "{text}");
        for narrow in [Room { role_limit: Some(10), ..room }, Room { database_limit: Some(10), ..room }] {
            assert!(told(narrow, 20).1.contains("room for 10"));
            assert_eq!(told(narrow, 7).0, Grade::Good);
        }
        assert!(told(Room { others: 96, ..room }, 20).1.contains("raise max_connections, or the limit"));
    }
}
