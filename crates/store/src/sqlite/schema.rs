//! The tables, as numbered SQL: a database knows by its `user_version` which numbers it has had.
//!
//! A number that has been released is never edited; a change is a new number.

use rusqlite::Connection;

use super::error::At;
use crate::rules::refused;
use crate::{Result, StoreError};

/// "Prmd": tells our files from other programs' SQLite files.
const APPLICATION_ID: i64 = 0x5072_6d64;

/// Number 1 is at index 0.
const MIGRATIONS: [&str; 2] = [include_str!("schema_1.sql"), include_str!("schema_2.sql")];

/// The number that this program works with.
pub(super) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// Brings the database to [`NEWEST`], each number in a transaction of its own.
///
/// # Errors
/// A database of another program, or of a newer Paramedic.
pub(super) fn migrate(conn: &mut Connection) -> Result<()> {
    let mut version = check_ours(conn)?;
    while let Some(sql) = usize::try_from(version).ok().and_then(|v| MIGRATIONS.get(v)) {
        version += 1;
        let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).at("schema")?;
        tx.execute_batch(sql).at("schema")?;
        tx.pragma_update(None, "application_id", APPLICATION_ID).at("schema")?;
        tx.pragma_update(None, "user_version", version).at("schema")?;
        paramedic_model::faults::point("migration");
        tx.commit().at("schema")?;
    }
    Ok(())
}

/// Whether the database can be read as it is.
///
/// # Errors
/// Any number but [`NEWEST`].
pub(super) fn check_newest(conn: &Connection) -> Result<()> {
    let version = check_ours(conn)?;
    if version == NEWEST {
        return Ok(());
    }
    let cause =
        format!("it has schema {version}, this program reads {NEWEST}: start the engine once, it brings it up to date");
    Err(refused("opening the store", cause))
}

/// The database's number; 0 for an empty one. Changes nothing.
///
/// # Errors
/// A database of another program, or of a newer Paramedic.
pub(super) fn check_ours(conn: &Connection) -> Result<i64> {
    let number =
        |pragma: &str| conn.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).at("opening the store");
    let version = number("user_version")?;
    let application = number("application_id")?;
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).at("opening the store")?;
    if application != APPLICATION_ID && (tables > 0 || version > 0) {
        return Err(foreign("it is another program's SQLite database; give Paramedic a data folder of its own"));
    }
    if version > NEWEST {
        let cause = format!(
            "it was written by a newer Paramedic (schema {version}, this one knows {NEWEST}): use that one, or another \
             data folder"
        );
        return Err(refused("opening the store", cause));
    }
    Ok(version)
}

fn foreign(cause: &str) -> StoreError {
    refused("opening the store", cause)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rules::incident_may_become;
    use paramedic_model::{IncidentState, OutboxState};

    fn fresh() -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn).unwrap();
        conn
    }

    #[test]
    fn the_database_has_the_moves_of_the_outbox_table_and_no_other() {
        let conn = fresh();
        for from in OutboxState::ALL {
            for to in OutboxState::ALL {
                conn.execute("DELETE FROM outbox", []).unwrap();
                conn.execute(
                    "INSERT INTO outbox (key, order_id, scope, incident, kind, state, released_at, body)
                     VALUES (x'01', x'02', 's', x'03', 'run', ?1, 0, '')",
                    [from.name()],
                )
                .unwrap();
                let moved = conn.execute("UPDATE outbox SET state = ?1", [to.name()]).is_ok();
                assert_eq!(moved, from == to || from.may_become(to), "{} -> {}", from.name(), to.name());
            }
        }
    }

    #[test]
    fn the_database_has_the_moves_of_an_incident_and_no_other() {
        let conn = fresh();
        for from in IncidentState::ALL {
            for to in IncidentState::ALL {
                conn.execute("DELETE FROM incidents", []).unwrap();
                conn.execute(
                    "INSERT INTO incidents
                     (id, scope, correlation_key, state, priority, shadow, opened_at, updated_at, body)
                     VALUES (x'01', 's', x'02', ?1, 1, 0, 0, 0, '')",
                    [from.code()],
                )
                .unwrap();
                let moved = conn.execute("UPDATE incidents SET state = ?1", [to.code()]).is_ok();
                assert_eq!(moved, incident_may_become(from, to), "{} -> {}", from.name(), to.name());
            }
        }
    }

    #[test]
    fn history_is_append_only_in_the_database() {
        let conn = fresh();
        conn.execute("INSERT INTO history (scope, seq, record, body) VALUES ('s', 1, x'01', '{}')", []).unwrap();
        assert!(conn.execute("UPDATE history SET body = ''", []).is_err());
        assert!(conn.execute("DELETE FROM history", []).is_err());
    }

    #[test]
    fn a_newer_database_is_refused() {
        let mut conn = fresh();
        conn.pragma_update(None, "user_version", NEWEST + 1).unwrap();
        let said = migrate(&mut conn).unwrap_err().to_string();
        assert!(said.contains("newer Paramedic"), "{said}");
    }

    #[test]
    fn another_programs_database_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE theirs (x)").unwrap();
        let said = migrate(&mut conn).unwrap_err().to_string();
        assert!(said.contains("another program"), "{said}");
    }

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut conn = fresh();
        migrate(&mut conn).unwrap();
        check_newest(&conn).unwrap();
    }
}
