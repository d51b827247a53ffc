//! What SQLite says, in the words of the trait.

use paramedic_model::Digest;
use rusqlite::ErrorCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::rules::refused;
use crate::{Result, StoreError};

/// Says what was being done when SQLite failed.
pub(super) trait At<T> {
    /// Full, damaged and not answering are told apart; everything else is [`StoreError::Other`].
    fn at(self, context: &'static str) -> Result<T>;
}

impl<T> At<T> for rusqlite::Result<T> {
    fn at(self, context: &'static str) -> Result<T> {
        use rusqlite::Error as E;
        self.map_err(|error| match (error.sqlite_error_code(), &error) {
            (Some(ErrorCode::DiskFull), _) => StoreError::Full(format!("{context}: {error}")),
            (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _)
            | (
                None,
                E::FromSqlConversionFailure(..)
                | E::IntegralValueOutOfRange(..)
                | E::InvalidColumnType(..)
                | E::Utf8Error(..),
            ) => StoreError::Corrupt(format!("{context}: {error}")),
            (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => {
                let cause = format!("{error}: another program holds the file (a backup tool, a sqlite3 shell?)");
                StoreError::Away { context, cause }
            }
            (Some(ErrorCode::SystemIoFailure), E::SqliteFailure(code, _)) => {
                let cause = format!("{error} (SQLite's code {}): look at the disk", code.extended_code);
                StoreError::Away { context, cause }
            }
            _ => refused(context, error),
        })
    }
}

/// What the file system says.
pub(super) fn io(context: &'static str, path: &std::path::Path, error: &std::io::Error) -> StoreError {
    let said = format!("{}: {error}", path.display());
    if is_full(error) { StoreError::Full(said) } else { refused(context, said) }
}

/// Whether there was no room.
pub(super) fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as K;
    matches!(error.kind(), K::StorageFull | K::QuotaExceeded)
}

/// A record as JSON.
pub(super) fn json<T: Serialize>(context: &'static str, record: &T) -> Result<String> {
    serde_json::to_string(record).map_err(|e| refused(context, e))
}

/// A record from JSON.
pub(super) fn parse<T: DeserializeOwned>(context: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| StoreError::Corrupt(format!("{context}: a record cannot be read: {e}")))
}

/// A digest from its hexadecimal digits.
pub(super) fn digest(context: &'static str, hex: &str) -> Result<Digest> {
    hex.parse().map_err(|e| StoreError::Corrupt(format!("{context}: {e}")))
}

/// SQLite's integers have a sign.
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
