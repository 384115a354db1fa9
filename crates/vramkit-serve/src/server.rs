//! The listener, what runs beside it, and each connection's conversation.

use std::convert::Infallible;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower::Service;
use vramkit_watch::Watcher;
use vramkit_watch::record::TickRecorder;

use crate::body::ReadBody;
use crate::config::{ServeConfig, ServeError};
use crate::connections::{Connections, Place};
use crate::guard::Guard;
use crate::routes::router;
use crate::shared::SharedWatcher;

/// Most bytes of headers.
const HEADERS: usize = 16 << 10;
/// What asks how the server does.
const PROBES: [&[u8]; 4] = [b"GET /healthz ", b"HEAD /healthz ", b"GET /readyz ", b"HEAD /readyz "];
/// What the system holds of an answer that is not read; it counts as this program's memory.
const UNSENT: u32 = 128 << 10;
/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 4096;
/// Until it is tried again to accept one where no place could be made.
const SOON: Duration = Duration::from_millis(20);

/// Serves until `end`, or until the process is told to stop (SIGTERM, SIGINT). `ready` is told the address.
///
/// # Errors
/// An address that others can reach without a token, an address or a recording that cannot be had, or what the system says
/// of threads and timers.
pub fn serve(
    config: &ServeConfig,
    mut watcher: Watcher,
    ready: impl FnOnce(SocketAddr),
    end: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    if !config.listen.ip().is_loopback() && config.token.is_none() {
        return Err(ServeError::TokenRequired(config.listen));
    }
    if let Some((path, most)) = &config.record {
        let recorder = TickRecorder::open(path, *most)?;
        // What was recorded before is shown, as far as it can be read.
        if let Err(error) = watcher.restore(path) {
            tracing::warn!(%error, "the history begins anew");
        }
        watcher.record(recorder);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_stack_size(512 << 10)
        .build()?;
    let outcome = runtime.block_on(async {
        let failed = |error| ServeError::Listen { address: config.listen, error };
        let listener = listen(config.listen).map_err(failed)?;
        let address = listener.local_addr()?;
        let watcher = Arc::new(SharedWatcher::new(watcher, config.interval));
        let app = router(
            watcher.clone(),
            Guard { token: config.token.clone(), loopback: address.ip().is_loopback() },
        );
        let sampling = tokio::spawn(sample(watcher));
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

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Its connections inherit it.
    socket.set_send_buffer_size(UNSENT)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Reads again and again. Nobody else makes readings: what is judged and kept does not depend on who asks.
async fn sample(watcher: Arc<SharedWatcher>) {
    loop {
        let reader = watcher.clone();
        let period = tokio::task::spawn_blocking(move || {
            let rendered = reader.tick();
            reader.period(&rendered.tick)
        });
        tokio::time::sleep(period.await.unwrap_or(watcher.interval())).await;
    }
}

async fn accept(listener: TcpListener, app: Router) {
    let connections = Connections::within_limits();
    let overdue = connections.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            overdue.close_overdue();
        }
    });
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors: somebody has to give one back.
                tracing::warn!(%error, "a connection could not be accepted");
                connections.make_room();
                tokio::time::sleep(SOON).await;
                continue;
            }
        };
        while connections.is_full() && !connections.make_room() {
            tokio::time::sleep(SOON).await;
        }
        connections.add(peer.ip(), |place| {
            let app = app.clone();
            let left = LeavesOnDrop(place.clone());
            tokio::spawn(async move {
                let _left = left;
                let Ok(is_probe) = whole_request(&stream).await else { return };
                let _turn = if is_probe { None } else { place.turn().await };
                // In a box: those that wait do without it.
                if let Err(error) = Box::pin(converse(stream, app, place, is_probe)).await {
                    tracing::debug!(%error, "a connection ended");
                }
            })
            .abort_handle()
        });
        // What it has sent already is read before the next one may take its place.
        tokio::task::yield_now().await;
    }
}

/// A task that is aborted leaves too.
struct LeavesOnDrop(Place);

impl Drop for LeavesOnDrop {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Waits until the headers of a request have come, and leaves them to be read; whether they ask only how the server does.
async fn whole_request(stream: &TcpStream) -> std::io::Result<bool> {
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let peeked = stream.try_io(Interest::READABLE, || {
            let mut headers = [0; HEADERS];
            let (length, _) = rustix::net::recv(stream, &mut headers, RecvFlags::PEEK)?;
            let come = &headers[..length];
            let is_whole = come.windows(2).any(|end| end == b"\n\n")
                || come.windows(3).any(|end| end == b"\n\r\n")
                || length == HEADERS;
            if is_whole {
                return Ok(PROBES.iter().any(|probe| come.starts_with(probe)));
            }
            // Nothing more will be told of what has come: only of what comes, if anything can.
            let more = if length == 0 || ready.is_read_closed() {
                ErrorKind::UnexpectedEof
            } else {
                ErrorKind::WouldBlock
            };
            Err(more.into())
        });
        match peeked {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            peeked => return peeked,
        }
    }
}

/// A probe is answered once, and needs no place.
async fn converse(stream: TcpStream, app: Router, place: Place, is_probe: bool) -> Result<(), hyper::Error> {
    // A piece of an answer does not wait for the next.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        place.is_asked();
        let (mut app, place) = (app.clone(), place.clone());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(place.clone());
        async move {
            let answer = app.call(request).await?;
            Ok::<_, Infallible>(answer.map(|body| ReadBody::new(body, place)))
        }
    });
    // How long a request may take to come is the table's to say.
    hyper::server::conn::http1::Builder::new()
        .header_read_timeout(None)
        .keep_alive(!is_probe)
        .max_buf_size(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await
}
