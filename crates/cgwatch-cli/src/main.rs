//! The command `cgwatch`.
fn main() {}
