//! What a write changed, and why.

use std::{collections::HashMap, fmt::Write as _};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    Wrote,
    listing::{Listed, Listing},
};
use crate::{
    labels::Labels,
    membership::Membership,
    name::{Key, Name},
    object::{Family, Uid, well_known},
};

/// The most endpoints that are told of by name.
const MOST: usize = 20;

/// The most keys of labels that are told of by name.
const MOST_KEYS: usize = 5;

/// How far the clock of the API server, which dates the writes of others in whole seconds, may be behind ours.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// How many endpoints an object lists, and how many of them the write added, removed and changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Endpoints there are now.
    pub endpoints: usize,
    /// Those that are ready.
    pub ready: usize,
    /// New ones.
    pub added: usize,
    /// Those that went.
    pub removed: usize,
    /// Those that stayed, and changed.
    pub changed: usize,
}

/// What a write changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// In numbers.
    pub counts: Counts,
    /// And why, a line for each reason.
    pub why: String,
}

/// What differs between two forms of an object, and why. `edited`: it has been written since we last did, which was then.
pub fn difference<T: Listing>(wrote: &Wrote<'_, T>, edited: Option<Timestamp>) -> Difference {
    let mut lines = Lines::default();
    about_the_object(wrote, edited, &mut lines);
    let (before, after) = (wrote.old.map(T::listed), wrote.new.map(T::listed));
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let known = by_identity(&before);
    let is = by_identity(&after);
    let mut counts = Counts { endpoints: is.len(), ..Counts::default() };
    counts.ready = is.values().filter(|listed| listed.ready).count();
    let family = wrote.old.and_then(T::family).or_else(|| wrote.new.and_then(T::family));
    let context = Context { wrote, family };
    for listed in before.iter().filter(|listed| is_first(&known, listed)) {
        if !is.contains_key(&identity(listed)) {
            counts.removed += 1;
            lines.endpoint(|| format!("{} removed: {}", who(listed), context.why_removed(listed)));
        }
    }
    for listed in after.iter().filter(|listed| is_first(&is, listed)) {
        match known.get(&identity(listed)) {
            Some(before) if *before == listed => {}
            Some(before) => {
                counts.changed += 1;
                lines.endpoint(|| {
                    format!("{} changed: {}", who(listed), context.what_changed(before, listed))
                });
            }
            None => {
                counts.added += 1;
                lines.endpoint(|| format!("{} added: {}", who(listed), context.as_added(listed)));
            }
        }
    }
    Difference { counts, why: lines.end() }
}

/// Lines, of which those about endpoints are bounded.
#[derive(Default)]
struct Lines {
    text: String,
    endpoints: usize,
}

impl Lines {
    fn push(&mut self, line: impl AsRef<str>) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        // A message may hold anything; a line is one.
        self.text.extend(line.as_ref().chars().map(|c| if c.is_control() { ' ' } else { c }));
    }

    fn endpoint(&mut self, line: impl FnOnce() -> String) {
        self.endpoints += 1;
        if self.endpoints <= MOST {
            self.push(line());
        }
    }

    fn end(mut self) -> String {
        if self.endpoints > MOST {
            self.push(format!("and {} more", self.endpoints - MOST));
        }
        self.text
    }
}

type Identity<'a> = (&'a str, &'a str);

fn identity<'a>(listed: &'a Listed<'_>) -> Identity<'a> {
    (&listed.address, listed.target.map_or("", |target| &target.name))
}

/// Each endpoint by its address and target. Of one that is listed twice the first place counts.
fn by_identity<'a, 'b>(listed: &'a [Listed<'b>]) -> HashMap<Identity<'a>, &'a Listed<'b>> {
    listed.iter().rev().map(|listed| (identity(listed), listed)).collect()
}

fn is_first(known: &HashMap<Identity<'_>, &Listed<'_>>, listed: &Listed<'_>) -> bool {
    known.get(&identity(listed)).is_some_and(|first| std::ptr::eq::<Listed<'_>>(*first, listed))
}

fn who(listed: &Listed<'_>) -> String {
    match listed.target {
        Some(target) if target.kind == "Pod" => format!("{} (pod {})", listed.address, target.name),
        Some(target) if !target.name.is_empty() => {
            format!("{} ({} {})", listed.address, target.kind, target.name)
        }
        _ => listed.address.to_string(),
    }
}

fn about_the_object<T: Listing>(wrote: &Wrote<'_, T>, edited: Option<Timestamp>, lines: &mut Lines) {
    let service = wrote.view.service.as_deref();
    if let (Some(old), Some(last)) = (wrote.old, edited) {
        match old.foreign().filter(|foreign| foreign.at + SKEW >= last) {
            Some(foreign) => lines.push(format!("edited by {} at {}", foreign.manager, foreign.at)),
            None => lines.push("another replica has written it since"),
        }
    }
    match (wrote.old, wrote.new) {
        (None, Some(new)) if new.listed().is_empty() => {
            lines.push("no endpoints: a placeholder, so that none can be told from not yet");
        }
        (Some(old), None) => lines.push(match service {
            None => "service gone",
            Some(service) if service.is_external() => "the service is an ExternalName",
            Some(_) if is_mirrored(old) => "nothing to mirror in it",
            Some(service) if !service.selects() => "selector removed",
            Some(service) if !owned_by(old, &service.meta.uid) && T::KIND == "EndpointSlice" => {
                "of an earlier service of this name"
            }
            Some(service)
                if old.family().is_none_or(|family| !service.slice_families().contains(&family)) =>
            {
                "of a family that the service does not have"
            }
            Some(_) => "repack: nothing is left in it",
        }),
        (Some(old), Some(new)) => {
            for (what, keys) in [
                ("labels", keys(&old.meta().labels, &new.meta().labels)),
                ("annotations", keys(old.annotations(), new.annotations())),
            ] {
                if !keys.is_empty() {
                    lines.push(format!("{what}: {keys}"));
                }
            }
            if old.owners() != new.owners() {
                lines.push("owner");
            }
            if old.has_other_ports(new) {
                lines.push("ports");
            }
        }
        _ => {}
    }
}

fn owned_by<T: Listing>(object: &T, uid: &Uid) -> bool {
    object.owners().iter().any(|owner| owner.uid == *uid)
}

fn is_mirrored<T: Listing>(object: &T) -> bool {
    let by = object.meta().labels.get(well_known::SLICE_MANAGED_BY);
    by.is_some_and(|by| by == well_known::MIRRORING_CONTROLLER)
}

/// The keys whose values differ. The trigger time always does.
fn keys(old: &Labels, new: &Labels) -> String {
    let differs = |(key, value): &(&Name, &Name), other: &Labels| {
        *key != well_known::LAST_CHANGE_TRIGGER_TIME && other.get(key) != Some(*value)
    };
    let gone = old.iter().filter(|(key, _)| new.get(key).is_none());
    let gone = gone.filter(|(key, _)| *key != well_known::LAST_CHANGE_TRIGGER_TIME);
    let keys: Vec<&Name> =
        new.iter().filter(|pair| differs(pair, old)).chain(gone).map(|(key, _)| key).collect();
    let mut text = String::new();
    for (at, key) in keys.iter().take(MOST_KEYS).enumerate() {
        // Writing to a String does not fail.
        let _ = write!(text, "{}{key}", if at == 0 { "" } else { ", " });
    }
    if keys.len() > MOST_KEYS {
        let _ = write!(text, " and {} more", keys.len() - MOST_KEYS);
    }
    text
}

struct Context<'a, 'b, T> {
    wrote: &'a Wrote<'b, T>,
    family: Option<Family>,
}

impl<T: Listing> Context<'_, '_, T> {
    /// The membership of the pod that an endpoint stands for.
    fn member(&self, listed: &Listed<'_>) -> Option<&Membership> {
        let target = listed.target.filter(|target| target.kind == "Pod")?;
        let members = &self.wrote.view.members;
        let at = members.binary_search_by(|member| member.pod.meta.key.name.cmp(&target.name)).ok()?;
        members.get(at).map(AsRef::as_ref)
    }

    fn why_removed(&self, listed: &Listed<'_>) -> String {
        let view = self.wrote.view;
        let mirrored = self.wrote.new.or(self.wrote.old).is_some_and(is_mirrored);
        let pod = listed.target.filter(|target| target.kind == "Pod");
        match (&view.service, self.member(listed)) {
            (None, _) => "service gone".to_owned(),
            (Some(_), _) if mirrored => "no longer in the Endpoints".to_owned(),
            (Some(service), _) if !service.selects() => "selector removed".to_owned(),
            (Some(_), Some(member)) => {
                let uid = pod.map(|target| &target.uid);
                if uid.is_some_and(|uid| *uid != member.pod.meta.uid) {
                    "another pod of this name took its place".to_owned()
                } else if self.family.is_some_and(|family| !has(member, family, listed)) {
                    "the pod has another address".to_owned()
                } else {
                    match self.first_reason(member) {
                        Some(reason) if self.family.is_none_or(|family| !T::lists(member, family)) => reason,
                        _ => "moved by a repack".to_owned(),
                    }
                }
            }
            (Some(_), None) => match pod {
                None => "no pod of the service".to_owned(),
                Some(target) => {
                    let key = Key { namespace: view.key.namespace.clone(), name: target.name.clone() };
                    if (self.wrote.has_pod)(&key) { "no longer selected" } else { "pod gone" }.to_owned()
                }
            },
        }
    }

    fn as_added(&self, listed: &Listed<'_>) -> String {
        let mut text = self.state(listed);
        let others = self.wrote.view.slices.iter().filter(|_| T::KIND == "EndpointSlice");
        let name = self.wrote.new.map(|new| &new.meta().key.name);
        let elsewhere = others.filter(|slice| Some(&slice.meta.key.name) != name).any(|slice| {
            slice.endpoints.iter().any(|endpoint| {
                endpoint.target.as_deref().zip(listed.target).is_some_and(|(a, b)| a == b)
                    && slice.family() == self.family
            })
        });
        if elsewhere {
            text.push_str(", moved by a repack");
        }
        text
    }

    fn what_changed(&self, before: &Listed<'_>, after: &Listed<'_>) -> String {
        let state = |listed: &Listed<'_>| (listed.ready, listed.terminating, listed.serving);
        let uid = |listed: &Listed<'_>| listed.target.map(|target| target.uid.clone());
        let mut what = Vec::new();
        if uid(before) != uid(after) {
            what.push("another pod of this name".to_owned());
        }
        if state(before) != state(after) {
            what.push(self.state(after));
        }
        for (name, differs) in [
            ("hostname", before.hostname != after.hostname),
            ("node", before.node != after.node),
            ("zone", before.zone != after.zone),
            ("hints", before.hints != after.hints),
            ("target", before.target != after.target && uid(before) == uid(after)),
        ] {
            if differs {
                what.push(name.to_owned());
            }
        }
        what.join(", ")
    }

    /// How an endpoint stands.
    fn state(&self, listed: &Listed<'_>) -> String {
        if listed.terminating {
            return "terminating".to_owned();
        }
        if listed.ready {
            return "ready".to_owned();
        }
        let reason = self.member(listed).and_then(|member| self.first_reason(member));
        reason.unwrap_or_else(|| "not ready".to_owned())
    }

    fn first_reason(&self, member: &Membership) -> Option<String> {
        let families: Vec<Family> = self.family.into_iter().collect();
        member.reasons(&families).first().map(ToString::to_string)
    }
}

fn has(member: &Membership, family: Family, listed: &Listed<'_>) -> bool {
    // Without addresses it is no other address that is the reason.
    let mut addresses = member.addresses(family).peekable();
    addresses.peek().is_none() || addresses.any(|ip| ip.to_string() == listed.address)
}
