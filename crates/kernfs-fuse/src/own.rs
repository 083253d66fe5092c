//! The server's own threads, recognised in requests by their thread id, which
//! no other thread can have while they live.

use std::sync::{Arc, Mutex};

use crate::{lock::lock, shared::Shared};

#[derive(Default)]
pub(crate) struct OwnThreads(Mutex<Vec<u32>>);

impl OwnThreads {
    pub(crate) fn contains(&self, thread: u32) -> bool {
        lock(&self.0).contains(&thread)
    }
}

/// The present thread, known to a mount as its server's own for as long as
/// this lives: its `mkdir`, `rmdir` and `utimensat` on a read-only mount are
/// let through, and its `utimensat` changes nothing. See
/// [`Mount::own_thread`](crate::Mount::own_thread).
pub struct OwnThread {
    shared: Arc<Shared>,
    thread: u32,
    /// Not to be dropped by another thread.
    _here: std::marker::PhantomData<*const ()>,
}

impl OwnThread {
    pub(crate) fn enter(shared: &Arc<Shared>) -> Self {
        let thread = thread_id();
        lock(&shared.own.0).push(thread);
        Self { shared: Arc::clone(shared), thread, _here: std::marker::PhantomData }
    }
}

/// The present thread, as the kernel names it in a request.
pub(crate) fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}

impl std::fmt::Debug for OwnThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnThread").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        let mut threads = lock(&self.shared.own.0);
        if let Some(at) = threads.iter().position(|thread| *thread == self.thread) {
            threads.swap_remove(at);
        }
    }
}
