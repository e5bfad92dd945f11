//! The accept loop. Our own, since `axum::serve` has no header timeout: a client that drips its headers
//! would hold a connection for ever.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::patient::Patient;
use crate::api::Peer;

/// What bounds the connections.
#[derive(Clone)]
pub(super) struct Bounds {
    /// At once.
    pub(super) connections: usize,
    /// Of one address at once.
    pub(super) per_peer: usize,
    /// Networks whose addresses may have any number.
    pub(super) proxies: Vec<IpNet>,
    /// For a request's head, and for a handshake.
    pub(super) header_timeout: Duration,
    /// For a client to take some of an answer.
    pub(super) write_timeout: Duration,
    /// Speaks TLS, if TLS is spoken.
    pub(super) tls: Option<TlsAcceptor>,
}

/// Headers of one request that hyper reads: more than the door allows, so that the door can say what is wrong.
const HEADERS: usize = 200;
/// Bytes of a request's head that hyper reads, and of what it buffers.
const HEAD: usize = 96 * 1024;
/// Connections beyond the others, for the few requests that must always get through. Each serves one.
const RESERVE: usize = 64;
/// The least time that a reserve connection has for its request's head.
const HURRY: Duration = Duration::from_secs(2);

/// Accepts until `stop`, then lets every connection finish its request.
pub(super) async fn run(listener: TcpListener, router: Router, bounds: Bounds, stop: CancellationToken) {
    let rooms = Rooms {
        usual: Arc::new(Semaphore::new(bounds.connections.min(Semaphore::MAX_PERMITS))),
        reserve: Arc::new(Semaphore::new(RESERVE)),
        peers: Arc::default(),
    };
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &rooms) => accepted,
        };
        match accepted {
            Ok((stream, remote, permit)) => {
                let Some(place) = rooms.place(remote.ip().to_canonical(), &bounds) else { continue };
                let local = stream.local_addr().ok();
                let peer = Peer { remote: Some(remote), local, reserve: permit.reserve };
                let (router, bounds, stop) = (router.clone(), bounds.clone(), stop.clone());
                connections.spawn(async move {
                    let _held = (permit, place);
                    serve(stream, router, (bounds, peer), stop).await;
                });
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

/// Who may be connected at once.
struct Rooms {
    usual: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    peers: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

struct Permit {
    reserve: bool,
    _permit: OwnedSemaphorePermit,
}

/// One of the connections of an address, counted until it is dropped.
struct Place {
    address: IpAddr,
    peers: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Rooms {
    /// A place for a connection of this address; none when it has as many as it may.
    fn place(&self, address: IpAddr, bounds: &Bounds) -> Option<Place> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(address).or_default();
        if *count >= bounds.per_peer && !bounds.proxies.iter().any(|net| net.contains(&address)) {
            return None;
        }
        *count += 1;
        Some(Place { address, peers: Arc::clone(&self.peers) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = peers.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.address);
            }
        }
    }
}

/// A connection as soon as there is room for one: a usual one, else of the reserve.
async fn accept(listener: &TcpListener, rooms: &Rooms) -> std::io::Result<(TcpStream, SocketAddr, Permit)> {
    let permit = tokio::select! {
        biased;
        permit = Arc::clone(&rooms.usual).acquire_owned() => (false, permit),
        permit = Arc::clone(&rooms.reserve).acquire_owned() => (true, permit),
    };
    let (reserve, permit) = (permit.0, permit.1.map_err(std::io::Error::other)?);
    let (stream, remote) = listener.accept().await?;
    stream.set_nodelay(true)?;
    // While the loop waited for somebody to come, a usual place may have become free.
    let (reserve, permit) = match Arc::clone(&rooms.usual).try_acquire_owned() {
        Ok(usual) if reserve => (false, usual),
        Ok(_) | Err(_) => (reserve, permit),
    };
    Ok((stream, remote, Permit { reserve, _permit: permit }))
}

async fn serve(stream: TcpStream, router: Router, (bounds, peer): (Bounds, Peer), stop: CancellationToken) {
    let stream = Patient::new(stream, bounds.write_timeout);
    match &bounds.tls {
        None => speak(stream, router, (&bounds, peer), stop).await,
        Some(tls) => {
            let handshake = tokio::time::timeout(bounds.header_timeout, tls.accept(stream));
            let shaken = tokio::select! {
                () = stop.cancelled() => return,
                shaken = handshake => shaken,
            };
            match shaken {
                Ok(Ok(stream)) => Box::pin(speak(stream, router, (&bounds, peer), stop)).await,
                Ok(Err(why)) => tracing::debug!(error = %why, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        }
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    (bounds, peer): (&Bounds, Peer),
    stop: CancellationToken,
) {
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        // A router is always ready.
        router.clone().call(request)
    });
    let patience = if peer.reserve { bounds.header_timeout.min(HURRY) } else { bounds.header_timeout };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_headers(HEADERS)
        .max_buf_size(HEAD)
        .keep_alive(!peer.reserve)
        .serve_connection(TokioIo::new(stream), service);
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
