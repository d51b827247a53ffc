//! What only a store on a server has to do: survive the server's restarts, lost connections and other nodes.
//!
//! On the server that `DATABASE_URL` names (`tests/real/postgres.sh up`), each test in a schema of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use paramedic_model::HistoryRow;
use tokio_postgres::NoTls;

use super::PostgresStore;

/// A schema of its own, dropped when it is.
pub(crate) struct Place {
    url: String,
    schema: String,
}

impl Place {
    /// `None`, said aloud once, where there is no server; under CI there has to be one.
    pub(crate) fn fresh() -> Option<Self> {
        static SAID: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Ok(url) = std::env::var("DATABASE_URL") else {
            let ci = std::env::var("CI").unwrap_or_default();
            assert!(matches!(ci.as_str(), "" | "0" | "false"), "CI is set and DATABASE_URL is not");
            SAID.call_once(|| {
                // Not by the macro, which the test harness would swallow.
                use std::io::Write as _;
                let _ = writeln!(
                    std::io::stderr(),
                    "DATABASE_URL is not set: the tests on PostgreSQL do not run (tests/real/postgres.sh up)"
                );
            });
            return None;
        };
        let place = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let place = Self { url, schema: place };
        place.sql(&format!("DROP SCHEMA IF EXISTS {} CASCADE", place.schema));
        Some(place)
    }

    /// Of the server.
    fn port(&self) -> u16 {
        let config: tokio_postgres::Config = self.url.split('?').next().unwrap().parse().unwrap();
        config.get_ports()[0]
    }

    /// The address of a store in it.
    pub(crate) fn url(&self) -> String {
        self.url_with("pool_size=4")
    }

    fn url_with(&self, more: &str) -> String {
        let sign = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{sign}schema={}&{more}", self.url, self.schema)
    }

    pub(crate) fn open(&self) -> PostgresStore {
        PostgresStore::open(&self.url()).unwrap()
    }

    /// Alters a row of history as its superuser could.
    pub(crate) fn alter_history(&self, scope: &str, seq: u64, alter: &dyn Fn(HistoryRow) -> Option<HistoryRow>) {
        let at = format!("scope = '{scope}' AND seq = {seq}");
        let body = self.rows(&format!("SELECT body FROM history WHERE {at}")).remove(0).remove(0).unwrap();
        let change = match alter(serde_json::from_str(&body).unwrap()) {
            None => format!("DELETE FROM history WHERE {at}"),
            Some(row) => {
                let body = serde_json::to_string(&row).unwrap().replace('\'', "''");
                format!("UPDATE history SET body = '{body}' WHERE {at}")
            }
        };
        self.sql(&format!(
            "ALTER TABLE history DISABLE TRIGGER USER; {change}; ALTER TABLE history ENABLE TRIGGER USER"
        ));
    }

    /// Does what a person could do in psql.
    pub(crate) fn sql(&self, sql: &str) {
        self.rows(sql);
    }

    /// The rows of the last statement, columns as text.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        sql_at(&self.url, &self.schema, sql).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let sql = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema);
        if let Err(error) = sql_at(&self.url, &self.schema, &sql) {
            eprintln!("schema {} stays behind: {error}", self.schema);
        }
    }
}

type SqlResult = Result<Vec<Vec<Option<String>>>, tokio_postgres::Error>;

fn sql_at(url: &str, schema: &str, sql: &str) -> SqlResult {
    let url = url.split('?').next().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let task = tokio::spawn(connection);
        client.batch_execute(&format!("SET search_path = {schema}; SET client_min_messages = error")).await?;
        let answers = client.simple_query(sql).await?;
        drop(client);
        let _ = task.await;
        let rows = answers.iter().filter_map(|answer| match answer {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    })
}

mod doubt;
mod keys;
mod nodes;
mod proxy;
mod server;
