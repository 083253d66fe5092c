//! What the mirror cannot see, as sentences for who runs it.

use std::fmt;

use cgwatch::GapReason;

/// Takes a sentence.
pub(crate) type Warn = Box<dyn FnMut(&str) + Send>;

/// Why something is looked at every so often only.
#[derive(Default)]
pub(crate) struct Trouble {
    /// Of the first time.
    pub(crate) first: Option<String>,
    pub(crate) warn: Option<Warn>,
}

impl Trouble {
    /// A gap was told.
    pub(crate) fn note(&mut self, reason: &GapReason) {
        let Some(sentence) = sentence(reason) else { return };
        if let Some(warn) = &mut self.warn {
            warn(&sentence);
        }
        self.first.get_or_insert(sentence);
    }
}

/// `None` of what is made good at once.
fn sentence(reason: &GapReason) -> Option<String> {
    Some(match reason {
        GapReason::WatchLimit { limit, .. } => format!("no more watches: raise {limit}"),
        GapReason::DescriptorLimit { limit, .. } => {
            format!("no more files can be opened: raise {limit} (`ulimit -n`, or sysctl(8))")
        }
        GapReason::Inaccessible { cgroup, errno } => {
            format!("something of {} cannot be looked at: {errno}", cgroup.path)
        }
        _ => return None,
    })
}

impl fmt::Debug for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trouble").field("first", &self.first).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn each_limit_is_said_and_the_first_is_kept() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&said);
        let warn = move |text: &str| to.lock().unwrap().push(text.to_owned());
        let mut trouble = Trouble { first: None, warn: Some(Box::new(warn)) };
        trouble.note(&GapReason::QueueOverflow);
        trouble.note(&GapReason::DescriptorLimit { limit: "RLIMIT_NOFILE".into(), value: None });
        trouble.note(&GapReason::WatchLimit { limit: "x.max_watches".into(), value: Some(1) });
        let path = cgwatch::CgroupPath::new(b"/a");
        let cgroup = cgwatch::Cgroup { n: 1, id: None, root_id: 1, path };
        trouble.note(&GapReason::Inaccessible { cgroup, errno: rustix::io::Errno::ACCESS });
        let said = said.lock().unwrap();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[2].contains("/a") && said[2].contains("ermission"), "{said:?}");
        assert!(said[0].contains("ulimit -n") && said[1].contains("x.max_watches"), "{said:?}");
        assert_eq!(trouble.first.as_ref(), said.first());
    }
}
