//! What is served where, and to whom.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::{StreamExt, stream};
use hyper::body::Bytes;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use vramkit_watch::{Readiness, old};

use crate::connections::Place;
use crate::exposition::Exposition;
use crate::guard::{Guard, Refused};
use crate::page;
use crate::shared::{RenderedTick, SharedWatcher};

/// Whoever asks before the first reading waits so long for it; and so for a history while a reading is made.
const PATIENCE: Duration = Duration::from_secs(2);
/// A reader of events hears that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Histories that are read at once: each may be megabytes.
const HISTORIES: usize = 1;
/// Seconds between two readings at most.
const INTERVAL: HeaderName = HeaderName::from_static("vramkit-interval");

#[derive(Clone)]
struct App {
    watcher: Arc<SharedWatcher>,
    guard: Guard,
    histories: Arc<Semaphore>,
}

pub(crate) fn router(watcher: Arc<SharedWatcher>, guard: Guard) -> Router {
    let app = App { watcher, guard, histories: Arc::new(Semaphore::new(HISTORIES)) };
    Router::new()
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
        .layer(middleware::from_fn_with_state(app.clone(), admit))
        // Holds nothing that was read: it asks for the token itself.
        .route("/", get(page))
        // Says only that the program runs.
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(middleware::map_response(secure))
        .with_state(app)
}

async fn admit(
    State(app): State<App>,
    Extension(place): Extension<Place>,
    request: Request,
    next: Next,
) -> Response {
    match app.guard.check(request.headers(), request.uri()) {
        Ok(()) => {
            if app.guard.token.is_some() {
                place.is_trusted();
            }
            next.run(request).await
        }
        Err(refused) => refuse(refused),
    }
}

fn refuse(refused: Refused) -> Response {
    let close = (header::CONNECTION, "close");
    match refused {
        Refused::Host => {
            let words = "this host name is not served: use 127.0.0.1 or localhost\n";
            (StatusCode::FORBIDDEN, [close], words).into_response()
        }
        Refused::Token => {
            let words = "a token is required: Authorization: Bearer TOKEN\n";
            (StatusCode::UNAUTHORIZED, [close, (header::WWW_AUTHENTICATE, "Bearer")], words).into_response()
        }
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
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ];
    for (name, value) in values {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn page(State(app): State<App>, request: Request) -> Response {
    match app.guard.check_host(request.headers(), request.uri()) {
        Ok(()) => answer("text/html; charset=utf-8", Bytes::from_static(page::text().as_bytes())),
        Err(refused) => refuse(refused),
    }
}

fn answer(content_type: &'static str, body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, content_type)], Body::from(body)).into_response()
}

/// Come again.
fn not_now(words: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "2")], words).into_response()
}

/// The last reading, however old: only sampling makes readings, so that scrapes neither add samples nor wait for drivers.
async fn last(watcher: &SharedWatcher) -> Result<Arc<RenderedTick>, Response> {
    let mut news = watcher.subscribe();
    let first = timeout(PATIENCE, news.wait_for(Option::is_some)).await;
    let last = first.ok().and_then(Result::ok).and_then(|last| last.clone());
    last.ok_or_else(|| not_now("nothing has been read yet\n"))
}

/// Says how old it is.
fn aged(rendered: &RenderedTick, mut response: Response) -> Response {
    response.headers_mut().insert(header::AGE, rendered.age().as_secs().into());
    response
}

async fn scrape(State(app): State<App>, headers: HeaderMap) -> Result<Response, Response> {
    let (rendered, exposition) = (last(&app.watcher).await?, Exposition::accepted(&headers));
    let text = match exposition {
        // Old numbers are not told as if they were of now.
        exposition if rendered.age() > old(app.watcher.interval()) => rendered.when(exposition),
        Exposition::OpenMetrics => rendered.openmetrics(),
        Exposition::Prometheus => rendered.prometheus(),
    };
    let mut response = answer(exposition.content_type(), text);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(aged(&rendered, response))
}

async fn snapshot(State(app): State<App>) -> Result<Response, Response> {
    let rendered = last(&app.watcher).await?;
    let mut response = answer("application/json", rendered.json());
    // Whoever asks knows by it when a reading is old.
    let interval = HeaderValue::from_str(&app.watcher.interval().as_secs_f64().to_string());
    response.headers_mut().extend(interval.map(|interval| (INTERVAL, interval)));
    Ok(aged(&rendered, response))
}

/// A device at a time: all of it is megabytes, and who reads it slowly holds no more than one of them.
async fn history(State(app): State<App>) -> Response {
    let Ok(Ok(permit)) = timeout(PATIENCE, app.histories.clone().acquire_owned()).await else {
        return not_now("others are reading the history\n");
    };
    let Ok((first, after)) = timeout(PATIENCE, history_piece(&app.watcher, None)).await else {
        return not_now("a reading is being made, and takes long\n");
    };
    // The permit lasts as long as the body.
    let rest = stream::unfold((after, app.watcher, permit), |(after, watcher, permit)| async move {
        let (text, after) = history_piece(&watcher, Some(after?)).await;
        Some((text, (after, watcher, permit)))
    });
    let pieces = stream::iter([first]).chain(rest).map(Ok::<_, Infallible>);
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(pieces)).into_response()
}

/// Waits while a reading is being made.
async fn history_piece(watcher: &Arc<SharedWatcher>, after: Option<String>) -> (Bytes, Option<String>) {
    loop {
        let (reader, after) = (watcher.clone(), after.clone());
        let piece = tokio::task::spawn_blocking(move || reader.history_piece(after.as_deref())).await;
        match piece {
            Ok(Some(piece)) => return piece,
            Ok(None) => {}
            // It ends here, as does the program.
            Err(_) => return (Bytes::new(), None),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether there is a fresh reading, and what is amiss.
async fn is_ready(State(app): State<App>, headers: HeaderMap) -> Response {
    let last = app.watcher.last();
    let read = last.as_ref().map(|rendered| (&*rendered.tick, rendered.age()));
    let readiness = Readiness::of(read, app.watcher.interval());
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let mut response = if accepted.into_iter().any(|line| line.contains("application/json")) {
        answer("application/json", serde_json::to_vec(&readiness).unwrap_or_default().into())
    } else {
        answer("text/plain; charset=utf-8", readiness.text().into())
    };
    *response.status_mut() = status;
    response
}

/// Every tick as an event. A reader that is slower than ticks come misses some, and sees by their numbers that it has; one
/// that does not read loses its connection.
async fn events(State(app): State<App>, Extension(place): Extension<Place>) -> Response {
    if !place.follow() {
        return not_now("as many readers follow events as may; /api/snapshot has the last\n");
    }
    let mut news = app.watcher.subscribe();
    // The last reading is the first news.
    news.mark_changed();
    let ticks = stream::unfold(news, |mut news| async move {
        loop {
            match timeout(KEEP_ALIVE, news.changed()).await {
                Ok(changed) => changed.ok()?,
                Err(_) => return Some((Ok(Bytes::from_static(b":\n\n")), news)),
            }
            let event = news.borrow_and_update().as_ref().map(|rendered| rendered.event());
            if let Some(event) = event {
                return Some((Ok::<_, Infallible>(event), news));
            }
        }
    });
    let body = Body::from_stream(ticks);
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}
