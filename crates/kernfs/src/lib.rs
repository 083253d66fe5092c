//! A kernfs tree in a process: files whose content is computed, whose changes
//! are announced, and whose removal says so.
//!
//! Three layers, as on Linux, and kept apart:
//! 1. **nodes** ([`Tree`], [`Node`]): what exists, and whether it is usable;
//! 2. **the VFS cache** behind a mount ([`SuperBlock`]): inodes and dentries,
//!    which come with lookup, go with [`SuperBlock::reclaim`], and are held by
//!    open files, pins and marks, as Linux's are;
//! 3. **marks** of [`fsnotify`] groups, on inodes and super blocks.
//!
//! On Linux events are a property of the second layer, which is why so many of
//! them are lost; how it is here, the tree's [`Profile`] says.
//!
//! # Lock order
//! From first to last; none is held while an attribute, a system call of the
//! tree or a group is called, but for the first two.
//! 1. the notifier's turn (`Notifier::delivery`): one deliverer at a time;
//!    held while groups are told, so their hooks must not drain the tree;
//! 2. an active reference ([`Operation`]): held while an attribute runs; not a
//!    lock, but removal waits for it;
//! 3. a mount's dentry cache (kernel: `d_lock` and the rest of fs/dcache.c);
//! 4. links (`Core::moving`; kernel: `kernfs_rwsem`); what a removal does under
//!    it in one step: `remove.rs`;
//! 5. one directory's children, two under `moving`;
//! 6. activation and draining (`Core::draining`), a node's place, its rarer
//!    facts, a mount's inode table, what lost its dentry there, the ids, the
//!    list of mounts: leaves;
//! 7. sleepers of polls (`Core::poll`);
//! 8. the notifier's list (kernel: `kernfs_notify_lock`), a leaf.
//!
//! Inodes are dropped, and events sent, when no lock is held: the last
//! reference to an inode closes its marks, which takes locks of `fsnotify`.
//!
//! # What it does not do
//! Symbolic links, times, memory mappings, namespaces of
//! one tree. Permissions are kept and not enforced.

mod active;
mod attribute;
mod children;
mod core;
mod credentials;
mod error;
mod id;
mod listener;
mod node;
mod notify;
mod open;
mod permissions;
mod profile;
mod remove;
mod sync;
mod tree;
mod vfs;
mod xattr;

pub use self::{
    active::Operation,
    attribute::Attribute,
    children::Listing,
    credentials::Credentials,
    error::Error,
    listener::Listener,
    node::{Entry, Node},
    open::OpenFile,
    permissions::Permissions,
    profile::{Answer, Capabilities, Profile},
    tree::{Options, Tree},
    vfs::{Access, Cached, File, Pin, Ready, Stat, SuperBlock, SystemCalls},
    xattr::SetXattr,
};
