//! Values: every change is the difference to what was told before.

use std::collections::{BTreeMap, HashMap, HashSet};

use cgwatch::{Event, EventKind, GapReason, Values};

use super::{Breach, Rule};

/// What was last told of each file of each instance.
type Told<'e> = HashMap<(u64, &'e str), BTreeMap<&'e str, Counter>>;

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    value: u64,
    /// Of all that was told as delta, what nobody has been named for.
    unclaimed: i128,
    /// What was told as its own, or was taken for it.
    own: i128,
}

/// Keys with two states have no delta.
fn is_state(file: &str) -> bool {
    file == "cgroup.events"
}

/// As it is when it is first told. What a file had counted that `came` may be told of others later, and
/// is taken for its own until then.
fn opened(values: &Values<u64>, came: bool) -> BTreeMap<&str, Counter> {
    let counter = |value| {
        let counted = if came { i128::from(value) } else { 0 };
        Counter { value, unclaimed: counted, own: counted }
    };
    values.iter().map(|(key, value)| (key, counter(value))).collect()
}

/// `old` is what was told before, `delta` is `new - old`, so that the deltas of a counter add up to
/// last minus first; a newborn's counters begin at zero; all that was ever told as `own` or `late` is
/// part of all the deltas, and no more of `own` is taken back than was told: where a file came to a
/// living cgroup, of those and of what it had counted when it came, since that may have been some
/// child's that was not known yet. What a removal says was read last has all been told. After a mount
/// option was switched a counter may show less.
///
/// # Errors
/// The first number that does not fit.
pub fn arithmetic(events: &[Event]) -> Rule {
    let mut told: Told<'_> = HashMap::new();
    // What is read of one cgroup may be told before the gap that says so; and of several gaps that
    // wait to be told, the first stands for all.
    let is_switch = |event: &Event| match &event.kind {
        EventKind::Gap { reason, .. } => *reason != GapReason::Reader,
        _ => false,
    };
    let switched = events.iter().any(is_switch);
    for event in events {
        match &event.kind {
            EventKind::Appeared { cgroup, existing, files } => {
                for (file, values) in files.iter() {
                    let born_with = values.iter().find(|&(_, value)| value != 0);
                    if let (false, false, Some((key, _))) = (*existing, is_state(file), born_with) {
                        return Err(Breach::at(event, format_args!("born with {file} {key}")));
                    }
                    told.insert((cgroup.n, file), opened(values, false));
                }
            }
            EventKind::FileAdded { cgroup, files } => {
                for (file, values) in files.iter() {
                    if told.insert((cgroup.n, file), opened(values, true)).is_some() {
                        return Err(Breach::at(event, format_args!("{file} was there already")));
                    }
                }
            }
            EventKind::FileRemoved { cgroup, file, .. }
                if told.remove(&(cgroup.n, &**file)).is_none() =>
            {
                return Err(Breach::at(event, format_args!("{file} was not there")));
            }
            EventKind::Changed { .. } => changed(event, &mut told, switched)?,
            EventKind::Removed { cgroup, files, .. } => {
                for (file, values) in files.iter().filter(|(file, _)| !is_state(file)) {
                    let before = told.get(&(cgroup.n, file));
                    let untold = values.iter().find(|&(key, value)| {
                        before.and_then(|told| told.get(key)).map_or(0, |told| told.value) != value
                    });
                    if let Some((key, value)) = untold {
                        let what = format_args!("{file} {key} {value} was read and never told");
                        return Err(Breach::at(event, what));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn changed<'e>(event: &'e Event, told: &mut Told<'e>, may_fall: bool) -> Rule {
    let EventKind::Changed { cgroup, file, old, new, delta, own, late } = &event.kind else {
        return Ok(());
    };
    let breach = |what: String| Err(Breach::at(event, format_args!("{file} {what}")));
    let Some(before) = told.get_mut(&(cgroup.n, &**file)) else {
        return breach("changed, but the file was not told".into());
    };
    let claims = own.iter().flat_map(|own| own.iter()).any(|(_, amount)| amount != 0);
    if new.is_empty() && late.is_empty() && !claims {
        return breach("nothing changed".into());
    }
    for (key, value) in new.iter() {
        let counter = before.entry(key).or_default();
        let last = std::mem::replace(&mut counter.value, value);
        if old.get(key).unwrap_or(0) != last {
            return breach(format!("{key}: old is {:?}, but {last} was told", old.get(key)));
        }
        if value == last {
            return breach(format!("{key} did not change from {last}"));
        }
        let difference = i128::from(value) - i128::from(last);
        counter.unclaimed += difference;
        let expected = (!is_state(file)).then_some(difference);
        if delta.get(key) != expected {
            return breach(format!("{key}: delta {:?}, not {expected:?}", delta.get(key)));
        }
        if difference.is_negative() && !may_fall && !is_state(file) && file.ends_with(".events") {
            return breach(format!("{key} fell by {}", -difference));
        }
    }
    for (key, own) in own.iter().flat_map(|own| own.iter()) {
        let counter = before.entry(key).or_default();
        counter.unclaimed -= own;
        counter.own += own;
        if counter.own < 0 && !may_fall {
            return breach(format!("{key}: {} more taken back than told as its own", -counter.own));
        }
    }
    for (key, late) in late.iter() {
        before.entry(key).or_default().unclaimed -= i128::from(late);
    }
    let claimed = |counter: &Counter| !may_fall && counter.unclaimed < 0;
    match before.iter().find(|(_, counter)| !is_state(file) && claimed(counter)) {
        Some((key, counter)) => {
            breach(format!("{key}: {} more claimed than was ever told", -counter.unclaimed))
        }
        None => Ok(()),
    }
}

/// What emptied a cgroup is told before that it is empty: after `populated` 0 of an instance
/// nothing more is told that it counted itself as `key` of `file`, neither as a change nor as
/// unseen. For cgroups that are populated once.
///
/// # Errors
/// The first change that comes too late.
pub fn kill_before_empty(events: &[Event], file: &str, key: &str) -> Rule {
    let mut empty = HashSet::new();
    for event in events {
        let (n, told) = match &event.kind {
            EventKind::Changed { cgroup, file: changed, new, own, delta, .. } => {
                if &**changed == "cgroup.events" && new.get("populated") == Some(0) {
                    empty.insert(cgroup.n);
                }
                let own = own.as_ref().unwrap_or(delta).get(key).unwrap_or(0);
                (cgroup.n, &**changed == file && own > 0)
            }
            EventKind::Removed { cgroup, unseen, .. } => (cgroup.n, unseen.get(file, key) > 0),
            _ => continue,
        };
        if told && empty.contains(&n) {
            return Err(Breach::at(event, format_args!("{file} {key} after populated 0")));
        }
    }
    Ok(())
}
