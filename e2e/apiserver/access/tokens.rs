//! Tokens of ServiceAccounts.
//!
//! They look like those of a real cluster, three parts with dots, of which the second tells whose they are. They are
//! not signed: a token is good because this server remembers it, and until its account, or what it is bound to, is gone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::json;

use super::user::User;
use crate::apiserver::kind::Kind;
use crate::apiserver::object::Key;
use crate::apiserver::rules::value::text;
use crate::apiserver::rules::{ApiError, FieldError};
use crate::apiserver::store::Store;

/// The shortest life of a token.
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;
/// Whom a token is for, when nobody says.
const AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// A token, and until when it is good.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// Its end, as the API writes times.
    pub until: String,
    /// Whom it is for.
    pub audiences: Vec<String>,
}

/// An object that a token goes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// A Pod, a Node or a Secret.
    pub kind: Kind,
    /// Its name, in the account's namespace.
    pub name: String,
    /// Its uid; empty for whichever it has now.
    pub uid: String,
}

#[derive(Debug, Default)]
pub(super) struct Tokens {
    issued: Mutex<HashMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    account: Key,
    uid: String,
    bound: Option<(Kind, Key, String)>,
    end: Instant,
}

impl Tokens {
    pub(super) fn issue(
        &self,
        store: &Store,
        namespace: &str,
        name: &str,
        seconds: i64,
        bound: Option<&Bound>,
        audiences: &[String],
    ) -> Result<Issued, ApiError> {
        let Some(account) = store.get(Kind::ServiceAccount, namespace, name) else {
            return Err(ApiError::not_found(Kind::ServiceAccount, name));
        };
        if !(SHORTEST..=LONGEST).contains(&seconds) {
            let why = if seconds < SHORTEST {
                "may not specify a duration less than 10 minutes"
            } else {
                "may not specify a duration larger than 2^32 seconds"
            };
            let error = FieldError::invalid("spec.expirationSeconds", seconds, why);
            let mut refused = ApiError::invalid(Kind::ServiceAccount, "", vec![error]);
            refused.message =
                refused.message.replacen("ServiceAccount", "TokenRequest.authentication.k8s.io", 1);
            return Err(refused);
        }
        let bound = bound.map(|bound| resolve(store, namespace, bound)).transpose()?;
        let lifetime = Duration::from_secs(seconds.unsigned_abs());
        let until = jiff::Timestamp::now()
            .checked_add(jiff::SignedDuration::from_secs(seconds))
            .unwrap_or(jiff::Timestamp::MAX);
        let audiences = if audiences.is_empty() { vec![AUDIENCE.to_owned()] } else { audiences.to_vec() };
        let mut kubernetes = json!({
            "namespace": namespace,
            "serviceaccount": { "name": name, "uid": account.uid() },
        });
        if let Some((kind, key, uid)) = &bound {
            let what = kind.info().singular;
            super::super::rules::value::set(
                &mut kubernetes,
                &[what],
                json!({ "name": &*key.name, "uid": uid }),
            );
        }
        let claims = json!({
            "aud": audiences,
            "exp": until.as_second(),
            "iat": jiff::Timestamp::now().as_second(),
            "iss": AUDIENCE,
            "kubernetes.io": kubernetes,
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
        });
        let part = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("{}.{}.{}", part(&json!({ "alg": "none" })), part(&claims), random());
        let known = Known {
            account: account.key.clone(),
            uid: account.uid().to_owned(),
            bound,
            end: Instant::now() + lifetime,
        };
        let mut issued = self.issued.lock();
        issued.retain(|_, known| known.end > Instant::now());
        issued.insert(token.clone(), known);
        let until = until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        Ok(Issued { token, until, audiences })
    }

    pub(super) fn account_of(&self, token: &str, store: &Store) -> Option<User> {
        let (account, uid, bound) = {
            let issued = self.issued.lock();
            let known = issued.get(token).filter(|known| known.end > Instant::now())?;
            (known.account.clone(), known.uid.clone(), known.bound.clone())
        };
        let still = |kind: Kind, key: &Key, uid: &str| {
            store.get(kind, &key.namespace, &key.name).is_some_and(|object| object.uid() == uid)
        };
        if !still(Kind::ServiceAccount, &account, &uid) {
            return None;
        }
        let mut user = User::account(&account.namespace, &account.name, &uid);
        if let Some((kind, key, uid)) = bound {
            if !still(kind, &key, &uid) {
                return None;
            }
            let what = kind.info().singular;
            user.extra
                .insert(format!("authentication.kubernetes.io/{what}-name"), vec![key.name.to_string()]);
            user.extra.insert(format!("authentication.kubernetes.io/{what}-uid"), vec![uid]);
        }
        Some(user)
    }

    pub(super) fn revoke(&self, token: &str) {
        self.issued.lock().remove(token);
    }
}

fn resolve(store: &Store, namespace: &str, bound: &Bound) -> Result<(Kind, Key, String), ApiError> {
    let namespace = if bound.kind.info().namespaced { namespace } else { "" };
    let Some(object) = store.get(bound.kind, namespace, &bound.name) else {
        return Err(ApiError::not_found(bound.kind, &bound.name));
    };
    if !bound.uid.is_empty() && bound.uid != object.uid() {
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been \
             deleted and then recreated",
            bound.uid
        );
        return Err(ApiError::conflict(bound.kind, &bound.name, &why));
    }
    if bound.kind == Kind::Pod {
        let account = text(&object.value, &["spec", "serviceAccountName"]);
        if account.is_empty() {
            tracing::debug!(pod = %object.key, "bound to a pod without an account");
        }
    }
    Ok((bound.kind, object.key.clone(), object.uid().to_owned()))
}

/// What nobody guesses.
pub(super) fn random() -> String {
    let bytes = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    BASE64_URL_SAFE_NO_PAD.encode(bytes.map(uuid::Uuid::into_bytes).concat())
}
