//! What programs that know nothing of this project get from `cgwatch mirror`: the command in a
//! process of its own, the cgroups moved by the driver, and clients that know inotify alone.

mod client;
mod life;
mod load;
mod refused;
mod removal;
mod server;

use client::Client;
use server::Server;

use crate::{
    Requirement::{Command, Fuse, Guest, Memory},
    Scenario,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("mirror-removal", removal::plain).needs(&[Fuse, Command]),
    Scenario::new("mirror-removal-held-on-host", removal::held_on_host).needs(&[Fuse, Command]),
    Scenario::new("mirror-removal-held", removal::held).needs(&[Fuse, Command]),
    Scenario::new("mirror-removal-held-by-path", removal::held_by_path).needs(&[Fuse, Command]),
    Scenario::new("mirror-removal-read-meanwhile", removal::read_meanwhile).needs(&[Fuse, Command]),
    Scenario::new("mirror-removal-after-change", removal::after_change).needs(&[Fuse, Command]),
    Scenario::new("mirror-removal-reclaimed", removal::reclaimed).needs(&[Fuse, Command, Guest]),
    Scenario::new("mirror-oom-kill", removal::oom_kill).needs(&[Fuse, Command, Memory]),
    Scenario::new("mirror-kills-at-once", removal::kills_at_once).needs(&[Fuse, Command, Memory]),
    Scenario::new("mirror-controller-off", removal::controller_off).needs(&[Fuse, Command]),
    Scenario::new("mirror-parents", removal::parents).needs(&[Fuse, Command]),
    Scenario::new("mirror-of-the-root", life::of_the_root).needs(&[Fuse, Command]),
    Scenario::new("mirror-two", life::two).needs(&[Fuse, Command]),
    Scenario::new("mirror-ended-while-held", life::ended_while_held).needs(&[Fuse, Command]),
    Scenario::new("mirror-killed", life::killed).needs(&[Fuse, Command]).seconds(180),
    Scenario::new("mirror-refuses", refused::every_change).needs(&[Fuse, Command]),
    Scenario::new("mirror-load", load::births_and_deaths).needs(&[Fuse, Command]).seconds(240),
    Scenario::new("mirror-readers", load::readers).needs(&[Fuse, Command]).seconds(120),
];
