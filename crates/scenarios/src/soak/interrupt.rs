//! A signal asks for the end: what is under way is given up, and everything is removed by whoever made
//! it. The second signal ends the process at once.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::Failure;

/// Whether a signal came.
#[derive(Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on.
    pub(crate) fn catch() -> io::Result<Self> {
        let came = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order the second signal finds the flag set.
            let ends = 128 + signal;
            signal_hook::flag::register_conditional_shutdown(signal, ends, Arc::clone(&came))?;
            signal_hook::flag::register(signal, Arc::clone(&came))?;
        }
        Ok(Self(came))
    }

    #[must_use]
    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Gives up once one came.
    pub(crate) fn heed(&self) -> Result<(), Failure> {
        if self.came() { Err(Failure::broken("interrupted")) } else { Ok(()) }
    }
}
