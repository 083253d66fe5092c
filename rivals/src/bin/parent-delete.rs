//! A watch on each event file, and one on each directory for births and, by `IN_DELETE`, removals:
//! the workaround that doubles the watches.

use anyhow::Result;
use rivals::{Births, News, Tree, place};
use rustix::event::{PollFd, PollFlags, poll};

fn main() -> Result<()> {
    let (root, file) = place()?;
    let mut tree = Tree::watch(root, file, Births::AndDeaths, true)?;
    tree.voice.ready();
    loop {
        tree.voice.flush()?;
        poll(&mut [PollFd::new(&tree, PollFlags::IN)], None)?;
        for news in tree.take()? {
            let suspects = match news {
                News::Gone(path) => tree.id(&path).into_iter().collect(),
                News::Overflow => tree.ids(),
                News::Born(_) | News::Read(_) => continue,
            };
            for id in suspects {
                // The name may have a new bearer already.
                if !tree.exists(id) {
                    // Whoever was born meanwhile is watched already.
                    let _ = tree.bury(id);
                }
            }
        }
    }
}
