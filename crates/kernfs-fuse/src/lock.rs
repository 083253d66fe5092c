//! Locking that goes on after a panic elsewhere: no critical section of this
//! crate runs foreign code, so what a mutex guards is whole whenever it is
//! free.

use std::sync::{Mutex, MutexGuard};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
