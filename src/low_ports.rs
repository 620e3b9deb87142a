//! Ports below 1024, for a process that is not root.
//!
//! The image's binary carries `cap_net_bind_service` as a capability that it may have, not as one that it has (`=p`, without
//! `e`): with `e`, Linux refuses to start it at all in a pod that drops every capability, as the Pod Security level
//! `restricted` asks for, though port 1053 would need none. So it is the process that takes it up, where it was given.

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Takes up the right to bind ports below 1024 where this process may have it. Threads have it from the one that starts them:
/// call it before there are any. Where it cannot be had, the bind says so.
pub(crate) fn allow() {
    if let Some(sets) = capabilities(None).ok().and_then(taken_up) {
        // A kernel that refuses what it has just said is allowed leaves the process as it was.
        let _ = set_capabilities(None, sets);
    }
}

/// The sets with the right in effect, where it is permitted and not in effect yet.
fn taken_up(sets: CapabilitySets) -> Option<CapabilitySets> {
    let right = CapabilitySet::NET_BIND_SERVICE;
    let asleep = sets.permitted.contains(right) && !sets.effective.contains(right);
    asleep.then(|| CapabilitySets { effective: sets.effective | right, ..sets })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_permitted_is_taken_up_and_nothing_else_changes() {
        let (bind, other) = (CapabilitySet::NET_BIND_SERVICE, CapabilitySet::CHOWN);
        let sets = |effective, permitted| CapabilitySets { effective, permitted, inheritable: other };
        assert_eq!(taken_up(sets(other, bind | other)), Some(sets(bind | other, bind | other)));
        assert_eq!(taken_up(sets(bind, bind)), None, "it is in effect");
        assert_eq!(taken_up(sets(other, other)), None, "it is not permitted");
    }
}
