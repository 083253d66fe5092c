//! How a kernel says that it broke: its first complaint, where it was, and the panic that ended it.
//!
//! A program cannot make a sound kernel break, so a crash says nothing of the scenario it fell in. It
//! is told in any case, and the guest is run again: what is to be shown has not been shown yet. A
//! kernel that breaks each time fails.
//!
//! The one crash of a known cause is the emulator's: a kernel patches its own code through a
//! breakpoint (`text_poke_bp`), and QEMU's threads can still run the breakpoint after it is gone, which
//! no real processor does. The kernel then panics on an `int3` that nobody set.

use std::fmt;

/// A kernel's end that no program of ours can have brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crash {
    lines: Vec<String>,
}

impl Crash {
    /// What the console shows of it. `None`: there is no panic, or one that the guest's first process
    /// or its want of memory called for.
    pub(crate) fn on(console: &str) -> Option<Self> {
        const OURS: [&str; 2] = ["Attempted to kill init", "deadlocked on memory"];
        let lines = || console.lines().map(str::trim);
        let panic = lines().find(|line| line.contains("Kernel panic"))?;
        if OURS.iter().any(|ours| panic.contains(ours)) {
            return None;
        }
        let first = |marks: &[&str]| {
            lines().find(|line| marks.iter().any(|mark| line.contains(mark))).map(str::to_owned)
        };
        let complaint = first(&["Oops: ", "BUG: ", "kernel BUG at", "general protection"]);
        let place = first(&["RIP: "]);
        let lines = complaint.into_iter().chain(place).chain([panic.to_owned()]).collect();
        Some(Self { lines })
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join(" | "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_told_with_its_complaint_and_its_place() {
        let crash = Crash::on(
            "[ 6.3] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\r\n[ 6.3] RIP: 0010:here+0x1/0x9\r\n\
             [ 6.3] RIP: 0010:there+0x2/0x9\r\n[ 6.4] Kernel panic - not syncing: Fatal exception\r\n",
        );
        assert_eq!(
            crash.map(|crash| crash.to_string()).as_deref(),
            Some(
                "[ 6.3] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI | [ 6.3] RIP: 0010:here+0x1/0x9 | \
                 [ 6.4] Kernel panic - not syncing: Fatal exception"
            )
        );
    }

    #[test]
    fn what_a_program_brought_about_is_no_crash() {
        for console in [
            "[ 1.0] all is well",
            "[ 2.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
            "[ 2.0] Kernel panic - not syncing: System is deadlocked on memory",
            "[ 2.0] Oops: 0000 [#1]\n[ 2.1] it went on",
        ] {
            assert_eq!(Crash::on(console), None, "{console}");
        }
    }
}
