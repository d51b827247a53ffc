//! What SQLite says, in the words of the trait.

use rusqlite::ErrorCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::rules::refused;
use crate::{Result, StoreError};

/// Says what was being done when SQLite failed.
pub(super) trait At<T> {
    /// Full and damaged are told apart; everything else is [`StoreError::Other`].
    fn at(self, context: &'static str) -> Result<T>;
}

impl<T> At<T> for rusqlite::Result<T> {
    fn at(self, context: &'static str) -> Result<T> {
        self.map_err(|error| {
            let said = format!("{context}: {error}");
            match (error.sqlite_error_code(), &error) {
                (Some(ErrorCode::DiskFull), _) => StoreError::Full(said),
                (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _) => StoreError::Corrupt(said),
                (
                    None,
                    rusqlite::Error::FromSqlConversionFailure(..)
                    | rusqlite::Error::IntegralValueOutOfRange(..)
                    | rusqlite::Error::InvalidColumnType(..)
                    | rusqlite::Error::Utf8Error(..),
                ) => StoreError::Corrupt(said),
                _ => refused(context, error),
            }
        })
    }
}

/// What the file system says.
pub(super) fn io(context: &'static str, path: &std::path::Path, error: &std::io::Error) -> StoreError {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::StorageFull | K::QuotaExceeded => StoreError::Full(format!("{}: {error}", path.display())),
        _ => refused(context, format!("{}: {error}", path.display())),
    }
}

/// A record as JSON.
pub(super) fn json<T: Serialize>(context: &'static str, record: &T) -> Result<String> {
    serde_json::to_string(record).map_err(|e| refused(context, e))
}

/// A record from JSON.
pub(super) fn parse<T: DeserializeOwned>(context: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| StoreError::Corrupt(format!("{context}: a record cannot be read: {e}")))
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
