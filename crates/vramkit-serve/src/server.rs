//! The listener and its connections: how many, how long, and how large what they send may be.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use vramkit_watch::Watcher;
use vramkit_watch::record::TickRecorder;

use crate::config::{ServeConfig, ServeError};
use crate::guard::Guard;
use crate::routes::router;
use crate::shared::SharedWatcher;

/// Connections at once; one more is closed at once.
const CONNECTIONS: usize = 64;
/// For a request's headers, and for a reader that does not read.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between requests of one connection.
const IDLE: Duration = Duration::from_secs(75);
/// Most bytes of headers.
const HEADERS: usize = 16 << 10;

/// Serves until `end`, or until the process is told to stop (SIGTERM, SIGINT). `ready` is told the address.
///
/// # Errors
/// An address that others can reach without a token, an address or a recording that cannot be had, or what the system says
/// of threads and timers.
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
        let watcher = Arc::new(SharedWatcher::new(watcher, recorder));
        let app = router(
            watcher.clone(),
            Guard { token: config.token.clone(), loopback: address.ip().is_loopback() },
        );
        let sampling = tokio::spawn(sample(watcher, config.interval));
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
async fn sample(watcher: Arc<SharedWatcher>, interval: Duration) {
    loop {
        let reader = watcher.clone();
        let period = tokio::task::spawn_blocking(move || {
            let rendered = reader.tick(Duration::ZERO);
            reader.period(&rendered.tick, interval)
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
