//! The signals that end the service.

use std::io;

/// SIGTERM, as of a container or a service manager that stops, and SIGINT, as of Ctrl-C.
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

/// One that came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    pub(crate) name: &'static str,
    number: u8,
}

impl Received {
    /// What a process exits with that ends at once by it.
    pub(crate) fn code(self) -> u8 {
        128 + self.number
    }
}

impl Signals {
    /// From here on signals are waited for, and no longer end the process by themselves.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn new() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Received {
        const INTERRUPT: Received = Received { name: "SIGINT", number: 2 };
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => Received { name: "SIGTERM", number: 15 },
            _ = self.interrupt.recv() => INTERRUPT,
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
            INTERRUPT
        }
    }
}
