//! All roles with their bindings, and what they allow a user (`plugin/pkg/auth/authorizer/rbac`).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};

use super::asked::{Asked, What};
use super::rule::Rule;
use super::user::{MASTERS, User};

/// What roles and bindings amount to.
#[derive(Debug, Default)]
pub struct Policy {
    cluster: Vec<Grant>,
    namespaces: BTreeMap<String, Vec<Grant>>,
}

/// Whether somebody may, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, by this binding.
    Allowed(String),
    /// No. The text is empty unless a role is missing that a binding of the user names.
    Denied(String),
}

/// A binding with the rules it grants.
#[derive(Debug)]
struct Grant {
    /// `ClusterRoleBinding "callsign"`
    binding: String,
    /// `ClusterRole "callsign"`
    role: String,
    subjects: Vec<Subject>,
    /// The namespace of the binding, empty for one of the cluster.
    namespace: String,
    /// What is missing, where the role is not there.
    rules: Result<Arc<[Rule]>, String>,
}

impl Decision {
    /// Whether it is a yes.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

impl Policy {
    /// Joins bindings with their roles.
    pub fn new(
        cluster_roles: &[ClusterRole],
        cluster_bindings: &[ClusterRoleBinding],
        roles: &[Role],
        bindings: &[RoleBinding],
    ) -> Self {
        let mut known: BTreeMap<(String, String), Arc<[Rule]>> = BTreeMap::new();
        for role in cluster_roles {
            let key = (String::new(), role.metadata.name.clone().unwrap_or_default());
            known.insert(key, rules(role.rules.as_deref()));
        }
        for role in roles {
            let namespace = role.metadata.namespace.clone().unwrap_or_default();
            let key = (namespace, role.metadata.name.clone().unwrap_or_default());
            known.insert(key, rules(role.rules.as_deref()));
        }
        let find = |namespace: &str, to: &RoleRef| -> Result<Arc<[Rule]>, String> {
            let place = if to.kind == "ClusterRole" { String::new() } else { namespace.to_owned() };
            let found = known.get(&(place, to.name.clone())).cloned();
            found.ok_or_else(|| {
                let kind = to.kind.to_lowercase();
                format!("{kind}.rbac.authorization.k8s.io {:?} not found", to.name)
            })
        };
        let mut policy = Self::default();
        for binding in cluster_bindings {
            policy.cluster.push(Grant {
                binding: format!(
                    "ClusterRoleBinding {:?}",
                    binding.metadata.name.as_deref().unwrap_or_default()
                ),
                role: format!("{} {:?}", binding.role_ref.kind, binding.role_ref.name),
                subjects: binding.subjects.clone().unwrap_or_default(),
                namespace: String::new(),
                rules: find("", &binding.role_ref),
            });
        }
        for binding in bindings {
            let namespace = binding.metadata.namespace.clone().unwrap_or_default();
            let name = binding.metadata.name.as_deref().unwrap_or_default();
            let grant = Grant {
                binding: format!("RoleBinding {:?}", format!("{name}/{namespace}")),
                role: format!("{} {:?}", binding.role_ref.kind, binding.role_ref.name),
                subjects: binding.subjects.clone().unwrap_or_default(),
                namespace: namespace.clone(),
                rules: find(&namespace, &binding.role_ref),
            };
            policy.namespaces.entry(namespace).or_default().push(grant);
        }
        policy
    }

    /// Whether a user may.
    pub fn decide(&self, user: &User, asked: &Asked) -> Decision {
        if user.is_in(MASTERS) {
            return Decision::Allowed(String::new());
        }
        let mut missing: Vec<&str> = Vec::new();
        let namespace = match &asked.what {
            What::Object(object) => object.namespace.as_str(),
            What::Path(_) => "",
        };
        for (grant, subject) in self.grants(user, namespace) {
            match &grant.rules {
                Ok(rules) if rules.iter().any(|rule| rule.allows(asked)) => {
                    let (binding, role) = (&grant.binding, &grant.role);
                    return Decision::Allowed(format!(
                        "RBAC: allowed by {binding} of {role} to {}",
                        told(subject)
                    ));
                }
                Ok(_) => {}
                Err(why) if !missing.contains(&why.as_str()) => missing.push(why),
                Err(_) => {}
            }
        }
        Decision::Denied(match missing.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }

    /// The rules that a user has in a namespace, those of the cluster with them.
    pub fn rules_of(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.grants(user, namespace)
            .filter_map(|(grant, _)| grant.rules.as_ref().ok())
            .flat_map(|rules| rules.iter().cloned())
            .collect()
    }

    fn grants<'a>(
        &'a self,
        user: &'a User,
        namespace: &str,
    ) -> impl Iterator<Item = (&'a Grant, &'a Subject)> {
        let here = if namespace.is_empty() { None } else { self.namespaces.get(namespace) };
        self.cluster.iter().chain(here.into_iter().flatten()).filter_map(move |grant| {
            let subject = grant.subjects.iter().find(|subject| is(subject, user, &grant.namespace))?;
            Some((grant, subject))
        })
    }
}

fn rules(rules: Option<&[PolicyRule]>) -> Arc<[Rule]> {
    rules.unwrap_or_default().iter().map(Rule::from).collect()
}

/// Whether a subject of a binding is this user.
fn is(subject: &Subject, user: &User, binding_namespace: &str) -> bool {
    match subject.kind.as_str() {
        "User" => subject.name == user.name,
        "Group" => user.is_in(&subject.name),
        "ServiceAccount" => {
            let stated = subject.namespace.as_deref().filter(|namespace| !namespace.is_empty());
            let namespace = stated.unwrap_or(binding_namespace);
            !namespace.is_empty() && user.as_account() == Some((namespace, &subject.name))
        }
        _ => false,
    }
}

fn told(subject: &Subject) -> String {
    match subject.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => format!("{} {:?}", subject.kind, format!("{}/{namespace}", subject.name)),
        None => format!("{} {:?}", subject.kind, subject.name),
    }
}
