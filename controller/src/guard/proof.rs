//! The proof that nobody else writes, kept for whoever writes next.
//!
//! It is an annotation on the Lease of the leader election: the time, by the API server's clock, at which a canary was
//! found alone. A replica that takes over within a quarter of an hour need not wait for a canary of its own before it
//! writes; it sets one out behind that. The Lease's holder renews it all the time, so a write of ours may come in between:
//! it names the version it replaces, and both sides try again.

use std::time::Duration;

use callsign_shared::Key;
use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::ask::{Answer, Asker, NoAnswer};

/// Where the proof is.
const ANNOTATION: &str = "callsign.dev/alone-at";

/// How old a proof may be.
const LIFETIME: SignedDuration = SignedDuration::from_mins(15);

/// How often a conflict is tried again, and after which time.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// A Lease may be renewed this much later than it says, since its times are its holder's.
const SLACK: SignedDuration = SignedDuration::from_secs(5);

/// Whether the Lease carries a proof that is young enough.
pub(crate) async fn is_known(asker: &Asker, lease: &Key) -> bool {
    match asker.get(&path(lease)).await {
        Ok(answer) => answer.at.is_some_and(|now| is_fresh(&answer.json(), now)),
        Err(_) => false,
    }
}

/// Writes the proof, or takes it back when it does not hold any more. That it cannot be written costs the next replica a
/// wait, nothing else.
///
/// # Errors
/// When it cannot. A Lease that is not there is no error: nobody else is elected.
pub(crate) async fn keep(asker: &Asker, lease: &Key, alone: bool) -> Result<(), NoAnswer> {
    let path = path(lease);
    let mut last = NoAnswer::of("nothing tried");
    for _ in 0..TRIES {
        let answer = asker.get(&path).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        let Some(body) = with_proof(answer.success()?, alone) else {
            return Err(NoAnswer::of("the API server does not say what time it is"));
        };
        let written = asker.ask(Method::PUT, &path, Some(&body)).await?;
        if written.status != StatusCode::CONFLICT {
            return written.success().map(drop);
        }
        last = written.refusal();
        tokio::time::sleep(PAUSE).await;
    }
    Err(last)
}

/// Whether kube-controller-manager runs, as far as its Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    /// It does not.
    Gone,
    /// It held the Lease not long ago, and renewed it last at this time.
    Renewed(String),
    /// The Lease cannot be read, or says nothing.
    Unknown(NoAnswer),
}

/// Looks at the Lease of kube-controller-manager.
pub(crate) async fn manager(asker: &Asker) -> Manager {
    match asker
        .get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager")
        .await
    {
        Ok(answer) if answer.status == StatusCode::NOT_FOUND => Manager::Gone,
        Ok(answer) if answer.status.is_success() => {
            let lease = answer.json();
            if answer.at.is_some_and(|now| !is_held(&lease, now)) {
                return Manager::Gone;
            }
            let renewed = lease.pointer("/spec/renewTime").and_then(Value::as_str);
            let silent = || Manager::Unknown(NoAnswer::of("it has no time of renewal"));
            renewed.map_or_else(silent, |time| Manager::Renewed(time.to_owned()))
        }
        Ok(answer) => Manager::Unknown(answer.refusal()),
        Err(error) => Manager::Unknown(error),
    }
}

fn with_proof(answer: Answer, alone: bool) -> Option<Value> {
    let now = answer.at?.to_string();
    let mut lease = answer.json();
    let metadata = lease.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    let annotations = annotations.as_object_mut()?;
    if alone {
        annotations.insert(ANNOTATION.to_owned(), json!(now));
    } else {
        annotations.remove(ANNOTATION);
    }
    Some(lease)
}

fn is_fresh(lease: &Value, now: Timestamp) -> bool {
    let annotations = lease.pointer("/metadata/annotations");
    let at = annotations.and_then(|all| all.get(ANNOTATION)?.as_str()?.parse::<Timestamp>().ok());
    at.is_some_and(|at| {
        let age = now.duration_since(at);
        !age.is_negative() && age <= LIFETIME
    })
}

fn is_held(lease: &Value, now: Timestamp) -> bool {
    let spec = |field: &str| lease.get("spec").and_then(|spec| spec.get(field));
    let renewed = spec("renewTime").and_then(|time| time.as_str()?.parse::<Timestamp>().ok());
    let seconds = spec("leaseDurationSeconds").and_then(Value::as_i64).unwrap_or(15);
    let holder = spec("holderIdentity").and_then(Value::as_str).unwrap_or_default();
    let lasts = SignedDuration::from_secs(seconds.clamp(0, 86_400)) + SLACK;
    !holder.is_empty() && renewed.is_some_and(|renewed| now.duration_since(renewed) <= lasts)
}

fn path(lease: &Key) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}", lease.namespace, lease.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_proof_is_good_for_a_while() {
        let text = r#"{"metadata":{"name":"l"},"spec":{"holderIdentity":"a"}}"#.to_owned();
        let answer = Answer { status: StatusCode::OK, at: Some(at(1000)), text };
        let lease = with_proof(answer.clone(), true).unwrap();
        assert_eq!(lease.pointer("/spec/holderIdentity"), Some(&json!("a")));
        for (now, fresh) in [(1000, true), (1900, true), (1901, false), (999, false)] {
            assert_eq!(is_fresh(&lease, at(now)), fresh, "{now}");
        }
        assert!(!is_fresh(&answer.json(), at(1000)));
        let taken_back = Answer { text: lease.to_string(), ..answer };
        assert!(!is_fresh(&with_proof(taken_back, false).unwrap(), at(1000)));
        assert!(with_proof(Answer { at: None, ..answer }, true).is_none());
    }

    #[test]
    fn a_lease_that_is_renewed_is_held() {
        let lease = json!({"spec": {"holderIdentity": "kcm", "leaseDurationSeconds": 15,
            "renewTime": at(1000).to_string()}});
        assert!(is_held(&lease, at(1020)) && !is_held(&lease, at(1021)));
        let mut released = lease;
        released["spec"]["holderIdentity"] = json!("");
        assert!(!is_held(&released, at(1001)));
        assert!(!is_held(&json!({}), at(1)));
    }
}
