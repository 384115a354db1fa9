//! What is served where, and to whom.

use std::convert::Infallible;
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
use tokio::sync::broadcast;

use crate::board::{Board, Page};
use crate::guard::{Guard, Refused};
use crate::metrics;

/// Scrapes that come closer together get the same reading.
const SCRAPED: Duration = Duration::from_millis(200);

pub(crate) fn router(board: Arc<Board>, guard: Guard) -> Router {
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
