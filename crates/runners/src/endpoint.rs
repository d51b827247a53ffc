//! A playbook service for the demo and for tests: it keeps its own log of what reached it, byte for byte and
//! before it looks at anything, so that others can be judged by it. It can be told to behave badly.
//!
//! It honours the Idempotency-Key: a key that it has seen has its effect once, and gets the same reply again.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::behaviour::{Answer, Behaviour, answer, reply};

/// Longest head and longest body that are read, in bytes.
const MAX_HEAD: usize = 64 << 10;
const MAX_BODY: usize = 4 << 20;

/// A request as it reached the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// 1, 2, 3... in order of arrival.
    pub seq: u64,
    /// The raw bytes: request line, headers, body. Bytes that are not UTF-8 are written as U+FFFD.
    pub raw: String,
}

impl Received {
    /// `GET`, `POST`...
    pub fn method(&self) -> &str {
        self.raw.split(' ').next().unwrap_or_default()
    }

    /// The path, with its query.
    pub fn path(&self) -> &str {
        self.raw.split(' ').nth(1).unwrap_or_default()
    }

    /// A header's value; the name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (head, _) = self.raw.split_once("\r\n\r\n")?;
        head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body.
    pub fn body(&self) -> &str {
        self.raw.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}

/// Something that the service has really done.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// The request that asked for it.
    pub seq: u64,
    /// Its Idempotency-Key; empty where there was none.
    pub key: String,
    /// Its path.
    pub path: String,
    /// `playbook` of its body.
    pub playbook: String,
    /// `target` of its body.
    pub target: Value,
    /// `parameters` of its body.
    pub parameters: Value,
}

type Hook = Arc<dyn Fn(&Done) + Send + Sync>;

#[derive(Default)]
struct State {
    received: Vec<Received>,
    file: Option<File>,
    behaviours: BTreeMap<String, Behaviour>,
    hook: Option<Hook>,
    done: Vec<Done>,
    /// Behaviour under which a key was first seen, by path and key; its job is `/jobs/KEY-INDEX`.
    keys: BTreeMap<(String, String), (Behaviour, usize)>,
    /// How many polls each job still answers with "running"; `None`: lost.
    jobs: Vec<Option<u32>>,
}

/// The service. It ends when it is dropped.
pub struct FakeEndpoint {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl fmt::Debug for FakeEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FakeEndpoint({})", self.address)
    }
}

impl Drop for FakeEndpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeEndpoint {
    /// Listens on a free port of 127.0.0.1. With `log`, every request is also appended to that file, one line
    /// of JSON each, and is on disk before it is looked at.
    ///
    /// # Errors
    /// When the port or the file cannot be opened.
    pub async fn start(log: Option<&Path>) -> io::Result<Self> {
        Self::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), log).await
    }

    /// [`FakeEndpoint::start`] at an address, so that it can come back where it was.
    ///
    /// # Errors
    /// When the port or the file cannot be opened.
    pub async fn bind(address: SocketAddr, log: Option<&Path>) -> io::Result<Self> {
        let file = log.map(|path| File::options().create(true).append(true).open(path)).transpose()?;
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State { file, ..State::default() }));
        let task = tokio::spawn(serve(listener, Arc::clone(&state)));
        Ok(Self { address, state, task })
    }

    /// Ends it, and returns when its port is free again.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path, which begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How a path answers from now on. A key that was seen before keeps its reply.
    pub fn behave(&self, path: &str, behaviour: Behaviour) {
        lock(&self.state).behaviours.insert(path.to_owned(), behaviour);
    }

    /// Called for each effect, before the reply leaves. It may take its time only as long as a request may.
    pub fn on_effect(&self, hook: impl Fn(&Done) + Send + Sync + 'static) {
        lock(&self.state).hook = Some(Arc::new(hook));
    }

    /// Every request so far, in order of arrival.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.state).received.clone()
    }

    /// Every effect so far, in order.
    pub fn done(&self) -> Vec<Done> {
        lock(&self.state).done.clone()
    }

    /// Reads a log file.
    ///
    /// # Errors
    /// When it cannot be read, or a line is no entry.
    pub fn read_log(path: &Path) -> io::Result<Vec<Received>> {
        let text = std::fs::read_to_string(path)?;
        text.lines().map(|line| serde_json::from_str(line).map_err(io::Error::from)).collect()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    // Dropped with this task, and with it every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let state = Arc::clone(&state);
                    connections.spawn(async move {
                        if let Err(e) = connection(stream, &state).await {
                            tracing::debug!(%e, "a connection to the playbook service ended early");
                        }
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let Some(raw) = read_request(&mut stream).await? else { return Ok(()) };
    let request = log(&mut lock(state), &raw)?;
    let answer = decide(state, &request);
    match answer {
        Answer::Bytes { after, bytes } => {
            tokio::time::sleep(after).await;
            stream.write_all(bytes.as_bytes()).await?;
            stream.shutdown().await
        }
        Answer::HangUp => Ok(()),
        Answer::Hang => {
            // Until the other side has had enough.
            while stream.read(&mut [0; 1024]).await? > 0 {}
            Ok(())
        }
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"status\":\"").await?;
            loop {
                stream.write_all(&[b's'; 8192]).await?;
            }
        }
    }
}

/// One request's bytes, to the end of its body; `None` where the connection ends before that.
async fn read_request(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut raw = Vec::with_capacity(2048);
    let head = loop {
        if let Some(at) = raw.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if raw.len() > MAX_HEAD || stream.read_buf(&mut raw).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&raw[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|n| n.trim().parse::<usize>().ok()).unwrap_or(0);
    if length > MAX_BODY {
        return Ok(None);
    }
    while raw.len() < head + length {
        if stream.read_buf(&mut raw).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(raw))
}

/// Writes a request down, on disk where there is a file, before anybody looks at it.
fn log(state: &mut State, raw: &[u8]) -> io::Result<Received> {
    let seq = state.received.len() as u64 + 1;
    let request = Received { seq, raw: String::from_utf8_lossy(raw).into_owned() };
    if let Some(file) = &mut state.file {
        let mut line = serde_json::to_string(&request)?;
        line.push('\n');
        file.write_all(line.as_bytes())?;
        file.sync_data()?;
    }
    state.received.push(request.clone());
    Ok(request)
}

fn decide(state: &Mutex<State>, request: &Received) -> Answer {
    if let Some(job) = request.path().strip_prefix("/jobs/") {
        return poll(&mut lock(state), job);
    }
    let path = request.path().to_owned();
    let key = request.header("idempotency-key").unwrap_or_default().to_owned();
    let mut held = lock(state);
    let seen = held.keys.get(&(path.clone(), key.clone())).filter(|_| !key.is_empty()).cloned();
    if let Some((behaviour, job)) = seen {
        return answer(&behaviour, job, true);
    }
    let behaviour = held.behaviours.get(&path).cloned().unwrap_or_default();
    if !behaviour.acts() {
        return answer(&behaviour, 0, false);
    }
    let job = held.jobs.len();
    held.jobs.push(match &behaviour {
        Behaviour::AcceptThenSucceed { polls } => Some(*polls),
        _ => None,
    });
    held.keys.insert((path.clone(), key.clone()), (behaviour.clone(), job));
    let body: Value = serde_json::from_str(request.body()).unwrap_or_default();
    let playbook = body["playbook"].as_str().unwrap_or_default().to_owned();
    let (target, parameters) = (body["target"].clone(), body["parameters"].clone());
    let done = Done { seq: request.seq, key, path, playbook, target, parameters };
    held.done.push(done.clone());
    let hook = held.hook.clone();
    drop(held);
    if let Some(hook) = hook {
        hook(&done);
    }
    answer(&behaviour, job, false)
}

fn poll(state: &mut State, job: &str) -> Answer {
    match job.parse::<usize>().ok().and_then(|i| state.jobs.get_mut(i)) {
        Some(Some(0)) => reply("200 OK", "", &json!({"status": "succeeded", "message": "done"})),
        Some(Some(left)) => {
            *left -= 1;
            reply("202 Accepted", "Retry-After: 0\r\n", &json!({"status": "running"}))
        }
        Some(None) | None => reply("404 Not Found", "", &json!({"message": "no such job"})),
    }
}
