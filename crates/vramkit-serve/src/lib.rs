//! vramkit's monitor over HTTP.
//!
//! ```text
//! watcher ──► board (one reading, many readers) ──┬──► /metrics       OpenMetrics, read when scraped
//!                                                 ├──► /api/snapshot  the tick, /api/history the last samples
//!                                                 ├──► /events        ticks as server-sent events
//!                                                 └──► /              a page; /healthz, /readyz
//! ```
//!
//! One thread serves; readings are made on another. Connections, headers, bodies and what a slow reader may be behind are
//! bounded, and whoever does not read is dropped. On loopback only requests that name a loopback host are served; on any
//! other address a token is required.

mod board;
mod guard;
mod metrics;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::{self, Stream};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, broadcast};
use tokio_io_timeout::TimeoutStream;
use vramkit_watch::Watcher;
use vramkit_watch::record::TickRecorder;

use board::{Board, Page};
use guard::{Guard, Refused};

pub use metrics::openmetrics;

/// Connections at once; one more is closed at once.
const CONNECTIONS: usize = 64;
/// For a request's headers, and for a reader that does not read.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between requests of one connection.
const IDLE: Duration = Duration::from_secs(75);
/// Most bytes of headers.
const HEADERS: usize = 16 << 10;
/// Scrapes that come closer together get the same reading.
const SCRAPED: Duration = Duration::from_millis(200);

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What requests must carry; required when `listen` is not loopback.
    pub token: Option<String>,
    /// Between two readings at most; they come sooner as headroom shrinks.
    pub interval: Duration,
    /// Where to keep ticks, and how many bytes of them.
    pub record: Option<(PathBuf, u64)>,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Others could read it.
    #[error("{0} is not a loopback address: others can reach it; give --token-file, or listen on 127.0.0.1")]
    TokenRequired(SocketAddr),
    /// The address cannot be had.
    #[error("cannot listen on {address}: {error}; is another one running? try --listen 127.0.0.1:0")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The recording cannot be written.
    #[error("cannot write `{}`: {error}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The system has no thread or timer for it.
    #[error("cannot serve: {0}")]
    System(#[from] io::Error),
}

/// Serves until `end`, or until the process is told to stop (SIGTERM, SIGINT). `ready` is told the address.
pub fn serve(
    config: &ServeConfig,
    watcher: Watcher,
    ready: impl FnOnce(SocketAddr),
    end: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    if !config.listen.ip().is_loopback() && config.token.is_none() {
        return Err(ServeError::TokenRequired(config.listen));
    }
    let recorder = match &config.record {
        Some((path, most)) => Some(
            TickRecorder::open(path, *most)
                .map_err(|error| ServeError::Record { path: path.clone(), error })?,
        ),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_stack_size(512 << 10)
        .build()?;
    let outcome = runtime.block_on(async {
        let failed = |error| ServeError::Listen { address: config.listen, error };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr()?;
        let board = Arc::new(Board::new(watcher, recorder));
        let app = router(
            board.clone(),
            Guard { token: config.token.clone(), loopback: address.ip().is_loopback() },
        );
        let sampling = tokio::spawn(sample(board, config.interval));
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        ready(address);
        tokio::select! {
            () = accept(listener, app) => {}
            () = end => {}
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        sampling.abort();
        Ok(())
    });
    // A driver that hangs does not hold the end up.
    runtime.shutdown_background();
    outcome
}

/// Reads again and again.
async fn sample(board: Arc<Board>, interval: Duration) {
    loop {
        let reader = board.clone();
        let period = tokio::task::spawn_blocking(move || {
            let page = reader.page(Duration::ZERO);
            reader.period(&page.tick, interval)
        });
        tokio::time::sleep(period.await.unwrap_or(interval)).await;
    }
}

async fn accept(listener: TcpListener, app: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors: they come back when connections end.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!("too many connections: one was closed");
            continue;
        };
        let app = app.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(stream, app).await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, app: Router) -> Result<(), hyper::Error> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(PATIENCE));
    stream.set_read_timeout(Some(IDLE));
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(app))
        .await
}

fn router(board: Arc<Board>, guard: Guard) -> Router {
    Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/metrics", get(scrape))
        .route("/api/snapshot", get(snapshot))
        .route("/api/history", get(history))
        .route("/events", get(events))
        .route("/readyz", get(is_ready))
        .fallback(|| async {
            (
                StatusCode::NOT_FOUND,
                "not here: /, /metrics, /api/snapshot, /api/history, /events, /healthz, /readyz\n",
            )
        })
        .layer(middleware::from_fn_with_state(guard, admit))
        // Says only that the program runs.
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(middleware::map_response(secure))
        .with_state(board)
}

async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check(request.headers(), request.uri()) {
        Ok(()) => next.run(request).await,
        Err(Refused::Host) => {
            (StatusCode::FORBIDDEN, "this host name is not served: use 127.0.0.1 or localhost\n")
                .into_response()
        }
        Err(Refused::Token) => (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Bearer")],
            "a token is required: Authorization: Bearer TOKEN\n",
        )
            .into_response(),
    }
}

async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let values = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'",
        ),
    ];
    for (name, value) in values {
        headers.insert(name, axum::http::HeaderValue::from_static(value));
    }
    response
}

/// A reading no older than `age`, made on another thread when there is none.
async fn page(board: Arc<Board>, age: Duration) -> Result<Arc<Page>, StatusCode> {
    if let Some(page) = board.recent(age) {
        return Ok(page);
    }
    tokio::task::spawn_blocking(move || board.page(age)).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

async fn scrape(State(board): State<Arc<Board>>) -> Result<Response, StatusCode> {
    let page = page(board, SCRAPED).await?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page.metrics().to_owned()).into_response())
}

fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}

async fn snapshot(State(board): State<Arc<Board>>) -> Result<Response, StatusCode> {
    Ok(json(page(board, SCRAPED).await?.json().to_owned()))
}

async fn history(State(board): State<Arc<Board>>) -> Result<Response, StatusCode> {
    let text = tokio::task::spawn_blocking(move || board.history()).await;
    text.map(json).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// 200 once there is a reading.
async fn is_ready(State(board): State<Arc<Board>>) -> Response {
    match board.recent(Duration::from_secs(3600)) {
        Some(_) => "ready\n".into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "nothing has been read yet\n").into_response(),
    }
}

/// Every tick as an event. A reader that falls behind loses its connection, and may come again.
async fn events(State(board): State<Arc<Board>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let first = board.recent(Duration::from_secs(3600));
    let ticks = stream::unfold((first, board.news()), |(first, mut news)| async move {
        let page = match first {
            Some(page) => page,
            None => match news.recv().await {
                Ok(page) => page,
                Err(broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed) => {
                    return None;
                }
            },
        };
        Some((Ok(Event::default().event("tick").data(page.json())), (None, news)))
    });
    Sse::new(ticks).keep_alive(KeepAlive::default())
}
