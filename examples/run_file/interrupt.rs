//! Ctrl-C and SIGTERM, told apart.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The signal that asked the work to end: 0 if none did.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Waits for Ctrl-C and SIGTERM. A second one ends the process at once, by the exit code of its own.
    pub(crate) fn listen() -> io::Result<Self> {
        let (signalled, first) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal passes by the shutdown, which it arms for the second.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&first))?;
            flag::register(signal, Arc::clone(&first))?;
            flag::register_usize(signal, Arc::clone(&signalled), signal as usize)?;
        }
        Ok(Self(signalled))
    }

    /// The name and the exit code of the signal, if there was one.
    pub(crate) fn signal(&self) -> Option<(&'static str, u8)> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            signal => Some((if signal == SIGINT as usize { "Ctrl-C" } else { "SIGTERM" }, 128 + signal as u8)),
        }
    }
}
