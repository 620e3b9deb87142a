//! Trigger times: when the change behind a write happened.
//!
//! Consumers measure how long a change takes to reach them from the annotation
//! `endpoints.kubernetes.io/last-change-trigger-time` (the network programming latency SLI). Its value is the earliest
//! time that moved since the last look: the Ready transition of a pod of the Service, or the Service's creation
//! (Kubernetes `staging/src/k8s.io/endpointslice/util/trigger_time_tracker.go`). A Service that was never looked at gives
//! its creation. When nothing moved there is no time, and a write removes the annotation.
//!
//! Upstream forgets a time when it has been computed once, also when the write then failed. Here it is kept until the
//! change is [`written`](Trigger::written), for slices and for Endpoints each. The time of what was
//! [put off](Trigger::put_off) is that of its own write only: what is written sooner, with a change that could not wait, has
//! the time of that change.

use callsign_shared::{Name, ServiceView, object::Stamp};
use jiff::Timestamp;

use crate::plan::Part;

/// What was seen of one Service, and the times that are not written yet.
#[derive(Clone, Debug, Default)]
pub struct Trigger {
    service: Option<Stamp>,
    /// In the order of the pods' names, as members are.
    pods: Box<[(Name, Stamp)]>,
    known: bool,
    slices: Pending,
    endpoints: Pending,
}

/// Times that are not written yet.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    due: Option<Stamp>,
    put_off: Option<Stamp>,
}

impl Trigger {
    /// Looks at the Service and says the time that a write of `part` must carry.
    pub fn look(&mut self, view: &ServiceView, part: Part) -> Option<Timestamp> {
        if let Some(moved) = self.moved(view) {
            for pending in [&mut self.slices, &mut self.endpoints] {
                pending.due = earliest(pending.due, Some(moved));
            }
        }
        let pending = self.pending(part);
        pending.due.or(pending.put_off).map(Timestamp::from)
    }

    /// Everything of `part` that has to be written is, and nothing was: what moved is what was put off.
    pub fn put_off(&mut self, part: Part) {
        let pending = self.pending(part);
        pending.put_off = earliest(pending.put_off, pending.due.take());
    }

    /// Everything of `part` is as it should be.
    pub fn written(&mut self, part: Part) {
        *self.pending(part) = Pending::default();
    }

    fn pending(&mut self, part: Part) -> &mut Pending {
        match part {
            Part::Slices => &mut self.slices,
            Part::Endpoints => &mut self.endpoints,
        }
    }

    fn moved(&mut self, view: &ServiceView) -> Option<Stamp> {
        let created = view.service.as_ref()?.meta.created;
        let mut moved = created.filter(|created| self.service.is_none_or(|known| *created > known));
        let mut known = self.pods.iter().peekable();
        let mut pods = Vec::with_capacity(view.members.len());
        for member in view.members.iter() {
            let name = &member.pod.meta.key.name;
            let Some(since) = member.pod.readiness.since else { continue };
            while known.next_if(|(earlier, _)| earlier < name).is_some() {}
            let before = known.next_if(|(same, _)| same == name).map(|(_, before)| *before);
            if before.is_none_or(|before| since > before) {
                moved = Some(moved.map_or(since, |earlier| earlier.min(since)));
            }
            pods.push((name.clone(), since));
        }
        self.pods = pods.into();
        self.service = created;
        if std::mem::replace(&mut self.known, true) { moved } else { created }
    }
}

fn earliest(one: Option<Stamp>, other: Option<Stamp>) -> Option<Stamp> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use callsign_shared::{
        Key, Membership,
        object::{Pod, Readiness, Service},
    };

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn view(created: i64, pods: &[(&str, i64)]) -> ServiceView {
        let mut service = Service::default();
        service.meta.created = Some(at(created).into());
        let member = |(name, since): &(&str, i64)| {
            let readiness = Readiness { ready: true, since: Some(at(*since).into()), message: None };
            let mut pod = Pod { readiness, ..Pod::default() };
            pod.meta.key = Key::new("n", name);
            Arc::new(Membership::decide(&service, &Arc::new(pod), None))
        };
        let members = Arc::new(pods.iter().map(member).collect());
        ServiceView { members, service: Some(Arc::new(service)), ..ServiceView::default() }
    }

    /// Looks and writes, as a sync that goes well does.
    fn sync(trigger: &mut Trigger, view: &ServiceView) -> Option<i64> {
        let time = trigger.look(view, Part::Slices);
        trigger.written(Part::Slices);
        time.map(Timestamp::as_second)
    }

    #[test]
    fn as_upstream() {
        let mut trigger = Trigger::default();
        assert_eq!(sync(&mut trigger, &view(10, &[("b", 20)])), Some(10), "an unknown Service");
        assert_eq!(sync(&mut trigger, &view(10, &[("b", 20)])), None, "nothing moved");
        assert_eq!(
            sync(&mut trigger, &view(10, &[("a", 31), ("b", 20), ("c", 30)])),
            Some(30),
            "the earliest"
        );
        assert_eq!(
            sync(&mut trigger, &view(10, &[("a", 31), ("c", 30)])),
            None,
            "a pod that went has no time"
        );
        assert_eq!(
            sync(&mut trigger, &view(10, &[("a", 31), ("b", 50), ("c", 45)])),
            Some(45),
            "back, and moved"
        );
        assert_eq!(
            sync(&mut trigger, &view(60, &[("a", 31), ("b", 50), ("c", 45)])),
            Some(60),
            "the Service anew"
        );
    }

    #[test]
    fn a_time_stays_until_it_is_written_for_each_part() {
        let mut trigger = Trigger::default();
        sync(&mut trigger, &view(10, &[]));
        trigger.written(Part::Endpoints);
        assert_eq!(trigger.look(&view(10, &[("a", 20)]), Part::Slices), Some(at(20)));
        assert_eq!(
            trigger.look(&view(10, &[("a", 20), ("b", 30)]), Part::Slices),
            Some(at(20)),
            "the write failed"
        );
        trigger.written(Part::Slices);
        assert_eq!(trigger.look(&view(10, &[("a", 20), ("b", 30)]), Part::Slices), None);
        assert_eq!(trigger.look(&view(10, &[("a", 20), ("b", 30)]), Part::Endpoints), Some(at(20)));
    }

    #[test]
    fn what_was_put_off_makes_no_later_change_older() {
        let mut trigger = Trigger::default();
        sync(&mut trigger, &view(10, &[]));
        let look = |trigger: &mut Trigger, since| {
            trigger.look(&view(10, &[("a", since)]), Part::Slices).map(Timestamp::as_second)
        };
        for since in [20, 22] {
            look(&mut trigger, since);
            trigger.put_off(Part::Slices);
        }
        assert_eq!(look(&mut trigger.clone(), 22), Some(20), "written by itself in the end");
        assert_eq!(look(&mut trigger, 30), Some(30), "the pod turned ready");
        assert_eq!(look(&mut trigger, 30), Some(30), "the write failed");
        trigger.written(Part::Slices);
        assert_eq!(look(&mut trigger, 30), None);
    }
}
