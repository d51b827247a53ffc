//! Servers of a test's own, which it may take down: a Kafka and a PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{Broker, report};
use crate::support::text;

/// One of tests/real/*.sh in a folder of its own; goes down with its owner.
pub struct Server {
    script: &'static str,
    variable: &'static str,
    folder_variable: &'static str,
    folder: PathBuf,
    pub address: String,
}

impl Server {
    /// A Kafka; `None`, said aloud, where tests are not run on a real one.
    pub fn kafka(test: &str) -> Option<Self> {
        let there = std::env::var("KAFKA_BROKERS").is_ok_and(|b| !b.is_empty());
        report(test, if there { "real" } else { "skipped" });
        there.then(|| Self::up("kafka.sh", "KAFKA_BROKERS", "REAL_KAFKA_DIR", test))
    }

    /// A PostgreSQL; `None`, said aloud, where tests are not run on a real one.
    pub fn postgres(test: &str) -> Option<Self> {
        let there = std::env::var("DATABASE_URL").is_ok_and(|b| !b.is_empty());
        report(&format!("{test}-store"), if there { "postgres" } else { "no-postgres" });
        there.then(|| Self::up("postgres.sh", "DATABASE_URL", "REAL_POSTGRES_DIR", test))
    }

    fn up(script: &'static str, variable: &'static str, folder_variable: &'static str, test: &str) -> Self {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        let folder = target.join(format!("real-{test}-{}", std::process::id()));
        let mut server = Self { script, variable, folder_variable, folder, address: String::new() };
        let said = server.run(&["up"]);
        server.address = said.lines().find_map(|l| l.strip_prefix(variable)?.strip_prefix('=')).unwrap().to_owned();
        server
    }

    fn output(&self, args: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real").join(self.script);
        let mut command = Command::new(script);
        command.args(args).env(self.folder_variable, &self.folder).env_remove(self.variable).output().unwrap()
    }

    /// Runs a command of the script, which must succeed.
    pub fn run(&self, args: &[&str]) -> String {
        let out = self.output(args);
        assert!(out.status.success(), "{} {args:?}: {}", self.script, text(&out));
        String::from_utf8(out.stdout).unwrap()
    }

    /// The Kafka, for topics and producers.
    pub fn broker(&self) -> Broker {
        Broker::Real(self.address.clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.output(&["down"]);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
