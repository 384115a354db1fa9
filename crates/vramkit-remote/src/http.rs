//! One request: bounded in time and in size.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use vramkit_watch::Tick;

use crate::address::Address;
use crate::age::Said;
use crate::bound::{self, bound};
use crate::clean::{clean, names};

/// To be connected, and for everything.
const CONNECT: Duration = Duration::from_secs(3);
const WHOLE: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const MOST: usize = 16 << 20;

/// What a server says now.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) tick: Tick,
    /// What it says of the reading's age.
    pub(crate) said: Said,
    /// What is not in the tick, in words.
    pub(crate) left_out: Vec<String>,
}

/// Why a machine gives no tick.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("cannot be reached: {0}")]
    Connect(std::io::Error),
    #[error("no connection within {} s", .0.as_secs())]
    SlowConnection(Duration),
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
    #[error("does not speak HTTP as it should: {0}")]
    Http(String),
    #[error("wants a token, and was given none or another one")]
    Token,
    #[error(
        "refuses to be asked by this name: it is only for the machine itself; try a tunnel to its loopback"
    )]
    Name,
    #[error("answers {0}: that is no `vramkit serve`")]
    Status(StatusCode),
    #[error("answers with more than {} MiB", MOST >> 20)]
    Long,
    #[error("answers with no document of vramkit.top/1: {0}")]
    Document(String),
}

/// Asks a server.
pub(crate) async fn fetch(address: &Address, token: Option<&str>) -> Result<Answer, FetchError> {
    let (body, said) = timeout(WHOLE, get(address, token)).await.map_err(|_| FetchError::Slow(WHOLE))??;
    let (text, left_out) = bound(&String::from_utf8_lossy(&body));
    drop(body);
    let mut tick: Tick =
        serde_json::from_str(&clean(&text)).map_err(|error| FetchError::Document(error.to_string()))?;
    if !tick.schema.starts_with("vramkit.top/1") {
        return Err(FetchError::Document(format!(
            "it is `{}`",
            tick.schema.chars().take(40).collect::<String>()
        )));
    }
    names(&mut tick);
    Ok(Answer { tick, said, left_out: bound::words(&left_out) })
}

async fn get(address: &Address, token: Option<&str>) -> Result<(Bytes, Said), FetchError> {
    let connecting = TcpStream::connect((address.host.as_str(), address.port));
    let stream = timeout(CONNECT, connecting).await.map_err(|_| FetchError::SlowConnection(CONNECT))?;
    let stream = stream.map_err(FetchError::Connect)?;
    let failed = |error: hyper::Error| FetchError::Http(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // It ends with the connection, and that with the sender.
    tokio::spawn(connection);
    let mut request =
        Request::get("/api/snapshot").header(HOST, address.to_string()).header(ACCEPT, "application/json");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| FetchError::Http(error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(failed)?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => return Err(FetchError::Token),
        StatusCode::FORBIDDEN => return Err(FetchError::Name),
        status => return Err(FetchError::Status(status)),
    }
    let said = Said::of(answer.headers());
    let body = Limited::new(answer.into_body(), MOST).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { FetchError::Long } else { FetchError::Http(error.to_string()) }
    })?;
    Ok((body.to_bytes(), said))
}
