//! The tables, as numbered SQL: a schema knows by its `meta` which numbers it has had.
//!
//! A number that has been released is never edited; a change is a new number. Nodes of two builds work side by side
//! while a cluster is upgraded: the newer one brings the schema to its number, and the older one goes on with it as
//! long as the number says that it can (`compatible_from`). So a number only adds: columns that may be null or have a
//! default, tables, indexes. Statements name their columns.

use super::error::{Fault, column};
use super::transaction::{Tx, Work};
use crate::Result;
use crate::rules::refused;

const CONTEXT: &str = "schema";

struct Migration {
    sql: &'static str,
    /// The oldest number whose program can work with the schema after this one.
    compatible_from: i64,
}

/// Number 1 is at index 0.
const MIGRATIONS: &[Migration] = &[
    Migration { sql: include_str!("schema_1.sql"), compatible_from: 1 },
    #[cfg(feature = "test-faults")]
    Migration { sql: include_str!("schema_test.sql"), compatible_from: 1 },
];

/// The number that this program works with.
pub(super) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// Brings the schema to [`NEWEST`], in the one transaction; only one process at a time does.
pub(super) async fn migrate(tx: &Tx<'_>, schema: &str) -> std::result::Result<(), Fault> {
    // The server's own limit is made for commits.
    let lock = Work::new("SELECT pg_advisory_xact_lock(1349676388, hashtext($1))").with(schema.to_owned());
    let patient = Work::new("SELECT set_config('statement_timeout', '30min', true)");
    tx.begin(vec![patient, lock]).await?;
    let found = tx.ask(vec![Work::new("SELECT count(*) FROM pg_namespace WHERE nspname = $1").with(schema.to_owned())]);
    let there: i64 = column(CONTEXT, only(&found.await?)?, 0)?;
    if there == 0 {
        // The name is of letters, digits and underscores.
        tx.client().batch_execute(&format!("CREATE SCHEMA \"{schema}\"")).await?;
    }
    let mut version = version(tx, schema).await?;
    while let Some(migration) = usize::try_from(version).ok().and_then(|at| MIGRATIONS.get(at)) {
        version += 1;
        tx.client().batch_execute(migration.sql).await?;
        paramedic_model::faults::point("migration");
        let numbers = format!(
            "INSERT INTO meta (key, value) VALUES ('schema', '{version}'), ('compatible_from', '{}')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            migration.compatible_from
        );
        tx.client().batch_execute(&numbers).await?;
    }
    tx.commit(vec![]).await
}

/// Whether the schema can be read as it is. Changes nothing.
///
/// # Errors
/// None is there; it is another program's; it is older than this program, or too new for it.
pub(super) async fn check_readable(tx: &Tx<'_>, schema: &str) -> std::result::Result<(), Fault> {
    let cause = match found(tx, schema).await? {
        Some(version) if version >= NEWEST => return Ok(()),
        Some(version) => format!(
            "it has schema {version}, this program reads {NEWEST}: start the engine once, it brings it up to date"
        ),
        None => format!("there is no store in schema {schema}: is this the engine's database, and its schema?"),
    };
    Err(refused(CONTEXT, cause).into())
}

/// The schema's number; 0 for an empty one, which gets its `meta`.
async fn version(tx: &Tx<'_>, schema: &str) -> std::result::Result<i64, Fault> {
    if let Some(version) = found(tx, schema).await? {
        return Ok(version);
    }
    tx.client().batch_execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)").await?;
    Ok(0)
}

/// The schema's number; `None` for an empty one, and where there is none.
async fn found(tx: &Tx<'_>, schema: &str) -> std::result::Result<Option<i64>, Fault> {
    let tables = "SELECT count(*), count(*) FILTER (WHERE tablename = 'meta') FROM pg_tables WHERE schemaname = $1";
    let found = tx.ask(vec![Work::new(tables).with(schema.to_owned())]).await?;
    let row = only(&found)?;
    let (all, meta): (i64, i64) = (column(CONTEXT, row, 0)?, column(CONTEXT, row, 1)?);
    if meta == 0 {
        if all > 0 {
            let cause =
                format!("schema {schema} has another program's tables; give Paramedic one of its own (schema=NAME)");
            return Err(refused(CONTEXT, cause).into());
        }
        return Ok(None);
    }
    let numbers = "SELECT (SELECT value::bigint FROM meta WHERE key = 'schema'),
                          (SELECT value::bigint FROM meta WHERE key = 'compatible_from')";
    let found = tx.ask(vec![Work::new(numbers)]).await?;
    let row = only(&found)?;
    let numbers: (Option<i64>, Option<i64>) = (column(CONTEXT, row, 0)?, column(CONTEXT, row, 1)?);
    let (Some(version), Some(compatible_from)) = numbers else {
        let cause =
            format!("schema {schema} has another program's table meta; give Paramedic one of its own (schema=NAME)");
        return Err(refused(CONTEXT, cause).into());
    };
    check_version(version, compatible_from)?;
    Ok(Some(version))
}

/// Whether this program can work with a schema of that number.
fn check_version(version: i64, compatible_from: i64) -> Result<()> {
    if version <= NEWEST {
        return Ok(());
    }
    if compatible_from <= NEWEST {
        tracing::info!(version, known = NEWEST, "the store's schema is newer than this program, and goes with it");
        return Ok(());
    }
    let cause = format!(
        "it was brought to schema {version} by a newer Paramedic; this one knows {NEWEST}, and {compatible_from} is the \
         oldest that goes with it: upgrade this node"
    );
    Err(refused(CONTEXT, cause))
}

fn only(answers: &[Vec<tokio_postgres::Row>]) -> std::result::Result<&tokio_postgres::Row, Fault> {
    let first = answers.first().and_then(|rows| rows.first());
    first.ok_or_else(|| refused(CONTEXT, "the server gave no row").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_is_worked_with_as_long_as_it_allows_that() {
        assert!(check_version(NEWEST, NEWEST).is_ok());
        assert!(check_version(NEWEST + 3, NEWEST).is_ok());
        let said = check_version(NEWEST + 3, NEWEST + 1).map_err(|e| e.to_string());
        assert!(said.is_err_and(|said| said.contains("upgrade this node")));
    }
}
