//! Handles Ctrl-C and SIGTERM.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use starple::Result;

use crate::run_file::{err, wrong};

/// Whether a signal asked the work to end, and which one.
#[derive(Clone)]
pub(crate) struct Interrupt {
    /// The number of the signal; 0 if there was none.
    signal: Arc<AtomicUsize>,
    /// Whether there was a signal.
    #[allow(dead_code, reason = "not every example hands it on")]
    pub(crate) flag: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens for Ctrl-C and SIGTERM. A second signal ends the process at once, with the exit code of that signal.
    pub(crate) fn listen() -> Result<Self> {
        let this = Self { signal: Arc::default(), flag: Arc::default() };
        let register = |number| {
            // In this order: the first signal sets the flag, and only then the shutdown works for the second signal.
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
