//! Listening and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use crate::connections::{self, Connections};
use crate::reload;
use crate::routes::{admin, public};
use crate::state::State;

/// A runtime for a service that scores on this many threads.
///
/// # Errors
/// If the system gives no threads.
pub fn runtime(workers: usize) -> io::Result<Runtime> {
    // One thread more than score, so that a model can be loaded while all of them are busy.
    Builder::new_multi_thread().worker_threads(2).max_blocking_threads(workers + 1).enable_all().build()
}

/// Where a service listens: for clients, and for its operator.
#[derive(Debug)]
pub struct Listeners {
    pub public: TcpListener,
    pub admin: TcpListener,
}

impl Listeners {
    /// # Errors
    /// If an address is none, or is taken; the text names its flag.
    pub async fn bind(public: &str, admin: &str) -> Result<Self, String> {
        let bind = async |flag: &str, address: &str| {
            let bound = TcpListener::bind(address).await;
            bound.map_err(|error| format!("{flag} {address}: {error}"))
        };
        Ok(Self { public: bind("--listen", public).await?, admin: bind("--admin", admin).await? })
    }
}

/// Serves until `stop` completes. Then it stops listening and ends the requests under way, those of connections too that the system had
/// accepted by then; for [`Limits::drain`](crate::limits::Limits::drain) at most.
///
/// Gives the number of connections that were cut, 0 where all came to their end.
pub async fn serve(listeners: Listeners, state: Arc<State>, stop: impl Future<Output = ()>) -> usize {
    let (stopped, stopping) = watch::channel(false);
    let signal = || {
        let mut stopping = stopping.clone();
        async move { _ = stopping.wait_for(|stop| *stop).await }
    };
    let (clients, operators) = (Connections::new(&state), Connections::new(&state));
    let Listeners { public: for_clients, admin: for_operators } = listeners;
    let both = [
        tokio::spawn(connections::serve(for_clients, public(Arc::clone(&state)), Arc::clone(&clients), signal())),
        tokio::spawn(connections::serve(for_operators, admin(Arc::clone(&state)), Arc::clone(&operators), signal())),
    ];
    stop.await;
    state.stopping.store(true, Ordering::Relaxed);
    info!(connections = clients.count() + operators.count(), "stopping: requests under way are ended");
    stopped.send_replace(true);
    let ended = async {
        for listening in both {
            let _ = listening.await;
        }
    };
    if tokio::time::timeout(state.limits.drain, ended).await.is_ok() {
        info!("stopped");
        return 0;
    }
    let cut = clients.count() + operators.count();
    warn!(connections = cut, "stopped: these were not done within --drain-seconds and are cut");
    cut
}

/// A service in this process, on free ports of this machine: for tests and for the load test.
#[derive(Debug)]
pub struct Running {
    /// Where clients reach it.
    pub address: SocketAddr,
    /// Where its operator reaches it.
    pub admin: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<usize>>,
}

impl Running {
    /// Starts it, with the model that the loader gives.
    ///
    /// # Panics
    /// If there is no port or thread to be had, or the model is refused.
    pub fn start(state: &Arc<State>, workers: usize) -> Self {
        Self::launch(state, workers, true)
    }

    /// Starts it without a model.
    ///
    /// # Panics
    /// If there is no port or thread to be had.
    pub fn start_empty(state: &Arc<State>, workers: usize) -> Self {
        Self::launch(state, workers, false)
    }

    fn launch(state: &Arc<State>, workers: usize, load: bool) -> Self {
        let runtime = runtime(workers).expect("threads");
        if load {
            runtime.block_on(reload::reload(state)).expect("a model");
        }
        let listeners = runtime.block_on(Listeners::bind("127.0.0.1:0", "127.0.0.1:0")).expect("ports");
        let address = |listener: &TcpListener| listener.local_addr().expect("a bound port has an address");
        let (address, admin) = (address(&listeners.public), address(&listeners.admin));
        let (stop, stopped) = oneshot::channel();
        let service = serve(listeners, Arc::clone(state), async {
            // A handle that is gone stops it too.
            let _ = stopped.await;
        });
        let thread = std::thread::spawn(move || {
            let cut = runtime.block_on(service);
            runtime.shutdown_background();
            cut
        });
        Self { address, admin, stop: Some(stop), thread: Some(thread) }
    }

    /// Tells it to end, and returns at once.
    pub fn signal(&mut self) {
        drop(self.stop.take());
    }

    /// Ends it gracefully; gives the number of connections that were cut.
    ///
    /// # Panics
    /// If it panicked.
    pub fn stop(mut self) -> usize {
        self.signal();
        let thread = self.thread.take().expect("it is stopped once");
        thread.join().expect("the service does not panic")
    }
}
