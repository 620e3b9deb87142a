//! Who asks.

use std::collections::BTreeMap;

/// The group that may do everything, whatever the roles say.
pub const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const ANONYMOUS: &str = "system:anonymous";
const ACCOUNTS: &str = "system:serviceaccounts";
const ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// A user, as the authorizer sees one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// `system:serviceaccount:kube-system:callsign`
    pub name: String,
    /// The uid, where there is one.
    pub uid: String,
    /// All groups, with those everybody is in.
    pub groups: Vec<String>,
    /// What else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// The administrator.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", [MASTERS.to_owned()])
    }

    /// Whom everybody is where everybody is trusted.
    pub fn trusted() -> Self {
        Self { groups: vec![MASTERS.to_owned()], ..Self::new("callsign-sandbox", []) }
    }

    /// Who shows no token.
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS, [])
    }

    /// A ServiceAccount.
    pub fn account(namespace: &str, name: &str, uid: &str) -> Self {
        let user = Self::new(&format!("{ACCOUNT_PREFIX}{namespace}:{name}"), []);
        Self { uid: uid.to_owned(), ..user }
    }

    /// A user with the groups that follow from its name: of an account those of accounts, of everybody else that of the
    /// authenticated.
    pub fn new(name: &str, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        if let (true, Some((namespace, _))) = (groups.is_empty(), account_of(name)) {
            groups.extend([ACCOUNTS.to_owned(), format!("{ACCOUNTS}:{namespace}")]);
        }
        let everybody = if name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
        if !groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED) {
            groups.push(everybody.to_owned());
        }
        Self { name: name.to_owned(), groups, ..Self::default() }
    }

    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|it| it == group)
    }

    /// Namespace and name, if this is a ServiceAccount.
    pub fn as_account(&self) -> Option<(&str, &str)> {
        account_of(&self.name)
    }
}

/// Namespace and name of `system:serviceaccount:NAMESPACE:NAME`.
fn account_of(name: &str) -> Option<(&str, &str)> {
    let (namespace, name) = name.strip_prefix(ACCOUNT_PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}
