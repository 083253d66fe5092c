//! What was found out, as Markdown.

use std::fmt::Write as _;

use anyhow::Result;
use field::score::Share;
use field::{Burden, Entry, Host, Latency, Run};

use super::{Guest, Native, Results, contenders};

/// One rival in one line, while others still run.
pub(super) fn line(entry: &Entry) -> String {
    let name = &entry.rival;
    match &entry.result {
        Err(reason) => format!("{name}: not run: {reason}"),
        Ok(run) => {
            let score = &run.score;
            let died = run.died.as_ref().map(|word| format!(", DIED: {word}")).unwrap_or_default();
            format!(
                "{name}: changes {} + {}, removals {} + {}, kills {} + {}, twice {}, invented {} + \
                 {}, CPU {:.2} s, {:.0} s{died}",
                share(score.changes),
                share(score.newborn_changes),
                share(score.removals),
                share(score.newborn_removals),
                share(score.kills),
                share(score.newborn_kills),
                score.duplicated,
                score.invented,
                score.invented_kills,
                run.cpu,
                run.wall,
            )
        }
    }
}

/// With a line for the picture, if there is one.
pub(super) fn render(results: &Results, has_picture: bool) -> Result<String> {
    let mut text = String::new();
    text.push_str(include_str!("preface.md"));
    let Native { date, machine, .. } = &results.native;
    writeln!(text, "\nMeasured on {date} on {machine}.\n")?;
    if has_picture {
        writeln!(text, "![processor time and lost removals](field.svg)\n")?;
    }
    writeln!(text, "| rival | what it is | waits for the kernel |\n|---|---|---|")?;
    for (name, what, event_driven) in contenders::described() {
        writeln!(text, "| {name} | {what} | {} |", if event_driven { "yes" } else { "no" })?;
    }
    for (number, alone) in &results.native.alone {
        let entries = results.native.entries.iter().filter(|entry| entry.cgroups == *number);
        let entries: Vec<_> = entries.collect();
        writeln!(text, "\n## {number} cgroups")?;
        told(&mut text, &entries)?;
        cost(&mut text, &entries)?;
        felt(&mut text, &entries, alone)?;
        not_run(&mut text, &entries)?;
    }
    for guest in &results.guests {
        in_guest(&mut text, guest)?;
    }
    Ok(text)
}

fn in_guest(text: &mut String, Guest { date, release, entries }: &Guest) -> Result<()> {
    let mut numbers: Vec<_> = entries.iter().map(|entry| entry.cgroups).collect();
    numbers.dedup();
    if numbers.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n## OOM kills, in a guest with Linux {release}\n")?;
    writeln!(
        text,
        "On {date}, under QEMU without KVM. Each cgroup breaches `memory.high`, is killed for memory \
         100 ms later and removed at once; newborns are killed and removed a few milliseconds after \
         their birth. The processor time is an emulated one: compare it within a table only."
    )?;
    for number in numbers {
        let entries: Vec<_> = entries.iter().filter(|entry| entry.cgroups == number).collect();
        writeln!(text, "\n### {number} cgroups")?;
        killed(text, &entries)?;
        not_run(text, &entries)?;
    }
    Ok(())
}

fn killed(text: &mut String, entries: &[&Entry]) -> Result<()> {
    writeln!(
        text,
        "\n| | OOM kills lost | newborns' OOM kills lost | kills invented | breaches of \
         `memory.high` missed | removals missed | newborns' removals missed | removals told twice | \
         invented | CPU s for the script | threads | descriptors | inotify instances | watches | left \
         behind: threads, descriptors, instances, watches |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    for (name, run) in ran(entries) {
        let score = &run.score;
        let [lost, young] = [score.kills, score.newborn_kills].map(share);
        let [high, removals] = [score.changes, score.removals].map(share);
        let (dead, twice, invented) =
            (share(score.newborn_removals), score.duplicated, score.invented);
        let Burden { threads, descriptors, instances, watches, .. } = run.during;
        let left = match &run.died {
            Some(_) => "it ended".to_owned(),
            None => {
                let Burden { threads, descriptors, instances, watches, .. } = run.left;
                format!("{threads}, {descriptors}, {instances}, {watches}")
            }
        };
        writeln!(
            text,
            "| {name} | {lost} | {young} | {} | {high} | {removals} | {dead} | {twice} | \
             {invented} | {:.2} | {threads} | {descriptors} | {instances} | {watches} | {left} |",
            score.invented_kills, run.cpu,
        )?;
    }
    Ok(())
}

fn told(text: &mut String, entries: &[&Entry]) -> Result<()> {
    writeln!(
        text,
        "\n| | changes missed | removals missed | newborns' changes missed | newborns' removals \
         missed | removals told twice | invented | change told after, ms: p50, p99, max | removal \
         told after, ms: p50, p99, max |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    for (name, run) in ran(entries) {
        let score = &run.score;
        let [changes, removals] = [score.changes, score.removals].map(share);
        let [young, dead] = [score.newborn_changes, score.newborn_removals].map(share);
        let [late, later] = [score.change_latency, score.removal_latency].map(latency);
        let (twice, invented) = (score.duplicated, score.invented);
        writeln!(
            text,
            "| {name} | {changes} | {removals} | {young} | {dead} | {twice} | {invented} | {late} \
             | {later} |"
        )?;
    }
    Ok(())
}

fn cost(text: &mut String, entries: &[&Entry]) -> Result<()> {
    writeln!(
        text,
        "\n| | CPU s to start | CPU s for the script | CPU while nothing happens | resident MiB | \
         threads | descriptors | inotify instances | watches | left behind: descriptors, \
         instances, watches |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    for (name, run) in ran(entries) {
        let Burden { resident, threads, descriptors, instances, watches } = run.during;
        let left = match &run.died {
            Some(_) => "it ended".to_owned(),
            None => {
                let Burden { descriptors, instances, watches, .. } = run.left;
                format!("{descriptors}, {instances}, {watches}")
            }
        };
        writeln!(
            text,
            "| {name} | {:.3} | {:.3} | {:.1} % | {:.1} | {threads} | {descriptors} | {instances} \
             | {watches} | {left} |",
            run.start_cpu,
            run.cpu,
            run.idle_cpu * 100.0,
            resident as f64 / 1024.0,
        )?;
    }
    Ok(())
}

fn felt(text: &mut String, entries: &[&Entry], alone: &Host) -> Result<()> {
    writeln!(
        text,
        "\n| what others feel, µs each | mkdir | rmdir | fork and exit |\n|---|--:|--:|--:|"
    )?;
    let felt = ran(entries).filter_map(|(name, run)| Some((name, run.host?)));
    for (name, Host { mkdir, rmdir, fork }) in std::iter::once(("nobody", *alone)).chain(felt) {
        let [mkdir, rmdir, fork] = [mkdir, rmdir, fork].map(|nanoseconds| nanoseconds / 1e3);
        writeln!(text, "| {name} | {mkdir:.0} | {rmdir:.0} | {fork:.0} |")?;
    }
    Ok(())
}

fn not_run(text: &mut String, entries: &[&Entry]) -> Result<()> {
    writeln!(text)?;
    for entry in entries {
        match &entry.result {
            Err(reason) => writeln!(text, "* {}: not run: {reason}", entry.rival)?,
            Ok(Run { died: Some(word), .. }) => writeln!(text, "* {} ended: {word}", entry.rival)?,
            Ok(_) => {}
        }
    }
    Ok(())
}

fn ran<'e>(entries: &'e [&Entry]) -> impl Iterator<Item = (&'e str, &'e Run)> {
    entries.iter().filter_map(|entry| Some((entry.rival.as_str(), entry.result.as_ref().ok()?)))
}

fn share(share: Share) -> String {
    format!("{} of {}", share.missed(), share.of)
}

fn latency(Latency { p50, p99, max }: Latency) -> String {
    if max == 0.0 {
        return "—".to_owned();
    }
    format!("{p50:.2}, {p99:.2}, {max:.1}")
}
