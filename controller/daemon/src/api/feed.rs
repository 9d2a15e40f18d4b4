//! A stream's queue: short, and thrown away when its reader does not read.
//!
//! Whoever feeds a stream waits while the queue is full, for a bounded time. Then what is in the queue is dropped
//! there and then, and a status takes its place: a client that was away for long finds it when it goes on
//! reading, and opens the stream again where it was. So a follower that never reads costs a few words.
//!
//! Invariant: a queue has at most `QUEUE_MAX` messages, and none once its reader was given up.

use muster_proto::convert::status_busy;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tonic::{Code, Status};

/// Messages between a stream's task and its connection: hides the hop, and holds little for each of a thousand streams.
const QUEUE_MAX: usize = 2;

/// How long a client may leave its queue full. Longer than any pause of a network that comes back.
const SEND_WAIT_MAX: Duration = Duration::from_secs(120);

/// When a client that was given up may open its stream again: it is there now.
const COME_BACK_AFTER: Duration = Duration::from_millis(100);

/// Why a stream ends before its time.
pub(super) enum End {
    /// The client has gone, or was given up.
    Gone,
    /// The stream ends with this status.
    Refused(Status),
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

/// What the reading end finds.
enum Queue<T> {
    Open(mpsc::Receiver<Result<T, Status>>),
    /// It was given up; the status is told once.
    GivenUp(Option<Status>),
}

type Shared<T> = Arc<Mutex<Queue<T>>>;

fn lock<T>(queue: &Shared<T>) -> MutexGuard<'_, Queue<T>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sending end of a stream.
pub(super) struct Feed<T> {
    send: mpsc::Sender<Result<T, Status>>,
    queue: Shared<T>,
}

// By hand, because messages need not be cloned for it.
impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self { send: self.send.clone(), queue: Arc::clone(&self.queue) }
    }
}

impl<T> Feed<T> {
    /// Sends one message; waits while the client reads.
    pub(super) async fn send(&self, message: T) -> Result<(), End> {
        self.put(Ok(message)).await
    }

    async fn put(&self, message: Result<T, Status>) -> Result<(), End> {
        match self.send.send_timeout(message, SEND_WAIT_MAX).await {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Closed(_)) => Err(End::Gone),
            Err(SendTimeoutError::Timeout(_)) => {
                let words = format!(
                    "nothing of this stream was read for {} s, so it was dropped: open it again where you are",
                    SEND_WAIT_MAX.as_secs()
                );
                let status = status_busy(Code::ResourceExhausted, words, COME_BACK_AFTER);
                *lock(&self.queue) = Queue::GivenUp(Some(status));
                Err(End::Gone)
            }
        }
    }
}

/// What a service answers for a stream.
pub(super) struct Watch<T>(Shared<T>);

impl<T> futures_util::Stream for Watch<T> {
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut *lock(&self.0) {
            Queue::Open(receive) => receive.poll_recv(context),
            Queue::GivenUp(status) => Poll::Ready(status.take().map(Err)),
        }
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        // The feed may live on for a moment; the queue need not.
        *lock(&self.0) = Queue::GivenUp(None);
    }
}

/// Starts a stream: runs `feed` until it is done, fails, or the client has gone.
pub(super) fn open<T, F>(feed: impl FnOnce(Feed<T>) -> F) -> Watch<T>
where
    T: Send + 'static,
    F: Future<Output = Result<(), End>> + Send + 'static,
{
    let (send, receive) = mpsc::channel(QUEUE_MAX);
    let queue = Arc::new(Mutex::new(Queue::Open(receive)));
    let last = Feed { send, queue: Arc::clone(&queue) };
    let run = feed(last.clone());
    tokio::spawn(async move {
        let end = tokio::select! {
            end = run => end,
            () = last.send.closed() => Err(End::Gone),
        };
        if let Err(End::Refused(status)) = end {
            // A client that has gone needs no status.
            let _ = last.put(Err(status)).await;
        }
    });
    Watch(queue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use muster_proto::convert::retry_delay_of;

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_never_reads_is_dropped_with_its_backlog_and_told_when_it_comes_back() {
        let message = Arc::new(());
        let (fed, ended) = tokio::sync::oneshot::channel();
        let feeding = Arc::clone(&message);
        let mut watch = open(|feed| async move {
            let mut end = Ok(());
            while end.is_ok() {
                end = feed.send(Arc::clone(&feeding)).await;
            }
            let _ = fed.send(());
            end
        });
        tokio::task::yield_now().await;
        assert!((QUEUE_MAX..=QUEUE_MAX + 3).contains(&Arc::strong_count(&message)));
        ended.await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&message), 1, "nothing of it is kept, though the client is still there");
        let status = watch.next().await.unwrap().unwrap_err();
        assert_eq!(
            (status.code(), retry_delay_of(&status)),
            (Code::ResourceExhausted, Some(COME_BACK_AFTER))
        );
        assert!(watch.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_gets_everything() {
        let mut watch = open(|feed| async move {
            for number in 0..20 {
                feed.send(number).await?;
            }
            Err(Status::aborted("enough").into())
        });
        for number in 0..20 {
            tokio::time::advance(SEND_WAIT_MAX / 2).await;
            assert_eq!(watch.next().await.unwrap().unwrap(), number);
        }
        assert_eq!(watch.next().await.unwrap().unwrap_err().code(), Code::Aborted);
        assert!(watch.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_feed_ends_when_its_reader_goes() {
        let (fed, ended) = tokio::sync::oneshot::channel::<()>();
        let watch = open(|feed| async move {
            let _held = fed;
            let _ = feed.send(1).await;
            std::future::pending::<Result<(), End>>().await
        });
        drop(watch);
        assert!(tokio::time::timeout(Duration::from_secs(1), ended).await.unwrap().is_err());
    }
}
