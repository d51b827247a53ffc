//! What PostgreSQL says, in the words of the trait.

use std::error::Error as _;

use paramedic_model::Digest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::types::{FromSqlOwned, Json};
use tokio_postgres::{Error, Row};

use crate::StoreError;
use crate::rules::refused;

/// Why a transaction did not get through.
#[derive(Debug)]
pub(super) enum Fault {
    /// The store's own rules say no, or what is there cannot be read.
    Store(StoreError),
    /// The server or the connection says no.
    Sql(Error),
    /// There is no connection.
    Lost(String),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Fault::Store(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Sql(error)
    }
}

/// What can be done about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The whole transaction may be done again: it met another one.
    Again,
    /// The connection is gone, or no good.
    Lost,
    /// Nothing: said to the caller.
    Final,
}

impl Fault {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Fault::Store(_) => Kind::Final,
            Fault::Lost(_) => Kind::Lost,
            Fault::Sql(error) => match error.as_db_error() {
                // The same name was written at the same moment by another: the next look finds it.
                Some(said) if said.constraint().is_some_and(|name| MET.contains(&name)) => Kind::Again,
                Some(said) => kind_of(said.code().code(), is_fatal(said)),
                None if is_ours(error) => Kind::Final,
                None => Kind::Lost,
            },
        }
    }

    /// In the words of the trait.
    pub(super) fn told(self, context: &'static str) -> StoreError {
        match self {
            Fault::Store(error) => error,
            Fault::Lost(cause) => StoreError::Away { context, cause },
            Fault::Sql(error) => {
                let cause = said(&error);
                match error.as_db_error() {
                    Some(db) => told(context, db.code().code(), is_fatal(db), cause),
                    None if cause.starts_with(TLS) => {
                        refused(context, format!("{cause}; look at sslmode and sslrootcert in the store's URL"))
                    }
                    None if is_ours(&error) => refused(context, cause),
                    None => StoreError::Away { context, cause },
                }
            }
        }
    }
}

/// Unique indexes on what several nodes may write at once.
const MET: [&str; 2] = ["inbox_key_key", "positions_of_sources"];

/// An error that ends the connection.
fn is_fatal(error: &DbError) -> bool {
    matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
}

const TLS: &str = "error performing TLS";

/// A value that cannot be sent, a setting that a person must mend: trying again is of no use.
fn is_ours(error: &Error) -> bool {
    let text = error.to_string();
    let ours = ["error serializing", "error encoding", "expected ", "invalid co", "authentication", TLS];
    ours.iter().any(|start| text.starts_with(start))
}

fn kind_of(code: &str, fatal: bool) -> Kind {
    match code {
        // A serialisation failure, a deadlock, a lock that was waited for too long.
        "40001" | "40P01" | "55P03" => Kind::Again,
        _ if fatal => Kind::Lost,
        // The server goes down, or has become a standby; 08: the connection.
        "57P01" | "57P02" | "57P03" | "25006" | "25P03" => Kind::Lost,
        _ if code.starts_with("08") => Kind::Lost,
        _ => Kind::Final,
    }
}

/// The trait's error for an SQLSTATE.
fn told(context: &'static str, code: &str, fatal: bool, cause: String) -> StoreError {
    let away = |remedy: &str| StoreError::Away { context, cause: format!("{cause}{remedy}") };
    let other = |remedy: &str| refused(context, format!("{cause}{remedy}"));
    match code {
        "53100" => StoreError::Full(format!("{context}: {cause}")),
        "53300" => away("; raise max_connections, or lower pool_size in the store's URL"),
        "53200" | "53000" | "53400" => away("; the server is short of resources"),
        "57014" => away("; it took longer than statement_timeout allows"),
        "55P03" => away("; another session holds a lock (psql? a backup?): see pg_stat_activity"),
        "25006" => away("; the server takes no writes: has it become a standby?"),
        "40001" | "40P01" => away(""),
        "28P01" | "28000" => other("; look at user and password in the store's URL, and at pg_hba.conf"),
        "3D000" => other("; create it: CREATE DATABASE ... OWNER ..."),
        "42501" => other("; the role must own its schema: see docs/operations.md"),
        "42P01" | "42703" | "3F000" => other("; the schema is not as it was made: restore it, or use another one"),
        "XX001" | "XX002" => StoreError::Corrupt(format!("{context}: {cause}")),
        _ if code.starts_with("08") || code.starts_with("57P") || fatal => away(""),
        _ => other(""),
    }
}

/// The message with the server's details. Never the address: it may hold a password.
pub(super) fn said(error: &Error) -> String {
    if let Some(db) = error.as_db_error() {
        let mut text = format!("{} (SQLSTATE {})", db.message(), db.code().code());
        for more in [db.detail(), db.hint()].into_iter().flatten() {
            text = format!("{text}; {more}");
        }
        return text;
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A value of a row.
pub(super) fn column<T: FromSqlOwned>(context: &'static str, row: &Row, at: usize) -> Result<T, Fault> {
    row.try_get(at).map_err(|e| unreadable(context, &e))
}

/// A record of a row, whose JSON is there.
pub(super) fn body<T: DeserializeOwned>(context: &'static str, row: &Row, at: usize) -> Result<T, Fault> {
    row.try_get::<_, Json<T>>(at).map(|json| json.0).map_err(|e| unreadable(context, &e))
}

fn unreadable(context: &'static str, error: &Error) -> Fault {
    Fault::Store(StoreError::Corrupt(format!("{context}: a record cannot be read: {}", said(error))))
}

/// A digest from its hexadecimal digits.
pub(super) fn digest(context: &'static str, hex: &str) -> Result<Digest, Fault> {
    hex.parse().map_err(|e| Fault::Store(StoreError::Corrupt(format!("{context}: {e}"))))
}

/// A record as JSON.
pub(super) fn json<T: Serialize>(context: &'static str, record: &T) -> Result<String, Fault> {
    serde_json::to_string(record).map_err(|e| Fault::Store(refused(context, e)))
}

/// PostgreSQL's integers have a sign.
pub(super) fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A count or a number that was stored by [`int`].
pub(super) fn uint(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// A list's length.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A shard of a row.
pub(super) fn shard(context: &'static str, row: &Row, at: usize) -> Result<u32, Fault> {
    let found: i64 = column(context, row, at)?;
    u32::try_from(found).map_err(|_| StoreError::Corrupt(format!("{context}: there is no shard {found}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(code: &str, fatal: bool) -> (&'static str, Kind) {
        let kind = kind_of(code, fatal);
        let word = match told("commit", code, fatal, "cause".to_owned()) {
            StoreError::Away { .. } => "away",
            StoreError::Full(_) => "full",
            StoreError::Corrupt(_) => "corrupt",
            StoreError::Other { .. } => "other",
            _ => "unexpected",
        };
        (word, kind)
    }

    #[test]
    fn what_met_another_transaction_is_done_again() {
        for code in ["40001", "40P01", "55P03"] {
            assert_eq!(word(code, false), ("away", Kind::Again), "{code}");
        }
    }

    #[test]
    fn a_server_that_goes_away_is_away() {
        for code in ["57P01", "57P02", "57P03", "08006", "08P01", "25006"] {
            assert_eq!(word(code, false), ("away", Kind::Lost), "{code}");
        }
        assert_eq!(word("53300", true), ("away", Kind::Lost), "too many connections");
        assert_eq!(word("25P03", true), ("away", Kind::Lost), "idle for too long in a transaction");
    }

    #[test]
    fn what_a_person_must_mend_is_said() {
        assert_eq!(word("53100", false), ("full", Kind::Final));
        assert_eq!(word("XX001", false), ("corrupt", Kind::Final));
        assert_eq!(word("23505", false), ("other", Kind::Final));
        assert_eq!(word("57014", false), ("away", Kind::Final));
        for code in ["28P01", "3D000"] {
            assert_eq!(word(code, true).0, "other", "{code}");
        }
    }
}
