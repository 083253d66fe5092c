//! The host's cgroup v2 hierarchy as a kernfs tree that announces every removal: fed by the
//! monitor, read-only, with reads that pass through to the host.
