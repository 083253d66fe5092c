//! How a tree is mounted.

/// How a tree is mounted. The default is readable and, where the tree has
/// system calls, changeable by this process's user alone.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the source in `/proc/self/mountinfo`.
    pub name: String,
    /// Lets other users in; the modes and owners of the nodes decide what they
    /// may. Without it not even root may enter an ordinary user's mount.
    /// See the crate's notes on what a hostile client can reach.
    pub allow_other: bool,
    /// Clients can change nothing (`EROFS`); only threads of this process that
    /// are an [`OwnThread`](crate::OwnThread) can.
    pub read_only: bool,
    /// Threads that answer requests; at least one. Each that shows or stores
    /// something slowly is missing meanwhile.
    pub event_loops: usize,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            name: "kernfs".into(),
            allow_other: false,
            read_only: false,
            event_loops: cores.clamp(2, 8),
        }
    }
}
