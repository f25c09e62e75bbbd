//! Ctrl-C and SIGTERM, told apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use starple::Result;

use crate::run_file::{err, wrong};

/// The signal that asked the work to end.
#[derive(Clone)]
pub(crate) struct Interrupt {
    /// 0 if there was none.
    signal: Arc<AtomicUsize>,
    /// Whether there was one.
    #[allow(dead_code, reason = "not every example hands it on")]
    pub(crate) flag: Arc<AtomicBool>,
}

impl Interrupt {
    /// Waits for Ctrl-C and SIGTERM. A second one ends the process at once, by the exit code of its own.
    pub(crate) fn listen() -> Result<Self> {
        let this = Self { signal: Arc::default(), flag: Arc::default() };
        let register = |number| {
            // In this order: the first signal passes by the shutdown, which it arms for the second.
            flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&this.flag))?;
            flag::register(number, Arc::clone(&this.flag))?;
            flag::register_usize(number, Arc::clone(&this.signal), number as usize)
        };
        register(SIGINT).and_then(|_| register(SIGTERM)).map_err(wrong)?;
        Ok(this)
    }

    /// The name and the exit code of the signal, if there was one.
    pub(crate) fn signal(&self) -> Option<(&'static str, u8)> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            signal => Some((if signal == SIGINT as usize { "Ctrl-C" } else { "SIGTERM" }, 128 + signal as u8)),
        }
    }

    /// If a signal ended the work, writes so to stderr, and whether the same command continues the run. Returns the exit code.
    pub(crate) fn report(&self, resumable: bool) -> Option<u8> {
        let (name, code) = self.signal()?;
        let resume = if resumable { "; run the same command again to continue" } else { "" };
        err(format_args!("stopped by {name}{resume}"));
        Some(code)
    }
}
