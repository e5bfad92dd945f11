//! The accept loop. Our own, since `axum::serve` has no header timeout: a client that drips its headers
//! would hold a connection for ever.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What bounds the connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// At once; more wait in the kernel's queue.
    pub(super) connections: usize,
    /// For a request's head.
    pub(super) header_timeout: Duration,
}

/// Headers of one request.
const HEADERS: usize = 100;
/// Bytes of a request's head.
const HEAD: usize = 64 * 1024;

/// Accepts until `stop`, then lets every connection finish its request.
pub(super) async fn run(listener: TcpListener, router: Router, bounds: Bounds, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(bounds.connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                connections.spawn(serve(stream, router.clone(), bounds, stop.clone(), permit));
            }
            Err(wrong) => {
                // Out of file descriptors, mostly: it passes when connections end.
                tracing::warn!(error = %wrong, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

async fn serve(
    stream: TcpStream,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
    _room: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_timeout)
        .max_headers(HEADERS)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    // Looked at when it has been woken and not at each step of a request: all connections share its lock.
    let mut stopped: FuturesUnordered<_> = std::iter::once(stop.cancelled()).collect();
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        _ = stopped.next() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
