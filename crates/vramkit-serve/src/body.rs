//! An answer's body as it is read: in small pieces, so that a slow reader holds no whole document, and so that its place is
//! told when it has been read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};

use crate::connections::Place;

/// A piece is copied: a slice would keep all of the document while it waits to be sent.
const PIECE: usize = 32 << 10;

/// A body that tells a place how far it has been read.
#[derive(Debug)]
pub(crate) struct ReadBody {
    body: Body,
    rest: Bytes,
    place: Place,
}

impl ReadBody {
    pub(crate) fn new(body: Body, place: Place) -> Self {
        Self { body, rest: Bytes::new(), place }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        Frame::data(Bytes::copy_from_slice(&piece))
    }
}

impl HttpBody for ReadBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_pending() {
            self.place.is_up_to_date();
        }
        let frame = match ready!(polled) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        self.place.is_handed();
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => {
                self.rest = data;
                self.piece()
            }
            Err(other) => other,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, mut hint) = (self.rest.len() as u64, self.body.size_hint());
        if let Some(most) = hint.upper() {
            hint.set_upper(most.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

impl Drop for ReadBody {
    fn drop(&mut self) {
        self.place.is_answered();
    }
}
