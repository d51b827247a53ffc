//! The server itself: stopped, restarted, restored, and what a connection to it has to be.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::PostgresStore;
use super::Place;
use crate::conformance::fixture::*;
use crate::conformance::writer::{Writer, add_step};
use crate::{Store, StoreError};

/// A server of the test's own, gone with it.
struct Server {
    folder: PathBuf,
    url: String,
}

fn script(folder: &Path, words: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/real/postgres.sh");
    let out = Command::new(script).args(words).env("REAL_POSTGRES_DIR", folder).output().unwrap();
    assert!(out.status.success(), "postgres.sh {words:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

impl Server {
    /// `None` where tests on PostgreSQL do not run.
    fn up(name: &str) -> Option<Self> {
        Place::fresh()?;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target").join(format!("postgres-{name}"));
        let url = script(&folder, &["up"]).trim().trim_start_matches("DATABASE_URL=").to_owned();
        Some(Self { folder, url })
    }

    fn run(&self, words: &[&str]) {
        script(&self.folder, words);
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn open(&self, more: &str) -> crate::Result<PostgresStore> {
        PostgresStore::open(&format!("{}?{more}", self.url))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        script(&self.folder, &["down"]);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// As the engine does: after an error it drops its memory, loads again, and repeats what is not there.
#[test]
fn a_server_that_is_restarted_in_the_middle_loses_nothing_and_doubles_nothing() {
    let Some(server) = Server::up("restarted") else { return };
    let store = server.open("").unwrap();
    let done = AtomicBool::new(false);
    let total = std::thread::scope(|threads| {
        // Also when this thread fails: the other one must end.
        let ended = Ended(&done);
        let work = threads.spawn(|| {
            let mut next = 0u64;
            while !done.load(Ordering::SeqCst) {
                let Ok(image) = store.load_shard(0, &crate::Claim::Alone) else { continue };
                // The history says what is there: one row a batch.
                next = image.scopes.first().map_or(0, |scope| scope.head.last_seq);
                let mut owner = Writer::of(&store, image);
                loop {
                    let one = incident(&next.to_string());
                    let written = owner.write(|c| {
                        add_step(c, one.id);
                        c.incidents.push(one);
                    });
                    match written {
                        Ok(()) => next += 1,
                        Err(StoreError::Away { .. } | StoreError::Fenced { .. }) => break,
                        Err(other) => panic!("{other}"),
                    }
                    if done.load(Ordering::SeqCst) {
                        break;
                    }
                }
            }
            next
        });
        for mode in ["fast", "immediate", "immediate"] {
            let before = committed(&server);
            while committed(&server) < before + 20 {
                std::thread::yield_now();
            }
            server.run(&["restart", mode]);
        }
        let before = committed(&server);
        while committed(&server) < before + 20 {
            std::thread::yield_now();
        }
        drop(ended);
        work.join().unwrap()
    });
    let rows = store.history_of_scope("default", 0, usize::MAX).unwrap();
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), (1..=total).collect::<Vec<_>>());
    assert_eq!(
        rows.iter().map(|r| r.record).collect::<Vec<_>>(),
        (0..total).map(|n| id(&n.to_string())).collect::<Vec<_>>()
    );
    assert_eq!(store.audit().unwrap().broken, []);
}

struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn committed(server: &Server) -> u64 {
    let sql = "SELECT coalesce((SELECT batch FROM paramedic.shards WHERE shard = 0), 0)";
    script(&server.folder, &["psql", "-qAtc", sql]).trim().parse().unwrap()
}

#[test]
fn a_server_on_another_timeline_is_known_as_restored() {
    let Some(server) = Server::up("restored") else { return };
    let store = server.open("").unwrap();
    assert_eq!(store.recovered().unwrap(), None);
    server.run(&["restart"]);
    assert_eq!(server.open("").unwrap().recovered().unwrap(), None, "a restart is no restore");
    assert_eq!(store.ends_lost(), 0);
    server.run(&["promote"]);
    // The store that was open all the time notices it with its next connection.
    let recovered = loop {
        match store.recovered() {
            Ok(recovered) => break recovered.unwrap(),
            Err(StoreError::Away { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    };
    assert!(recovered.why.contains("timeline was 00000001 and is 00000002"), "{}", recovered.why);
    assert_eq!(store.ends_lost(), 1, "who has a shard in memory begins again");
    assert_eq!(store.load_shard(0, &crate::Claim::Alone).unwrap().ends_lost, 1);
    drop(store);
    let store = server.open("").unwrap();
    assert_eq!(store.recovered().unwrap(), Some(recovered));
    store.recovered_set(None).unwrap();
    drop(store);
    assert_eq!(server.open("").unwrap().recovered().unwrap(), None, "a person has looked");
}

#[test]
fn a_database_that_was_copied_to_another_server_is_known_as_restored() {
    let Some(place) = Place::fresh() else { return };
    drop(place.open());
    place.sql("UPDATE meta SET value = '77' WHERE key = 'system_identifier'");
    let why = place.open().recovered().unwrap().unwrap().why;
    assert!(why.contains("system identifier was 77"), "{why}");
}

#[test]
fn a_dump_that_was_put_back_into_the_same_server_is_known_as_restored() {
    let Some(place) = Place::fresh() else { return };
    drop(place.open());
    place.sql("VACUUM FULL meta");
    assert_eq!(place.open().recovered().unwrap(), None, "it is the same table");
    // As pg_restore does: the tables are made anew, with what was in them.
    place.sql(
        "ALTER TABLE meta RENAME TO dumped; CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
         INSERT INTO meta SELECT * FROM dumped; DROP TABLE dumped",
    );
    let store = place.open();
    let why = store.recovered().unwrap().unwrap().why;
    assert!(why.contains("table meta was "), "{why}");
    store.recovered_set(None).unwrap();
    drop(store);
    assert_eq!(place.open().recovered().unwrap(), None, "a person has looked");
}

#[test]
fn tls_is_as_strict_as_it_is_asked_to_be() {
    let Some(server) = Server::up("tls") else { return };
    let (right, wrong) = (server.file("ca.crt"), server.file("other-ca.crt"));
    for good in [
        "sslmode=disable".to_owned(),
        "sslmode=prefer".to_owned(),
        "sslmode=require".to_owned(),
        format!("sslmode=require&sslrootcert={right}"),
        format!("sslmode=verify-full&sslrootcert={right}"),
    ] {
        let store = server.open(&good).unwrap_or_else(|e| panic!("{good}: {e}"));
        store.counts().unwrap();
    }
    for bad in [
        format!("sslmode=verify-full&sslrootcert={wrong}"),
        format!("sslmode=require&sslrootcert={wrong}"),
        "sslmode=verify-full".to_owned(),
        format!("sslmode=verify-full&sslrootcert={}", server.file("env")),
    ] {
        let said = server.open(&bad).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("certificate") && said.contains("sslrootcert"), "{bad}: {said}");
    }
    // A name that is not in the certificate.
    let other = server.url.replace("127.0.0.1", "127.0.0.2");
    if let Ok(mut config) = other.parse::<tokio_postgres::Config>() {
        config.hostaddr("127.0.0.1".parse().unwrap());
        let url = format!("{other}?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={right}");
        let said = PostgresStore::open(&url).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("certificate"), "{said}");
        PostgresStore::open(&url.replace("verify-full", "require")).unwrap();
    }
    server.run(&["psql", "-qc", "ALTER SYSTEM SET ssl = off"]);
    server.run(&["restart"]);
    server.open("sslmode=prefer").unwrap();
    server.open("sslmode=require").unwrap_err();
}

#[test]
fn a_wrong_password_is_said_and_not_shown() {
    let Some(place) = Place::fresh() else { return };
    let config: tokio_postgres::Config = place.url.split('?').next().unwrap().parse().unwrap();
    let password = String::from_utf8(config.get_password().unwrap().to_vec()).unwrap();
    let url = place.url().replace(&format!(":{password}@"), ":s3same%20street@");
    let error = PostgresStore::open(&url).map(|_| ()).unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(said.contains("password authentication failed") && said.contains("pg_hba.conf"), "{said}");
    assert!(!said.contains("s3same") && !said.contains(&password), "{said}");
    assert!(!format!("{:?}", place.open()).contains(&password));
}

#[test]
fn what_is_not_there_is_said_with_a_remedy() {
    let Some(place) = Place::fresh() else { return };
    let nowhere = place.url().replace(&format!(":{}/", place.port()), ":1/");
    assert!(matches!(PostgresStore::open(&nowhere), Err(StoreError::Away { .. })));
    let database = place.url().replace("/paramedic?", "/no_such_database?");
    let said = PostgresStore::open(&database).map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("CREATE DATABASE"), "{said}");
}

#[test]
fn a_server_that_forgets_what_it_committed_is_refused() {
    let Some(place) = Place::fresh() else { return };
    for weak in ["off", "local"] {
        let url = format!("{}&options=-c%20synchronous_commit%3D{weak}", place.url());
        let said = PostgresStore::open(&url).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("ALTER ROLE"), "{weak}: {said}");
    }
}

#[test]
fn another_programs_schema_is_refused_and_left_as_it_is() {
    let Some(place) = Place::fresh() else { return };
    place.sql(&format!("CREATE SCHEMA {0}; CREATE TABLE {0}.theirs (x int)", place.schema));
    let said = PostgresStore::open(&place.url()).map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("another program"), "{said}");
    assert_eq!(place.rows(&format!("SELECT tablename FROM pg_tables WHERE schemaname = '{}'", place.schema)).len(), 1);
}

#[test]
fn who_only_looks_at_a_store_changes_nothing_of_it() {
    let Some(place) = Place::fresh() else { return };
    let said = || PostgresStore::open_read_only(&place.url()).map(|_| ()).unwrap_err().to_string();
    assert!(said().contains("no store in schema"), "{}", said());
    let tables = || place.rows(&format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{}'", place.schema));
    assert_eq!(tables()[0][0].as_deref(), Some("0"), "none is made");
    let store = place.open();
    let mut owner = Writer::new(&store);
    owner.write(|c| add_step(c, id("one"))).unwrap();
    // As if the server had failed over: who looks on does not say that it has seen that.
    place.sql("UPDATE meta SET value = '77' WHERE key = 'timeline'");
    let meta = || place.rows("SELECT key, value FROM meta ORDER BY key");
    let before = meta();
    let looked = PostgresStore::open_read_only(&place.url()).unwrap();
    let audit = looked.audit().unwrap();
    assert_eq!((audit.rows, audit.broken), (1, vec![]));
    assert_eq!((looked.counts().unwrap(), looked.recovered().unwrap()), (store.counts().unwrap(), None));
    for refused in [looked.load_shard(0, &crate::Claim::Alone).map(|_| ()), looked.recovered_set(None)] {
        assert!(refused.is_err_and(|e| e.to_string().contains("read only")));
    }
    owner.write(|c| add_step(c, id("one"))).unwrap();
    assert_eq!(looked.audit().unwrap().rows, 2, "the owner is the owner still");
    assert_eq!(meta(), before);
    // A migration may lock what a running engine works with: that is the engine's to choose.
    place.sql("UPDATE meta SET value = '0' WHERE key = 'schema'");
    assert!(said().contains("start the engine once"), "{}", said());
    assert_eq!(meta().iter().find(|row| row[0].as_deref() == Some("schema")).unwrap()[1].as_deref(), Some("0"));
}

#[test]
fn a_newer_schema_is_worked_with_when_it_says_that_it_can_be() {
    let Some(place) = Place::fresh() else { return };
    drop(place.open());
    place.sql("UPDATE meta SET value = '99' WHERE key = 'schema'; ALTER TABLE incidents ADD COLUMN later TEXT");
    let store = place.open();
    Writer::new(&store).write(|c| c.incidents.push(incident("one"))).unwrap();
    place.sql("UPDATE meta SET value = '98' WHERE key = 'compatible_from'");
    let said = PostgresStore::open(&place.url()).map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("upgrade this node"), "{said}");
}

#[test]
fn the_database_has_the_moves_of_the_tables_and_no_other() {
    use paramedic_model::{IncidentState, OutboxState};
    let Some(place) = Place::fresh() else { return };
    drop(place.open());
    let refused = |sql: &str| super::sql_at(&place.url, &place.schema, sql).is_err();
    for from in OutboxState::ALL {
        for to in OutboxState::ALL {
            place.sql(&format!(
                "DELETE FROM outbox; INSERT INTO outbox
                 (shard, key, order_id, scope, incident, kind, state, released_at, due, body)
                 VALUES (0, '1', '2', 's', '3', 'run', '{}', 0, 0, '1')",
                from.name()
            ));
            let no = refused(&format!("UPDATE outbox SET state = '{}'", to.name()));
            assert_eq!(!no, from == to || from.may_become(to), "{} -> {}", from.name(), to.name());
        }
    }
    for from in IncidentState::ALL {
        for to in IncidentState::ALL {
            place.sql(&format!(
                "DELETE FROM incidents; INSERT INTO incidents
                 (number, id, scope, correlation_key, state, priority, shadow, opened_at, updated_at, body)
                 VALUES (1, '1', 's', '2', {}, 1, false, 0, 0, '1')",
                from.code()
            ));
            let no = refused(&format!("UPDATE incidents SET state = {}", to.code()));
            assert_eq!(!no, crate::rules::incident_may_become(from, to), "{} -> {}", from.name(), to.name());
        }
    }
    place.sql("INSERT INTO history (scope, seq, record, at, body) VALUES ('s', 1, '1', 0, '1')");
    for sql in ["UPDATE history SET at = 1", "DELETE FROM history", "TRUNCATE history"] {
        assert!(refused(sql), "{sql}");
    }
}
