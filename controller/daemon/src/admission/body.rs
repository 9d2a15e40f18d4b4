//! Bodies that are bounded: requests are counted as they are read, answers are let out as they are taken.
//!
//! A request that answers once is held in memory until it is answered, so what has come of it takes room of its
//! account's share, piece by piece: a caller that announces much and sends little holds little. Of a stream the message
//! that is coming does; whoever reads the stream bounds what he has taken out of it. An answer goes to the
//! connection in slices, so that of one that nobody reads no more than a slice lies there; what the call holds is held
//! until the last slice is taken.

use super::share::{RoomHeld, Share};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tonic::body::Body;
use tonic::{Code, Status};

/// Bytes of a request that take no room: most requests are smaller, and calls are counted anyway.
const FREE_BYTES: usize = 16 * 1024;

/// What stands before each message of a stream: a flag and its length.
const PREFIX_BYTES: usize = 5;

/// Bytes of an answer that are handed to the connection at one time.
const SLICE_BYTES: usize = 64 * 1024;

/// Room that a call's request has taken so far. It is the call's, and so is held until the call is answered.
pub(super) type Rooms = Arc<Mutex<Vec<RoomHeld>>>;

/// What a request may take.
enum Measure {
    /// Room of a share, as it comes, until the call is over.
    Call(Arc<Share>, Rooms),
    /// Room of a share, as a message comes, until it has come.
    Message(Arc<Share>, Coming),
    /// So many bytes, and no more.
    Bytes(usize),
}

/// The message that is coming in a stream: five bytes that say how long it is, then the message.
#[derive(Default)]
struct Coming {
    prefix: Vec<u8>,
    left: usize,
    rooms: Vec<RoomHeld>,
}

impl Coming {
    /// Goes over bytes that have come. Answers how many of them belong to a message that has not come in full.
    fn pass(&mut self, mut data: &[u8]) -> (usize, bool) {
        let mut of_last = 0;
        let mut has_ended = false;
        while !data.is_empty() {
            if self.left == 0 {
                let (prefix, rest) = data.split_at(data.len().min(PREFIX_BYTES - self.prefix.len()));
                self.prefix.extend_from_slice(prefix);
                data = rest;
                if let [_, a, b, c, d] = *self.prefix.as_slice() {
                    self.left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                    self.prefix.clear();
                }
                continue;
            }
            let (part, rest) = data.split_at(data.len().min(self.left));
            data = rest;
            self.left -= part.len();
            of_last += part.len();
            if self.left == 0 {
                has_ended = true;
                of_last = 0;
            }
        }
        (of_last, has_ended)
    }
}

/// The body of a request, counted.
struct Counting {
    inner: Body,
    measure: Measure,
    /// Bytes that have come and are not yet counted.
    uncounted: usize,
    /// Whether the free bytes are used up.
    is_large: bool,
}

/// A request's body that takes room of a share as it comes: for its call, or without one for each message.
pub(super) fn counted(inner: Body, share: Arc<Share>, rooms: Option<Rooms>) -> Body {
    let measure = match rooms {
        Some(rooms) => Measure::Call(share, rooms),
        None => Measure::Message(share, Coming::default()),
    };
    Body::new(Counting { inner, measure, uncounted: 0, is_large: false })
}

/// A request's body of at most so many bytes.
pub(super) fn limited(inner: Body, max: usize) -> Body {
    Body::new(Counting { inner, measure: Measure::Bytes(max), uncounted: 0, is_large: false })
}

impl Counting {
    fn count(&mut self, data: &[u8]) -> Result<(), Status> {
        let mut bytes = data.len();
        if let Measure::Message(_, coming) = &mut self.measure {
            let (of_last, has_ended) = coming.pass(data);
            if has_ended {
                coming.rooms.clear();
                (self.uncounted, self.is_large) = (0, false);
            }
            bytes = of_last;
        }
        self.uncounted = self.uncounted.saturating_add(bytes);
        if let Measure::Bytes(max) = self.measure {
            let words = format!("a request of this kind has at most {max} bytes");
            return if self.uncounted > max {
                Err(Status::new(Code::InvalidArgument, words))
            } else {
                Ok(())
            };
        }
        self.is_large |= self.uncounted > FREE_BYTES;
        let kib = u32::try_from(self.uncounted / 1024).unwrap_or(u32::MAX);
        if !self.is_large || kib == 0 {
            return Ok(());
        }
        self.uncounted %= 1024;
        match &mut self.measure {
            Measure::Call(share, rooms) => {
                let room = share.room_now(kib)?;
                rooms.lock().unwrap_or_else(PoisonError::into_inner).push(room);
            }
            Measure::Message(share, coming) => coming.rooms.push(share.room_now(kib)?),
            Measure::Bytes(_) => {}
        }
        Ok(())
    }
}

impl HttpBody for Counting {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let data = data.clone();
            if let Err(much) = self.count(&data) {
                return Poll::Ready(Some(Err(much)));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body that holds something until it was taken.
struct Holding<G> {
    inner: Body,
    rest: Bytes,
    _held: G,
}

/// An answer's body that goes out in slices and holds `held` until its end.
pub(super) fn holding<G: Send + Unpin + 'static>(inner: Body, held: G) -> Body {
    Body::new(Holding { inner, rest: Bytes::new(), _held: held })
}

impl<G> Holding<G> {
    fn slice(&mut self) -> Frame<Bytes> {
        let bytes = self.rest.len().min(SLICE_BYTES);
        Frame::data(self.rest.split_to(bytes))
    }
}

impl<G: Send + Unpin> HttpBody for Holding<G> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.slice())));
        }
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) if data.len() > SLICE_BYTES => {
                self.rest = data;
                self.slice()
            }
            Ok(data) => Frame::data(data),
            Err(frame) => frame,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.inner.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::Limits;
    use super::super::owner::Owner;
    use super::super::share::Shares;
    use super::*;
    use futures_util::StreamExt;
    use muster_model::AccountName;
    use muster_proto::convert::retry_delay_of;

    /// A body of so many frames of so many bytes.
    fn frames(count: usize, bytes: usize) -> Body {
        struct Frames(std::iter::RepeatN<Bytes>);
        impl HttpBody for Frames {
            type Data = Bytes;
            type Error = Status;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
                Poll::Ready(self.0.next().map(|data| Ok(Frame::data(data))))
            }
        }
        Body::new(Frames(std::iter::repeat_n(Bytes::from(vec![7; bytes]), count)))
    }

    async fn read(mut body: Body) -> Result<Vec<usize>, Status> {
        let frames = futures_util::stream::poll_fn(move |context| Pin::new(&mut body).poll_frame(context));
        let frames: Vec<_> = frames.collect().await;
        frames.into_iter().map(|frame| frame.map(|frame| frame.data_ref().map_or(0, Bytes::len))).collect()
    }

    #[tokio::test]
    async fn a_request_takes_room_as_it_comes_and_until_its_call_is_over() {
        let shares = Shares::new(Limits { request_kib_max: 100, ..Limits::default() });
        let share = shares.of(Owner::Account(AccountName::parse("studio").unwrap()));
        let rooms = Rooms::default();
        read(counted(frames(60, 1024), Arc::clone(&share), Some(Rooms::clone(&rooms)))).await.unwrap();
        let small = read(counted(frames(4, 1024), Arc::clone(&share), Some(Rooms::default()))).await;
        assert!(small.is_ok(), "small requests take none");
        let refused =
            read(counted(frames(60, 1024), Arc::clone(&share), Some(Rooms::default()))).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(retry_delay_of(&refused).is_some() && refused.message().contains("100 KiB"), "{refused:?}");
        drop(rooms);
        read(counted(frames(60, 1024), Arc::clone(&share), Some(Rooms::default()))).await.unwrap();
    }

    #[tokio::test]
    async fn a_stream_takes_room_for_the_message_that_is_coming_alone() {
        let shares = Shares::new(Limits { request_kib_max: 100, ..Limits::default() });
        let share = shares.of(Owner::Account(AccountName::parse("studio").unwrap()));
        let mut coming = Coming::default();
        let message = |bytes: u32| [&[0][..], &bytes.to_be_bytes(), &vec![7; bytes as usize]].concat();
        let bytes = [message(60_000), message(0), message(70_000), message(3)].concat();
        let (mut held, mut most) = (0, 0);
        for part in bytes.chunks(1000) {
            let (of_last, has_ended) = coming.pass(part);
            held = if has_ended { of_last } else { held + of_last };
            most = most.max(held);
        }
        assert_eq!((held, coming.left, coming.prefix.len()), (0, 0, 0));
        assert!((69_000..70_000).contains(&most), "{most}");
        // The frames say 7 as the flag and 0x07070707 as the length: a message that does not end here.
        let endless = read(counted(frames(200, 1024), Arc::clone(&share), None)).await.unwrap_err();
        assert_eq!(endless.code(), Code::ResourceExhausted);
        assert!(share.room_now(100).is_ok(), "what a refused one had is free");
    }

    #[tokio::test]
    async fn a_strangers_request_ends_at_its_limit() {
        assert!(read(limited(frames(4, 1024), 4096)).await.is_ok());
        assert_eq!(read(limited(frames(5, 1024), 4096)).await.unwrap_err().code(), Code::InvalidArgument);
    }

    #[tokio::test]
    async fn an_answer_goes_out_in_slices_and_holds_until_its_end() {
        let held = Arc::new(());
        let body = holding(frames(2, 100_000), Arc::clone(&held));
        assert_eq!(Arc::strong_count(&held), 2);
        assert_eq!(read(body).await.unwrap(), [65_536, 34_464, 65_536, 34_464]);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
