//! Waiting for the client, from any thread.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::runtime::Handle;

/// The thread that waits, and whether there is news for it.
struct Waiting {
    thread: Thread,
    news: AtomicBool,
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.news.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Polls `work` on the calling thread until it is done; connections and timers live on `runtime`. Unlike tokio's own
/// `block_on` it may be called where another runtime is at work, whose thread then stands still meanwhile.
pub(super) fn block_on<T>(runtime: &Handle, work: impl Future<Output = T>) -> T {
    let _entered = runtime.enter();
    // The budget of a task around us, once used up, would let nothing of tokio's become ready here.
    let mut work = pin!(tokio::task::unconstrained(work));
    let waiting = Arc::new(Waiting { thread: std::thread::current(), news: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&waiting));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
            return done;
        }
        while !waiting.news.swap(false, Ordering::Acquire) {
            std::thread::park();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn nap() -> u32 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        tokio::spawn(async { 7 }).await.unwrap()
    }

    #[test]
    fn it_waits_on_a_plain_thread() {
        let own = tokio::runtime::Runtime::new().unwrap();
        assert_eq!(block_on(own.handle(), nap()), 7);
    }

    #[test]
    fn it_waits_inside_another_runtime() {
        let own = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let handle = own.handle().clone();
        let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = other.block_on(async {
            let there = handle.clone();
            let blocking = tokio::task::spawn_blocking(move || block_on(&there, nap())).await.unwrap();
            // More polls than a task's budget has.
            let here: u32 = (0..200).map(|_| block_on(&handle, nap()) / 7).sum();
            (blocking, here)
        });
        assert_eq!(found, (7, 200));
    }
}
