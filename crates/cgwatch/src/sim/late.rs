//! A death that is told late: rmdir(2) takes a cgroup away first and tells of it last, and may be
//! interrupted in between for as long as the machine is busy.

use crate::world::Notification;

/// What is still to be told.
#[derive(Debug, Default)]
pub(super) struct Late(Option<Death>);

#[derive(Debug)]
struct Death {
    parent: u64,
    name: Box<[u8]>,
    id: u64,
}

impl Late {
    /// Whether there is one, and not the one that is `withheld`.
    pub(super) fn is_due(&self, withheld: Option<u64>) -> bool {
        self.0.as_ref().is_some_and(|death| Some(death.id) != withheld)
    }

    /// Tells it, if it is due.
    pub(super) fn tell(&mut self, withheld: Option<u64>, each: &mut dyn FnMut(Notification<'_>)) {
        if let Some(Death { parent, name, id }) = self.0.take_if(|death| Some(death.id) != withheld)
        {
            each(Notification::DeletedIn { parent, name: &name, id });
        }
    }

    /// Keeps the death that is withheld; tells anything else.
    pub(super) fn pass(
        &mut self,
        withheld: Option<u64>,
        notification: Notification<'_>,
        each: &mut dyn FnMut(Notification<'_>),
    ) {
        match notification {
            Notification::DeletedIn { parent, name, id } if Some(id) == withheld => {
                self.0 = Some(Death { parent, name: name.into(), id });
            }
            other => each(other),
        }
    }
}
