//! The locks and atomics of this crate, or loom's in their place.
//! `Arc` stays std's: it decides no schedule here.

use std::time::Instant;

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering},
};
#[cfg(not(loom))]
use std::thread;
#[cfg(not(loom))]
pub(crate) use std::thread::ThreadId;

#[cfg(loom)]
pub(crate) use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering},
};
#[cfg(loom)]
use loom::thread;
#[cfg(loom)]
pub(crate) use loom::thread::ThreadId;

/// Which thread this is.
pub(crate) fn this_thread() -> ThreadId {
    thread::current().id()
}

/// Locks, also after a panic elsewhere: no critical section of this crate runs
/// foreign code (attributes run under an active reference, not a lock), so
/// what a mutex guards is whole whenever it is free.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Waits on a condition variable, with the same view of poisoning.
pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// As [`wait`], to a moment at the latest if there is one; the models know no time.
pub(crate) fn wait_until<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    end: Option<Instant>,
) -> MutexGuard<'a, T> {
    #[cfg(not(loom))]
    if let Some(end) = end {
        let left = end.saturating_duration_since(Instant::now());
        return condvar
            .wait_timeout(guard, left)
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .0;
    }
    #[cfg(loom)]
    let _ = end;
    wait(condvar, guard)
}
