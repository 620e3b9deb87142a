//! Who asks, and whether they may: bearer tokens and RBAC, as a real cluster has them.
//!
//! ```text
//!   request ──▶ authenticate ──▶ impersonate ──▶ Asked ──▶ Policy ──▶ allowed, or 403
//!                  tokens          Policy                  roles and bindings of the store
//! ```
//!
//! [`Policy`] is a pure function of roles, bindings, a user and a question; requests, reviews and impersonation ask the
//! same one. It is off unless [`AccessOptions`](super::options::AccessOptions) are given: then everybody is trusted.

mod asked;
mod defaults;
mod policy;
mod rule;
#[cfg(test)]
mod tests;
mod tokens;
mod user;
mod uses;

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

pub use self::asked::{Asked, ObjectAsked, What};
pub(super) use self::defaults::boot;
pub use self::policy::{Decision, Policy};
pub use self::rule::Rule;
pub use self::tokens::{Bound, Issued};
pub use self::user::{MASTERS, User};
pub use self::uses::{Use, Uses};

use self::tokens::Tokens;
use self::uses::Log;
use super::kind::Kind;
use super::options::AccessOptions;
use super::store::{Scope, Store};

/// Who may do what on a server, and what they did.
#[derive(Debug)]
pub struct Access {
    store: Arc<Store>,
    admin: Option<String>,
    enforced: bool,
    tokens: Tokens,
    policy: Mutex<(u64, Arc<Policy>)>,
    log: Log,
}

impl Access {
    pub(super) fn new(store: Arc<Store>, options: Option<&AccessOptions>) -> Self {
        let admin = options.map(|options| options.admin_token.clone().unwrap_or_else(tokens::random));
        Self {
            store,
            enforced: admin.is_some(),
            admin,
            tokens: Tokens::default(),
            policy: Mutex::new((0, Arc::new(Policy::default()))),
            log: Log::default(),
        }
    }

    /// Whether anybody is refused anything.
    pub fn is_enforced(&self) -> bool {
        self.enforced
    }

    /// The token of the administrator, where one is needed.
    pub fn admin_token(&self) -> Option<&str> {
        self.admin.as_deref()
    }

    /// The user of a token; `None` for a token that is not, or no longer, good.
    pub fn user_of(&self, token: &str) -> Option<User> {
        if self.admin.as_deref() == Some(token) {
            return Some(User::admin());
        }
        self.tokens.account_of(token, &self.store)
    }

    /// A token of a ServiceAccount, as `kubectl create token` gets it.
    ///
    /// # Errors
    /// As the API says them: 404 for an account or a bound object that is not there, 422 for a lifetime that is too short.
    pub fn issue(
        &self,
        namespace: &str,
        account: &str,
        seconds: i64,
        bound: Option<&Bound>,
        audiences: &[String],
    ) -> Result<Issued, super::rules::ApiError> {
        self.tokens.issue(&self.store, namespace, account, seconds, bound, audiences)
    }

    /// Takes back a token, as if its time were over.
    pub fn revoke(&self, token: &str) {
        self.tokens.revoke(token);
    }

    /// What the roles and bindings of the store amount to now.
    pub fn policy(&self) -> Arc<Policy> {
        let version = [Kind::ClusterRole, Kind::ClusterRoleBinding, Kind::Role, Kind::RoleBinding]
            .into_iter()
            .map(|kind| self.store.newest_of(kind))
            .max()
            .unwrap_or_default();
        let mut known = self.policy.lock();
        if known.0 < version {
            *known = (version, Arc::new(self.read()));
        }
        Arc::clone(&known.1)
    }

    /// Decides about a request, and notes it.
    pub fn decide(&self, user: &User, asked: &Asked) -> Decision {
        if !self.enforced {
            return Decision::Allowed("everybody is trusted".to_owned());
        }
        let decision = self.policy().decide(user, asked);
        self.log.note(user, asked, decision.is_allowed());
        decision
    }

    /// What a user was allowed and denied so far.
    pub fn uses(&self, user: &str) -> Uses {
        self.log.of(user)
    }

    /// Forgets what was allowed and denied so far.
    pub fn forget_uses(&self) {
        self.log.clear();
    }

    fn read(&self) -> Policy {
        Policy::new(
            &self.all::<ClusterRole>(Kind::ClusterRole),
            &self.all::<ClusterRoleBinding>(Kind::ClusterRoleBinding),
            &self.all::<Role>(Kind::Role),
            &self.all::<RoleBinding>(Kind::RoleBinding),
        )
    }

    fn all<T: DeserializeOwned>(&self, kind: Kind) -> Vec<T> {
        let (objects, _) = self.store.list(kind, Scope::All);
        // What is stored has been through this type once.
        objects.iter().filter_map(|object| T::deserialize(&object.value).ok()).collect()
    }
}
