//! A network that can be cut, frozen or slow, between a store and its server.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What happens to the next COMMIT that passes, or COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The connection is cut before the COMMIT has left.
    CutBefore,
    /// It is cut in the moment in which the COMMIT has left.
    CutBehind,
    /// It is cut when the server has answered, and the answer is lost.
    AnswerLost,
    /// Nothing passes any more, and nothing is closed.
    Freeze,
    /// The same, in the middle of the next COPY.
    FreezeInCopy,
}

#[derive(Default)]
struct State {
    fate: Mutex<Option<Fate>>,
    delay_ms: AtomicU64,
    met: AtomicU32,
}

pub(super) struct Proxy {
    pub(super) port: u16,
    state: Arc<State>,
}

/// The protocol's simple query.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// What binary COPY begins with.
const COPY: &[u8] = b"PGCOPY\n\xff\r\n\0";

impl Proxy {
    /// In front of the server at `127.0.0.1:port`; for as long as the process lives.
    pub(super) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                pass(client, server, &shared);
            }
        });
        Self { port: own, state }
    }

    /// Arms it, once.
    pub(super) fn next_commit(&self, fate: Fate) {
        *self.state.fate.lock().unwrap() = Some(fate);
    }

    /// How often a fate was met.
    pub(super) fn met(&self) -> u32 {
        self.state.met.load(Ordering::SeqCst)
    }

    /// What the server says takes so long.
    pub(super) fn delay(&self, delay: Duration) {
        self.state.delay_ms.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

fn pass(client: TcpStream, server: TcpStream, state: &Arc<State>) {
    let lost = Arc::new(AtomicU32::new(0));
    let (queue, late): (Sender<(Instant, Vec<u8>)>, Receiver<_>) = channel();
    let (mut to_client, closing, state_back, lost_back) =
        (client.try_clone().unwrap(), client.try_clone().unwrap(), Arc::clone(state), Arc::clone(&lost));
    std::thread::spawn(move || {
        for (due, bytes) in late {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to_client.write_all(&bytes).is_err() {
                return;
            }
        }
        let _ = closing.shutdown(Shutdown::Both);
    });
    let mut from_server = server.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(n @ 1..) = from_server.read(&mut buffer) {
            match lost_back.load(Ordering::SeqCst) {
                // The answer to the COMMIT has come, and goes nowhere.
                1 if buffer[..n].windows(7).any(|w| w == b"COMMIT\0") => break,
                1 => continue,
                2 => continue,
                _ => {}
            }
            let delay = Duration::from_millis(state_back.delay_ms.load(Ordering::SeqCst));
            if queue.send((Instant::now() + delay, buffer[..n].to_vec())).is_err() {
                break;
            }
        }
        if lost_back.load(Ordering::SeqCst) == 2 {
            std::mem::forget(queue);
        }
        let _ = from_server.shutdown(Shutdown::Both);
    });
    let state = Arc::clone(state);
    std::thread::spawn(move || forward(client, server, &state, &lost));
}

fn forward(mut client: TcpStream, mut server: TcpStream, state: &State, lost: &AtomicU32) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = client.read(&mut buffer) {
        let bytes = &buffer[..n];
        let commit = bytes.windows(COMMIT.len()).position(|w| w == COMMIT);
        let copy = bytes.windows(COPY.len()).position(|w| w == COPY);
        let fate = {
            let mut armed = state.fate.lock().unwrap();
            let at = if *armed == Some(Fate::FreezeInCopy) { copy } else { commit };
            at.and_then(|at| armed.take().map(|fate| (at, fate)))
        };
        let Some((at, fate)) = fate else {
            if server.write_all(bytes).is_err() {
                break;
            }
            continue;
        };
        state.met.fetch_add(1, Ordering::SeqCst);
        match fate {
            Fate::CutBefore => {
                let _ = server.write_all(&bytes[..at]);
                break;
            }
            Fate::CutBehind => {
                let _ = server.write_all(bytes);
                break;
            }
            Fate::AnswerLost => {
                lost.store(1, Ordering::SeqCst);
                let _ = server.write_all(bytes);
                // The other direction closes it.
                return;
            }
            Fate::Freeze | Fate::FreezeInCopy => {
                if fate == Fate::FreezeInCopy {
                    let _ = server.write_all(&bytes[..at + COPY.len()]);
                }
                lost.store(2, Ordering::SeqCst);
                std::mem::forget((client, server));
                return;
            }
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
