//! What was measured, as Markdown, side by side, with what it is held against.
//!
//! Of all that was measured of one thing the median is shown; a ratio is the median of those of
//! measurements that were made one after the other.

use std::collections::BTreeMap;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Arm {
    /// The kernel, of real cgroups.
    Cgroupfs,
    /// libfuse's example as it is shipped.
    HelloLl,
    /// It with our files and options.
    Libfuse,
    KernfsFuse,
    /// The real cgroups once more, through kernfs-fuse.
    Mirror,
}

const ARMS: [Arm; 5] = [Arm::Cgroupfs, Arm::HelloLl, Arm::Libfuse, Arm::KernfsFuse, Arm::Mirror];

impl Arm {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::HelloLl => "hello_ll as shipped",
            Self::Libfuse => "libfuse",
            Self::KernfsFuse => "kernfs-fuse",
            Self::Mirror => "mirror",
        }
    }

    /// Whether it tells watchers anything.
    pub(super) fn tells(self) -> bool {
        matches!(self, Self::Cgroupfs | Self::KernfsFuse | Self::Mirror)
    }
}

/// What is measured. Times are in nanoseconds, sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Quantity {
    Read,
    ReadCpu,
    Pread,
    PreadCpu,
    Readdir,
    ReaddirCpu,
    Lookup,
    Change,
    ChangeCpu,
    Removal,
    RemovalCpu,
    ChangeMedian,
    ChangeTail,
    RemovalMedian,
    RemovalTail,
    Memory,
}

/// Each row, with the budget of design.md 7.
const ROWS: [(Quantity, &str, &str); 16] = {
    use Quantity::*;
    [
        (Read, "open, read, close", "1.05"),
        (ReadCpu, "… the server's CPU", ""),
        (Pread, "pread of an open file", "1.05"),
        (PreadCpu, "… the server's CPU", ""),
        (Readdir, "readdir of {many}, an entry", ""),
        (ReaddirCpu, "… the server's CPU", ""),
        (Lookup, "lookup: stat of a file not seen before", ""),
        (Change, "one of many changes in a row", ""),
        (ChangeCpu, "… the server's CPU", ""),
        (Removal, "one of many removals in a row", ""),
        (RemovalCpu, "… the server's CPU", ""),
        (ChangeMedian, "from a change to `MODIFY`, p50", ""),
        (ChangeTail, "… p99", ""),
        (RemovalMedian, "from a removal to `DELETE_SELF`, p50", ""),
        (RemovalTail, "… p99", ""),
        (Memory, "memory a cgroup", ""),
    ]
};

#[derive(Debug, Default)]
pub(super) struct Report {
    samples: BTreeMap<(Quantity, Arm), Vec<f64>>,
}

impl Report {
    pub(super) fn add(&mut self, quantity: Quantity, arm: Arm, value: f64) {
        self.samples.entry((quantity, arm)).or_default().push(value);
    }

    fn samples(&self, quantity: Quantity, arm: Arm) -> &[f64] {
        self.samples.get(&(quantity, arm)).map_or(&[], Vec::as_slice)
    }

    /// kernfs-fuse to libfuse.
    fn ratio(&self, quantity: Quantity) -> Option<f64> {
        let [own, other] = [Arm::KernfsFuse, Arm::Libfuse].map(|arm| self.samples(quantity, arm));
        median(own.iter().zip(other).map(|(own, other)| own / other).collect())
    }

    /// The table, with so many entries in the large directory.
    pub(super) fn print(&self, many: usize) {
        let heads = ARMS.map(Arm::name).join(" | ");
        println!("| what | {heads} | kernfs-fuse to libfuse | budget |");
        println!("|---|{}--:|--:|", "--:|".repeat(ARMS.len()));
        for (quantity, label, budget) in ROWS {
            let cells = ARMS.map(|arm| {
                let median = median(self.samples(quantity, arm).to_vec());
                median.map_or_else(String::new, |value| show(quantity, value))
            });
            let ratio = self.ratio(quantity).map_or_else(String::new, |it| format!("{it:.2}"));
            let label = label.replace("{many}", &many.to_string());
            println!("| {label} | {} | {ratio} | {budget} |", cells.join(" | "));
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn show(quantity: Quantity, value: f64) -> String {
    match quantity {
        Quantity::Memory => format!("{value:.0} B"),
        Quantity::Readdir | Quantity::ReaddirCpu => format!("{value:.0} ns"),
        _ => format!("{:.2} µs", value / 1e3),
    }
}
