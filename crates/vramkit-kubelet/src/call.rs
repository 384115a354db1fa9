//! One gRPC call without a message of its own over a Unix socket: HTTP/2 by `h2`, within a deadline and a bound.
//!
//! ```text
//! connect ──► POST path, empty message ──► headers, data up to a bound, trailers ──► the answer's bytes, or why there are none
//! ```

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Request};
use tokio::net::UnixStream;

/// Most bytes of an answer, as of gRPC's own clients: a thousand pods have a fifth of a megabyte.
const LONGEST: usize = 4 << 20;
/// Before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("cannot be connected to: {0}")]
    Connect(io::Error),
    #[error("does not answer within {0:?}")]
    Late(Duration),
    #[error("does not speak HTTP/2 as it should: {0}")]
    Http(#[from] h2::Error),
    #[error("answers with HTTP status {0}")]
    Status(http::StatusCode),
    #[error("answers with gRPC status {code}: {words}")]
    Refused { code: String, words: String },
    #[error("answers with more than {LONGEST} bytes")]
    Long,
    #[error("answers with nonsense: {0}")]
    Nonsense(&'static str),
}

/// The bytes of the answer's message.
pub(crate) async fn call(socket: &Path, path: &str, deadline: Duration) -> Result<Bytes, CallError> {
    let answer = tokio::time::timeout(deadline, ask(socket, path)).await;
    answer.unwrap_or(Err(CallError::Late(deadline)))
}

async fn ask(socket: &Path, path: &str) -> Result<Bytes, CallError> {
    let stream = UnixStream::connect(socket).await.map_err(CallError::Connect)?;
    let (mut client, connection) = h2::client::handshake(stream).await?;
    let request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|_| CallError::Nonsense("the path is none"))?;
    let exchange = async {
        let (response, mut body) = client.send_request(request, false)?;
        body.send_data(Bytes::from_static(&[0; PREFIX]), true)?;
        let (head, body) = response.await?.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(CallError::Status(head.status));
        }
        // Where there is no message, what is wrong stands at the front.
        refusal(&head.headers)?;
        read(body).await
    };
    // The connection moves what the exchange sends and waits for, and goes with it.
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.into()),
        },
    }
}

async fn read(mut body: RecvStream) -> Result<Bytes, CallError> {
    let mut bytes = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        if bytes.len() + data.len() > LONGEST {
            return Err(CallError::Long);
        }
        bytes.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    if trailers.is_empty() {
        return Err(CallError::Nonsense("it ends without saying how it went"));
    }
    refusal(&trailers)?;
    if bytes.len() < PREFIX {
        return Err(CallError::Nonsense("there is no message"));
    }
    let (compressed, length) = (bytes.get_u8(), bytes.get_u32());
    match (compressed, usize::try_from(length).is_ok_and(|length| length == bytes.len())) {
        (0, true) => Ok(bytes.freeze()),
        (0, false) => Err(CallError::Nonsense("a message's length is not what it says")),
        _ => Err(CallError::Nonsense("a message is compressed, which was not asked for")),
    }
}

fn refusal(headers: &HeaderMap) -> Result<(), CallError> {
    let text =
        |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match text("grpc-status") {
        Some(code) if code != "0" => {
            Err(CallError::Refused { code, words: text("grpc-message").unwrap_or_default() })
        }
        _ => Ok(()),
    }
}
