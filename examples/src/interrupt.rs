//! Ctrl-C and its like.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Failure, Kind};

/// Whether SIGINT, SIGTERM or SIGHUP came.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Watches for the signals, which then no longer end the process at once.
    pub fn new() -> Self {
        let flag = Arc::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            // Where that fails, the signal ends the process as it would have.
            let _ = signal_hook::flag::register(signal, Arc::clone(&flag));
        }
        Self(flag)
    }

    /// Whether one came.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`Kind::Interrupted`].
    pub fn check(&self) -> Result<(), Failure> {
        if self.came() { Err(Failure::new(Kind::Interrupted, "interrupted")) } else { Ok(()) }
    }
}
