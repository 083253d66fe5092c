//! The locks and atomics of this crate, or loom's in their place.
//!
//! `Arc` stays std's: reference counts decide no schedule here, and loom's
//! cannot hold a `dyn Object`.

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

/// Locks, also after a panic elsewhere: no critical section of this crate runs
/// foreign code, so what a mutex guards is whole whenever it is free.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
