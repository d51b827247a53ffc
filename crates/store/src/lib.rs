//! Durable state behind one synchronous trait.
//!
//! [`Store`] is what the shell codes against; [`SqliteStore`] keeps it in a file, [`MemoryStore`] in memory, for
//! tests and dry runs. What must hold in every store is in `rules` and `chain`, and is proved on each of them by
//! one conformance suite (`src/conformance`).

pub mod api;
pub mod archive;
mod chain;
pub mod halt_file;
mod memory;
mod postgres;
mod rules;
mod sqlite;

#[cfg(test)]
mod conformance;

pub use api::*;
pub use halt_file::HaltFile;
pub use memory::MemoryStore;
pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;
