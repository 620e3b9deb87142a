//! Whether the controllers do their work, as far as readiness goes.
//!
//! A process that must not write yet because another controller may be there is not ready: a rollout of it should stop, so
//! that whoever rolls it out reads why. Once it has been ready it stays so where it answers DNS: if a single write of
//! somebody else made all replicas unready, the cluster would lose its names. A process of controllers alone has nothing
//! to lose, and says what is.
//!
//! A replica that waits for its turn to lead does its work.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use callsign_controller::{Gate, Holder, Standing};
use tokio::sync::watch;

/// The controllers' part in readiness.
#[derive(Debug)]
pub(crate) struct Duty {
    gate: Arc<Gate>,
    standing: Option<watch::Receiver<Standing>>,
    answers_dns: bool,
    been_ready: AtomicBool,
}

impl Duty {
    /// The duty of controllers behind `gate`, which wait for their candidate if there is one, in a process that answers
    /// DNS or does not.
    pub(crate) fn new(
        gate: Arc<Gate>,
        standing: Option<watch::Receiver<Standing>>,
        answers_dns: bool,
    ) -> Self {
        Self { gate, standing, answers_dns, been_ready: AtomicBool::new(false) }
    }

    /// Why the process is not ready for the sake of its controllers, though everything else is.
    pub(crate) fn missing(&self) -> Option<String> {
        let stays_ready = self.answers_dns && self.been_ready.load(Ordering::Relaxed);
        let reason = self.reason().filter(|_| !stays_ready);
        if reason.is_none() {
            self.been_ready.store(true, Ordering::Relaxed);
        }
        reason.map(|reason| format!("controller: {reason}"))
    }

    fn reason(&self) -> Option<String> {
        if let Some(not_its_turn) = self.gate.reason(Holder::Lease) {
            // At the start it is not known whose turn it is: it may be ours.
            let holder = self.standing.as_ref().is_some_and(|standing| standing.borrow().holder.is_some());
            return (!holder).then_some(not_its_turn);
        }
        self.gate.reason(Holder::Guard).or_else(|| self.gate.reason(Holder::Fuse))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duty(answers_dns: bool) -> (Arc<Gate>, Duty) {
        let gate = Arc::new(Gate::default());
        gate.close(Holder::Guard, "not known");
        (Arc::clone(&gate), Duty::new(gate, None, answers_dns))
    }

    #[test]
    fn dns_that_was_ready_stays_ready() {
        for answers_dns in [true, false] {
            let (gate, duty) = duty(answers_dns);
            assert_eq!(duty.missing().as_deref(), Some("controller: not known"));
            gate.open(Holder::Guard);
            assert_eq!(duty.missing(), None);
            for holder in [Holder::Guard, Holder::Fuse] {
                gate.close(holder, "somebody");
                let missing = (!answers_dns).then_some("controller: somebody");
                assert_eq!(duty.missing().as_deref(), missing, "{holder:?}");
                gate.open(holder);
            }
        }
    }

    #[test]
    fn who_waits_to_lead_is_ready() {
        let gate = Arc::new(Gate::default());
        gate.close(Holder::Guard, "not known");
        gate.close(Holder::Lease, "nobody is known to lead yet");
        let (sender, standing) = watch::channel(Standing::default());
        let duty = Duty::new(Arc::clone(&gate), Some(standing), false);
        assert_eq!(duty.missing().as_deref(), Some("controller: nobody is known to lead yet"));
        sender.send_modify(|standing| standing.holder = Some("another".to_owned()));
        assert_eq!(duty.missing(), None);
        gate.open(Holder::Lease);
        assert_eq!(duty.missing().as_deref(), Some("controller: not known"), "its turn has come");
    }
}
