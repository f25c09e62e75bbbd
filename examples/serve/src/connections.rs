//! Connections: how many there are, how long each may wait, and which one makes room.
//!
//! A connection is waiting (for the next request), is sending a header, or has a request under way. The first two are bounded by time here;
//! a request is bounded by [`Limits::timeout`], which its route sees to. Where a listener has all the connections that it may have, the
//! one that waited longest is closed for a new one, so that clients that do nothing keep out no others.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until};
use tracing::{debug, warn};

use crate::metrics::Closed;
use crate::state::State;

/// Bytes of a header, and of what is read ahead of a body.
const BUFFER: usize = 64 << 10;

/// A connection that answered so recently may still be writing: it does not make room.
const JUST_ANSWERED: Duration = Duration::from_millis(100);

/// All connections of one listener.
pub(crate) struct Connections {
    open: Mutex<HashMap<u64, Arc<Peer>>>,
    state: Arc<State>,
    /// Times are counted from here.
    start: Instant,
}

/// One connection, as seen by its task and by the others.
struct Peer {
    /// What it does, in the two lowest bits, and since when, in milliseconds.
    state: AtomicU64,
    /// A header has begun, or the connection is to be closed.
    changed: Notify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Between two requests.
    Waiting,
    /// A header has begun, or the first one is awaited.
    Header,
    /// A request is read, scored or answered.
    Request,
    /// It makes room for another.
    Evicted,
}

impl Peer {
    fn set(&self, doing: Doing, now: u64) {
        self.state.store(now << 2 | doing as u64, Ordering::Relaxed);
    }

    fn get(&self) -> (Doing, u64) {
        let state = self.state.load(Ordering::Relaxed);
        (Doing::of(state), state >> 2)
    }
}

impl Doing {
    fn of(state: u64) -> Self {
        [Self::Waiting, Self::Header, Self::Request, Self::Evicted][(state & 3) as usize]
    }
}

impl Connections {
    pub(crate) fn new(state: &Arc<State>) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), state: Arc::clone(state), start: Instant::now() })
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Peer>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// A place for one more connection, if need be that of the one that waited longest; `None` if all have requests under way.
    fn admit(self: &Arc<Self>, number: u64) -> Option<Place> {
        let mut open = self.lock();
        if open.len() >= self.state.limits.connections {
            let oldest = self.evict(&open)?;
            open.remove(&oldest);
        }
        let peer = Arc::new(Peer { state: AtomicU64::new(0), changed: Notify::new() });
        peer.set(Doing::Header, self.now());
        open.insert(number, Arc::clone(&peer));
        drop(open);
        self.state.metrics.opened();
        Some(Place { of: Arc::clone(self), number, peer })
    }

    /// Closes the connection that has waited longest, and says which one it is.
    fn evict(&self, open: &HashMap<u64, Arc<Peer>>) -> Option<u64> {
        let recent = self.now().saturating_sub(JUST_ANSWERED.as_millis() as u64);
        let mut waiting: Vec<(u64, u64)> = open
            .iter()
            .filter_map(|(&number, peer)| match peer.get() {
                (Doing::Header, since) => Some((since, number)),
                (Doing::Waiting, since) if since <= recent => Some((since, number)),
                _ => None,
            })
            .collect();
        waiting.sort_unstable();
        // One whose request begins at this moment stays.
        let evicted = waiting.into_iter().find(|(_, number)| {
            let peer = &open[number];
            let evict = |state| {
                let waits = matches!(Doing::of(state), Doing::Waiting | Doing::Header);
                waits.then_some(state | Doing::Evicted as u64)
            };
            peer.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, evict).is_ok()
        });
        let (_, number) = evicted?;
        open[&number].changed.notify_one();
        self.state.metrics.closed(Closed::Evicted);
        Some(number)
    }

    /// Closes the connection that has waited longest, if one waits.
    fn make_room(&self) {
        let open = self.lock();
        self.evict(&open);
    }

    /// Completes when the connection has done nothing for too long, or makes room for another, and says why.
    async fn overdue(&self, peer: &Peer) -> Closed {
        loop {
            let (doing, since) = peer.get();
            let (most, why) = match doing {
                Doing::Waiting => (self.state.limits.idle, Closed::Idle),
                Doing::Header => (self.state.limits.header, Closed::Header),
                // Its route bounds it; it waits or is closed after that.
                Doing::Request => {
                    peer.changed.notified().await;
                    continue;
                }
                Doing::Evicted => return Closed::Evicted,
            };
            let until = self.start + Duration::from_millis(since) + most;
            tokio::select! {
                () = sleep_until(until.into()) => if peer.get() == (doing, since) {
                    return why;
                },
                () = peer.changed.notified() => {}
            }
        }
    }
}

/// A connection's place among the others, given back when it is dropped.
struct Place {
    of: Arc<Connections>,
    number: u64,
    peer: Arc<Peer>,
}

impl Place {
    fn set(&self, doing: Doing) {
        self.peer.set(doing, self.of.now());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.lock().remove(&self.number);
        self.of.state.metrics.gone();
    }
}

/// Marks a request as under way, until it is dropped.
struct UnderWay(Arc<Place>);

impl UnderWay {
    fn begin(place: &Arc<Place>) -> Self {
        place.set(Doing::Request);
        Self(Arc::clone(place))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.set(Doing::Waiting);
        self.0.peer.changed.notify_one();
    }
}

/// A socket that notes when a header begins.
struct Watched {
    stream: TcpStream,
    place: Arc<Place>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before && self.place.peer.get().0 == Doing::Waiting {
            self.place.set(Doing::Header);
            self.place.peer.changed.notify_one();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What is answered where there is no place for a connection.
const NO_PLACE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\nretry-after: 1\r\n\r\n";

/// One address, and what its connections need.
struct Listening {
    listener: TcpListener,
    router: Router,
    connections: Arc<Connections>,
    graceful: GracefulShutdown,
    /// How many connections there have been.
    number: u64,
}

/// Serves connections until `stop` completes; then those that the system has accepted by then, and all requests under way.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    connections: Arc<Connections>,
    stop: impl Future<Output = ()>,
) {
    let mut listening = Listening { listener, router, connections, graceful: GracefulShutdown::new(), number: 0 };
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listening.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => listening.connect(stream, address),
            // A client that left again concerns no other.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                // Most likely there are no files left.
                warn!(%error, "no connection can be accepted");
                listening.connections.make_room();
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
    listening.accept_waiting();
    let Listening { listener, graceful, .. } = listening;
    drop(listener);
    graceful.shutdown().await;
}

impl Listening {
    fn connect(&mut self, stream: TcpStream, address: SocketAddr) {
        self.number += 1;
        let Some(place) = self.connections.admit(self.number) else {
            self.connections.state.metrics.closed(Closed::NoPlace);
            // As much as the socket takes at once; nothing waits for a client that is turned away.
            let _ = stream.try_write(NO_PLACE);
            return;
        };
        let _ = stream.set_nodelay(true);
        let socket = Watched { stream, place: Arc::new(place) };
        tokio::spawn(converse(socket, address, self.router.clone(), self.graceful.watcher()));
    }

    /// Takes the connections that the system has accepted: their clients may have sent a request already.
    fn accept_waiting(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok((stream, address))) = self.listener.poll_accept(&mut context) {
            self.connect(stream, address);
        }
    }
}

/// Serves one connection to its end.
async fn converse(socket: Watched, address: SocketAddr, router: Router, watcher: Watcher) {
    let place = Arc::clone(&socket.place);
    let service = {
        let place = Arc::clone(&place);
        let router = TowerToHyperService::new(router);
        service_fn(move |mut request: hyper::Request<Incoming>| {
            let under_way = UnderWay::begin(&place);
            request.extensions_mut().insert(ConnectInfo(address));
            let answer = router.call(request);
            async move {
                let answer = answer.await;
                drop(under_way);
                answer
            }
        })
    };
    let connection = http1::Builder::new()
        // The times of a connection are seen to here: hyper has one for a header and for the time before it.
        .header_read_timeout(None)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(socket), service);
    tokio::select! {
        ended = watcher.watch(connection) => if let Err(error) = ended {
            debug!(%error, client = %address, "a connection ended in the middle");
        },
        why = place.of.overdue(&place.peer) => {
            debug!(?why, client = %address, "a connection is closed");
            if why != Closed::Evicted {
                place.of.state.metrics.closed(why);
            }
        }
    }
}
