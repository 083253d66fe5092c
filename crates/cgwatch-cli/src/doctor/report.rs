//! How the facts are shown: to people, or as one JSON object.

use std::fmt::Write as _;

use anstyle::Style;
use cgwatch::{Answer, Printable};
use serde::Serialize;
use serde_json::{Value, json};

use super::facts::{Choice, Facts};
use crate::{
    limits::Bound,
    people::{BOLD, DIM, GREEN, RED, YELLOW, printable},
};

/// For people.
pub(super) fn text(facts: &Facts, coloured: bool) -> String {
    let mut page = Page { text: String::new(), coloured };
    page.heading("Kernel and mount");
    page.row("kernel", &facts.kernel);
    page.row("cgroup", &printable(facts.cgroup.as_os_str().as_encoded_bytes()));
    match &facts.mount {
        None => page.row("mount", "not in /proc/self/mountinfo"),
        Some(mount) => {
            let point = printable(mount.point.as_os_str().as_encoded_bytes());
            let root = printable(mount.root.as_os_str().as_encoded_bytes());
            page.row("mount", &format!("{point}, showing {root}"));
            let options = [mount.options.join(","), mount.hierarchy_options.join(",")];
            let options = options.map(|options| printable(options.as_bytes()));
            page.row("mount options", &format!("{}; of the hierarchy: {}", options[0], options[1]));
        }
    }
    page.row("controllers of the root", &list(facts.root_controllers.as_deref()));
    page.row("controllers here", &list(facts.controllers.as_deref()));
    page.row("given to children", &list(facts.subtree_control.as_deref()));
    let missing = match facts.unlistable {
        0 => String::new(),
        many => format!(" ({many} of them cannot be listed)"),
    };
    page.row("cgroups at and below", &format!("{}{missing}", facts.cgroups));
    limits(&mut page, facts);
    capabilities(&mut page, facts);
    page.heading("cgwatch watch");
    match &facts.choice {
        Choice::Strategy { name, because, watches } => {
            page.row("strategy", &format!("{name}, because {because}"));
            let shortage = match facts.limits.watches_left() {
                Some((left, setting)) if left < *watches => {
                    format!(", but {left} are left: raise {setting}, or the rest is only swept")
                }
                _ => String::new(),
            };
            page.row("watches needed", &format!("at most {watches}{shortage}"));
        }
        Choice::Failure(why) => page.row("would fail", why),
    }
    page.text
}

fn list(controllers: Option<&str>) -> String {
    match controllers {
        None => "not readable".to_owned(),
        Some("") => "none".to_owned(),
        Some(list) => printable(list.as_bytes()),
    }
}

fn limits(page: &mut Page, facts: &Facts) {
    page.heading("Limits");
    for limit in &facts.limits.list {
        let _ = write!(page.text, "  {:<32}", limit.name);
        let value = match limit.bound {
            Bound::At(value) => value.to_string(),
            Bound::Unlimited => "unlimited".to_owned(),
            Bound::Unknown => "unknown".to_owned(),
        };
        match limit.used {
            Some(used) => {
                let _ = write!(page.text, "{used:>10} of {value:<12}");
            }
            None => {
                let _ = write!(page.text, "{:>14}{value:<12}", "");
            }
        }
        page.styled(DIM, limit.what);
        page.text.push('\n');
    }
    let counted = format!("in use: by the processes of user {}", facts.limits.user);
    let note = match facts.limits.unseen_processes {
        0 => counted,
        many => format!("{counted}, except {many} that cannot be looked into"),
    };
    page.text.push_str("  ");
    page.styled(DIM, &note);
    page.text.push('\n');
}

fn capabilities(page: &mut Page, facts: &Facts) {
    page.heading("Capabilities");
    for capability in facts.capabilities.iter() {
        let _ = write!(page.text, "  {:<32}", capability.name);
        let style = match capability.answer {
            Answer::Yes => GREEN,
            Answer::No => RED,
            Answer::Unknown => YELLOW,
        };
        page.styled(style, capability.answer.name());
        let gap = 9_usize.saturating_sub(capability.answer.name().len());
        // What it names stands in it as it is safe to show.
        let evidence = Printable::message(&capability.evidence);
        let _ = writeln!(page.text, "{:gap$}{evidence}", "");
        let _ = write!(page.text, "  {:<32}{:9}", "", "");
        page.styled(DIM, capability.meaning);
        page.text.push('\n');
    }
}

struct Page {
    text: String,
    coloured: bool,
}

impl Page {
    fn heading(&mut self, heading: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.styled(BOLD, heading);
        self.text.push('\n');
    }

    fn row(&mut self, name: &str, value: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "  {name:<32}{value}");
    }

    fn styled(&mut self, style: Style, text: &str) {
        if self.coloured {
            let _ = write!(self.text, "{style}{text}{style:#}");
        } else {
            self.text.push_str(text);
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    v: u32,
    kernel: &'a str,
    cgroup: String,
    mount: Option<Value>,
    controllers: Value,
    cgroups: u64,
    unlistable: u64,
    limits: Vec<Value>,
    limits_counted: Value,
    capabilities: Vec<Value>,
    watch: Value,
}

/// For programs; on one line. Fields are only ever added.
pub(super) fn json(facts: &Facts) -> String {
    let split = |list: &Option<String>| -> Value {
        list.as_ref().map_or(Value::Null, |list| list.split_whitespace().collect())
    };
    let report = Report {
        v: 1,
        kernel: &facts.kernel,
        cgroup: facts.cgroup.to_string_lossy().into_owned(),
        mount: facts.mount.as_ref().map(|mount| {
            json!({
                "point": mount.point.to_string_lossy(),
                "root": mount.root.to_string_lossy(),
                "options": mount.options,
                "hierarchy_options": mount.hierarchy_options,
            })
        }),
        controllers: json!({
            "root": split(&facts.root_controllers),
            "here": split(&facts.controllers),
            "subtree_control": split(&facts.subtree_control),
        }),
        cgroups: facts.cgroups,
        unlistable: facts.unlistable,
        limits: facts
            .limits
            .list
            .iter()
            .map(|limit| {
                let known = limit.bound != Bound::Unknown;
                json!({
                    "name": limit.name,
                    "value": limit.value(),
                    "known": known,
                    "used": limit.used,
                })
            })
            .collect(),
        limits_counted: json!({
            "user": facts.limits.user,
            "unseen_processes": facts.limits.unseen_processes,
        }),
        capabilities: facts
            .capabilities
            .iter()
            .map(|capability| {
                json!({
                    "name": capability.name,
                    "answer": capability.answer.name(),
                    "evidence": capability.evidence,
                    "meaning": capability.meaning,
                })
            })
            .collect(),
        watch: match &facts.choice {
            Choice::Strategy { name, because, watches } => {
                let left = facts.limits.watches_left().map(|(left, _)| left);
                json!({
                    "strategy": name,
                    "because": because,
                    "watches": watches,
                    "watches_left": left,
                })
            }
            Choice::Failure(why) => json!({"strategy": null, "error": why}),
        },
    };
    // Strings and numbers only: nothing here fails.
    let report = serde_json::to_string(&report).unwrap_or_default();
    Printable::json(&report).into_owned()
}
