//! Listening and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::routes::router;
use crate::state::State;

/// A runtime for a service that scores on this many threads.
///
/// # Errors
/// If the system gives no threads.
pub fn runtime(workers: usize) -> io::Result<Runtime> {
    // One thread more than score, so that a model can be loaded while all of them are busy.
    Builder::new_multi_thread().worker_threads(2).max_blocking_threads(workers + 1).enable_all().build()
}

/// Serves until `stop` completes, then ends the requests that are under way.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    state: Arc<State>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(state)).with_graceful_shutdown(stop).await
}

/// Completes on Ctrl-C.
pub async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a signal to wait for, the service ends with its process.
        std::future::pending::<()>().await;
    }
    eprintln!("ending the requests under way");
}

/// A service in this process, on a free port of this machine: for tests and for the load test.
#[derive(Debug)]
pub struct Running {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    /// Starts it, with the model that the loader gives.
    ///
    /// # Panics
    /// If there is no port or thread to be had, or the model is refused.
    pub fn start(state: &Arc<State>, workers: usize) -> Self {
        let running = Self::start_empty(state, workers);
        let url = format!("http://{}/reload", running.address);
        ureq::post(url).send_empty().expect("a model");
        running
    }

    /// Starts it without a model.
    ///
    /// # Panics
    /// If there is no port or thread to be had.
    pub fn start_empty(state: &Arc<State>, workers: usize) -> Self {
        let runtime = runtime(workers).expect("threads");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("a bound port has an address");
        let (stop, stopped) = oneshot::channel();
        let service = serve(listener, Arc::clone(state), async {
            // A handle that is gone stops it too.
            let _ = stopped.await;
        });
        let thread = std::thread::spawn(move || runtime.block_on(service));
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Ends it gracefully.
    ///
    /// # Panics
    /// If it failed.
    pub fn stop(mut self) {
        drop(self.stop.take());
        let thread = self.thread.take().expect("it is stopped once");
        thread.join().expect("the service does not panic").expect("the service ends well");
    }
}
