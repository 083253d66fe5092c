//! What the files say (kernel: the `seq_show` functions of kernel/cgroup/cgroup.c, mm/memcontrol.c,
//! kernel/cgroup/pids.c).

use std::{
    collections::BTreeSet,
    fmt::{Arguments, Display},
    io::Write as _,
};

use rustix::io::Errno;

use crate::{
    Controllers, Event,
    controller::{Body, Css},
    file::File,
    memory::{Memory, PAGE},
    pids::Pids,
    state::State,
};

/// Appends a line; writing to memory does not fail.
fn line(content: &mut Vec<u8>, text: Arguments<'_>) {
    let _ = writeln!(content, "{text}");
}

impl State {
    /// Appends what a file of a living cgroup says.
    pub(crate) fn show(&self, at: usize, file: File, content: &mut Vec<u8>) -> Result<(), Errno> {
        if !file.can_be_read() {
            return Err(Errno::INVAL);
        }
        match file.controller() {
            None => self.show_base(at, file, content),
            Some(controller) => {
                let state = self.cgroups[at].states[controller.index()].ok_or(Errno::NODEV)?;
                let css = &self.states[state];
                match &css.body {
                    Body::Memory(memory) => self.show_memory(css, memory, file, content),
                    Body::Pids(pids) => self.show_pids(css, pids, file, content),
                    Body::Plain => show_plain(css, file, content),
                }
                Ok(())
            }
        }
    }

    fn show_base(&self, at: usize, file: File, content: &mut Vec<u8>) -> Result<(), Errno> {
        let cgroup = &self.cgroups[at];
        match file {
            File::Type => line(content, format_args!("{}", self.kind(at))),
            File::Procs => {
                if cgroup.threaded {
                    return Err(Errno::OPNOTSUPP);
                }
                for process in self.processes(at) {
                    line(content, format_args!("{process}"));
                }
            }
            File::Threads => {
                for pid in &cgroup.tasks {
                    line(content, format_args!("{pid}"));
                }
            }
            File::Controllers => show_controllers(self.control(at), content),
            File::SubtreeControl => show_controllers(cgroup.subtree_control, content),
            File::Events => {
                line(content, format_args!("populated {}", u8::from(cgroup.is_populated())));
                line(content, format_args!("frozen {}", u8::from(cgroup.freezer.frozen)));
            }
            File::MaxDescendants => show_limit(cgroup.max_descendants, content),
            File::MaxDepth => show_limit(cgroup.max_depth, content),
            File::Stat => {
                line(content, format_args!("nr_descendants {}", cgroup.descendants));
                line(content, format_args!("nr_dying_descendants {}", cgroup.dying_descendants));
            }
            File::Freeze => line(content, format_args!("{}", u8::from(cgroup.freezer.freeze))),
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }

    /// The processes that have their first thread in a cgroup or in a threaded one of its domain.
    fn processes(&self, at: usize) -> BTreeSet<u32> {
        let mut all = BTreeSet::new();
        let mut stack = vec![at];
        while let Some(at) = stack.pop() {
            let cgroup = &self.cgroups[at];
            let leads = |pid: &&u32| self.tasks.get(*pid).is_some_and(|task| task.process == **pid);
            all.extend(cgroup.tasks.iter().filter(leads));
            let children = cgroup.children.values();
            stack.extend(children.filter(|child| self.cgroups[**child].threaded));
        }
        all
    }

    fn show_memory(&self, css: &Css, memory: &Memory, file: File, content: &mut Vec<u8>) {
        match file {
            File::MemoryCurrent => show_pages(memory.usage, content),
            File::MemoryPeak => show_pages(memory.peak, content),
            File::MemoryMin => show_pages(memory.min, content),
            File::MemoryLow => show_pages(memory.low, content),
            File::MemoryHigh => show_pages(memory.high, content),
            File::MemoryMax => show_pages(memory.max, content),
            File::MemoryOomGroup => line(content, format_args!("{}", u8::from(memory.oom_group))),
            File::SwapCurrent => show_pages(memory.swap, content),
            File::SwapHigh => show_pages(memory.swap_high, content),
            File::SwapMax => show_pages(memory.swap_max, content),
            _ => show_counters(css, file, content),
        }
    }

    fn show_pids(&self, css: &Css, pids: &Pids, file: File, content: &mut Vec<u8>) {
        match file {
            File::PidsMax => show_limit(pids.max, content),
            File::PidsCurrent => line(content, format_args!("{}", pids.current)),
            File::PidsPeak => line(content, format_args!("{}", pids.peak)),
            // Kernel: `__pids_events_show`.
            _ => {
                let (max, forks) = (Event::PidsMax.slot(), Event::PidsForkFail.slot());
                let local = self.options.mount.pids_localevents || !self.options.pids_sums;
                let times = match file {
                    _ if local => css.local[forks],
                    File::PidsEventsLocal => css.local[max],
                    _ => css.sums[max],
                };
                line(content, format_args!("max {times}"));
            }
        }
    }
}

fn show_plain(css: &Css, file: File, content: &mut Vec<u8>) {
    if css.controller == Controllers::HUGETLB {
        show_counters(css, file, content);
    }
}

/// The lines of an event file.
fn show_counters(css: &Css, file: File, content: &mut Vec<u8>) {
    let local = matches!(file, File::MemoryEventsLocal | File::HugetlbEventsLocal);
    let counters = if local { &css.local } else { &css.sums };
    for event in Event::ALL {
        let told = event.controller() == css.controller && event.file() == base(file);
        if told {
            line(content, format_args!("{} {}", event.key(), counters[event.slot()]));
        }
    }
}

/// The file whose keys a `.local` twin has.
fn base(file: File) -> &'static str {
    file.name().strip_suffix(".local").unwrap_or(file.name())
}

fn show_controllers(controllers: Controllers, content: &mut Vec<u8>) {
    if !controllers.is_empty() {
        line(content, format_args!("{controllers}"));
    }
}

fn show_limit(limit: Option<impl Display>, content: &mut Vec<u8>) {
    match limit {
        Some(limit) => {
            line(content, format_args!("{limit}"));
        }
        None => {
            line(content, format_args!("max"));
        }
    }
}

/// Bytes; `max` for no limit.
fn show_pages(pages: u64, content: &mut Vec<u8>) {
    show_limit(pages.checked_mul(PAGE), content);
}
