//! The listener: so many connections, none of them silent for long.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::serve::{Listener, ListenerExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Connections at one time; further ones wait to be accepted, which is until the next look: those on which nothing is asked
/// give way. A halt must not wait for senders that only keep theirs open.
const CONNECTIONS: usize = 1_024;
/// How often a connection on which nothing is asked looks whether it is to give way.
const LOOK: Duration = Duration::from_millis(500);
/// A connection on which no request begins for this long is cut.
const SILENCE: Duration = Duration::from_secs(75);
/// From a request's first byte to its answer's, however slowly it comes: longer than an audit may take.
const ANSWER: Duration = Duration::from_secs(660);
/// How long open requests may take to end after the shutdown.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `shutdown`, then lets open requests end, ten seconds at most.
///
/// # Errors
/// Those of the listener.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    serve_so_many(CONNECTIONS, listener, router, shutdown).await
}

async fn serve_so_many(
    connections: usize,
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let bounded = Bounded { listener, places: Arc::new(Semaphore::new(connections)) };
    let listener = bounded.tap_io(|io: &mut Connection| {
        if let Err(e) = io.stream.set_nodelay(true) {
            tracing::debug!(error = %e, "TCP_NODELAY");
        }
    });
    let stop = Arc::new(Notify::new());
    let stopped = Arc::clone(&stop);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async move { stopped.notified().await });
    let mut serving = Box::pin(serving.into_future());
    tokio::select! {
        ended = &mut serving => return ended,
        () = shutdown => stop.notify_one(),
    }
    tokio::time::timeout(DRAIN, serving).await.unwrap_or_else(|_| {
        tracing::warn!("requests were cut off by the shutdown");
        Ok(())
    })
}

struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Never closed, so never an error; without a place the connection would merely not be counted.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        (Connection::new(stream, Arc::clone(&self.places), place), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct Connection {
    stream: TcpStream,
    /// When it is cut.
    end: Instant,
    look: Pin<Box<Sleep>>,
    /// A request has begun, and no answer yet.
    asked: bool,
    places: Arc<Semaphore>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn new(stream: TcpStream, places: Arc<Semaphore>, place: Option<OwnedSemaphorePermit>) -> Self {
        let look = Box::pin(tokio::time::sleep(LOOK));
        Self { stream, end: Instant::now() + SILENCE, look, asked: false, places, _place: place }
    }

    fn heard(&mut self) {
        if !self.asked {
            self.asked = true;
            self.end = Instant::now() + ANSWER;
            self.look.as_mut().reset(self.end);
        }
    }

    fn answered(&mut self) {
        let now = Instant::now();
        self.asked = false;
        self.end = now + SILENCE;
        self.look.as_mut().reset(now + LOOK);
    }

    /// Ready when it is to be cut.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.look.as_mut().poll(cx));
            let now = Instant::now();
            let gives_way = !self.asked && self.places.available_permits() == 0;
            if now >= self.end || gives_way {
                return Poll::Ready(());
            }
            self.look.as_mut().reset(self.end.min(now + LOOK));
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(done) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            self.heard();
            return Poll::Ready(done);
        }
        ready!(self.poll_over(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.answered();
        Poll::Ready(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        self.answered();
        Poll::Ready(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn where_every_place_is_taken_connections_without_a_request_give_way() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", axum::routing::get(async || "here"));
        tokio::spawn(serve_so_many(2, listener, router, std::future::pending()));
        let mut idle = Vec::new();
        for _ in 0..4 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut asking = TcpStream::connect(address).await.unwrap();
        asking.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let read = asking.read_to_string(&mut answer);
        tokio::time::timeout(SILENCE / 5, read).await.expect("it is answered before the others fall silent").unwrap();
        assert!(answer.ends_with("here"), "{answer}");
    }
}
