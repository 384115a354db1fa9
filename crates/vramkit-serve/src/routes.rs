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

use crate::guard::{Guard, Refused};
use crate::metrics;
use crate::shared::{RenderedTick, SharedWatcher};

/// Scrapes that come closer together get the same reading.
const SCRAPED: Duration = Duration::from_millis(200);

pub(crate) fn router(watcher: Arc<SharedWatcher>, guard: Guard) -> Router {
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
        .with_state(watcher)
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
async fn tick(watcher: Arc<SharedWatcher>, age: Duration) -> Result<Arc<RenderedTick>, StatusCode> {
    if let Some(rendered) = watcher.recent(age) {
        return Ok(rendered);
    }
    tokio::task::spawn_blocking(move || watcher.tick(age))
        .await
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

async fn scrape(State(watcher): State<Arc<SharedWatcher>>) -> Result<Response, StatusCode> {
    let rendered = tick(watcher, SCRAPED).await?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], rendered.metrics().to_owned()).into_response())
}

fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}

async fn snapshot(State(watcher): State<Arc<SharedWatcher>>) -> Result<Response, StatusCode> {
    Ok(json(tick(watcher, SCRAPED).await?.json().to_owned()))
}

async fn history(State(watcher): State<Arc<SharedWatcher>>) -> Result<Response, StatusCode> {
    let text = tokio::task::spawn_blocking(move || watcher.history()).await;
    text.map(json).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// 200 once there is a reading.
async fn is_ready(State(watcher): State<Arc<SharedWatcher>>) -> Response {
    match watcher.recent(Duration::from_secs(3600)) {
        Some(_) => "ready\n".into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "nothing has been read yet\n").into_response(),
    }
}

/// Every tick as an event. A reader that falls behind loses its connection, and may come again.
async fn events(
    State(watcher): State<Arc<SharedWatcher>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let first = watcher.recent(Duration::from_secs(3600));
    let ticks = stream::unfold((first, watcher.subscribe()), |(first, mut news)| async move {
        let rendered = match first {
            Some(rendered) => rendered,
            None => match news.recv().await {
                Ok(rendered) => rendered,
                Err(broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed) => {
                    return None;
                }
            },
        };
        Some((Ok(Event::default().event("tick").data(rendered.json())), (None, news)))
    });
    Sse::new(ticks).keep_alive(KeepAlive::default())
}
