//! Folds the write-ahead log into the file, beside the writer: no commit waits for that.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// How often the log's length is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The log is folded in when it is longer than this, in bytes.
const LONG: u64 = 8 << 20;

/// The thread that does it; ends with the store.
#[derive(Debug)]
pub(super) struct Checkpointer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Begins. Without the thread the writer's own, rarer check-points do the work: never an error.
    pub(super) fn start(path: &Path) -> Self {
        let (stop, stopped) = channel::<()>();
        let file = path.to_owned();
        let work = move || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let Ok(conn) = Connection::open_with_flags(&file, flags) else { return };
            let mut log = file.into_os_string();
            log.push("-wal");
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                if std::fs::metadata(&log).is_ok_and(|m| m.len() > LONG) {
                    // Passive: it waits for nobody and nobody waits for it. What is left is done the next time.
                    let _ = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
                }
            }
        };
        let thread = thread::Builder::new().name("checkpoint".to_owned()).spawn(work).ok();
        Self { stop: Some(stop), thread }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
