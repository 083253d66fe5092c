//! What was measured, as Markdown, side by side, with what it is held against.
//!
//! Of all that was measured of one thing the first quartile is shown (of a rate, the last): what
//! else the machine does can only add to a cost.

use std::collections::BTreeMap;

/// Who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Arm {
    /// Nobody.
    Alone,
    CLoop,
    /// cgwatch, by one strategy or the other.
    Inotify,
    Fanotify,
}

impl Arm {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Alone => "nobody",
            Self::CLoop => "C loop",
            Self::Inotify => "inotify",
            Self::Fanotify => "fanotify",
        }
    }
}

/// What is measured. Times are in nanoseconds, sizes in bytes, rates by the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Quantity {
    QueuedChange,
    SingleChange,
    Rate,
    Birth,
    Death,
    StartCpu,
    StartWall,
    StartFewCpu,
    Memory,
    Kernel,
    RemovalMedian,
    RemovalTail,
    Mkdir,
    Rmdir,
    ForkInside,
    ForkInto,
}

/// What watching costs the watcher, with the budget of design.md 7.
const WATCHER: [(Quantity, &str, Unit, &str); 12] = {
    use Quantity::*;
    use Unit::*;
    [
        (QueuedChange, "CPU a change, taken from a full queue", Microseconds, "1.25"),
        (SingleChange, "CPU a change, one by one", Microseconds, "1.25"),
        (Rate, "changes a second, from a full queue", PerSecond, ""),
        (Birth, "CPU a birth", Microseconds, ""),
        (Death, "CPU a death", Microseconds, ""),
        (StartCpu, "start: CPU a cgroup, of {many}", Microseconds, "1.50"),
        (StartWall, "start: time a cgroup, of {many}", Microseconds, "1.50"),
        (StartFewCpu, "start: CPU a cgroup, of {few}", Microseconds, "1.50"),
        (Memory, "memory a cgroup, of {many}", Bytes, "1024 B"),
        (Kernel, "kernel memory a cgroup, of {many}", Bytes, ""),
        (RemovalMedian, "from rmdir to `removed`, p50", Microseconds, ""),
        (RemovalTail, "from rmdir to `removed`, p99", Microseconds, ""),
    ]
};

/// What it costs the others on the host.
const HOST: [(Quantity, &str, Unit); 4] = [
    (Quantity::Mkdir, "mkdir", Unit::Microseconds),
    (Quantity::Rmdir, "rmdir", Unit::Microseconds),
    (Quantity::ForkInside, "fork+exit in a populated cgroup", Unit::Microseconds),
    (Quantity::ForkInto, "fork+exit into an empty cgroup", Unit::Microseconds),
];

/// How a number is shown.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    Microseconds,
    PerSecond,
    Bytes,
}

impl Unit {
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::Microseconds => format!("{:.2} µs", value / 1e3),
            Self::PerSecond => format!("{value:.0} /s"),
            Self::Bytes => format!("{value:.0} B"),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Report {
    samples: BTreeMap<(Quantity, Arm), Vec<f64>>,
}

impl Report {
    pub(super) fn add(&mut self, quantity: Quantity, arm: Arm, value: f64) {
        self.samples.entry((quantity, arm)).or_default().push(value);
    }

    /// A quarter of the measurements was better.
    fn quartile(&self, quantity: Quantity, arm: Arm) -> f64 {
        let mut values = self.samples.get(&(quantity, arm)).cloned().unwrap_or_default();
        values.sort_by(f64::total_cmp);
        if quantity == Quantity::Rate {
            values.reverse();
        }
        values.get(values.len() / 4).copied().unwrap_or(f64::NAN)
    }

    /// The tables, of so many cgroups for most of it, and a few for the rest.
    pub(super) fn print(&self, many: usize, few: usize) {
        println!("| what | C loop | inotify | ratio | fanotify | ratio | budget |");
        println!("|---|--:|--:|--:|--:|--:|--:|");
        for (quantity, label, unit, budget) in WATCHER {
            let label =
                label.replace("{many}", &many.to_string()).replace("{few}", &few.to_string());
            let of = |arm| self.quartile(quantity, arm);
            let c_loop = of(Arm::CLoop);
            print!("| {label} | {} ", unit.show(c_loop));
            for value in [Arm::Inotify, Arm::Fanotify].map(of) {
                print!("| {} | {:.2} ", unit.show(value), value / c_loop);
            }
            println!("| {budget} |");
        }
        println!();
        println!(
            "| cost to the host | nobody watches | C loop | inotify | ratio | fanotify | ratio |"
        );
        println!("|---|--:|--:|--:|--:|--:|--:|");
        for (quantity, label, unit) in HOST {
            let of = |arm| self.quartile(quantity, arm);
            let alone = of(Arm::Alone);
            print!("| {label} | {} | {} |", unit.show(alone), unit.show(of(Arm::CLoop)));
            for value in [Arm::Inotify, Arm::Fanotify].map(of) {
                print!(" {} | {:.2} |", unit.show(value), value / alone);
            }
            println!();
        }
    }
}
