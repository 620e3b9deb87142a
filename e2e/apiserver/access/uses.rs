//! What each user asked for, so that a test can tell which permissions are used and which are missing.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use super::asked::{Asked, What};
use super::user::User;

/// How many different uses of a user are kept. A server that runs for days would keep every name it ever saw.
const MOST: usize = 20_000;

/// Something that was asked for, however often.
pub type Use = Asked;

/// What a user was allowed and denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// What was allowed.
    pub allowed: BTreeSet<Use>,
    /// What was denied.
    pub denied: BTreeSet<Use>,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    users: Mutex<BTreeMap<String, Uses>>,
}

impl Log {
    pub(super) fn note(&self, user: &User, asked: &Asked, allowed: bool) {
        let mut users = self.users.lock();
        let uses = users.entry(user.name.clone()).or_default();
        let set = if allowed { &mut uses.allowed } else { &mut uses.denied };
        if set.contains(asked) {
            return;
        }
        let mut asked = asked.clone();
        if set.len() >= MOST
            && let What::Object(object) = &mut asked.what
        {
            // Names are what there is no end of.
            object.name.clear();
        }
        if set.len() < 2 * MOST {
            set.insert(asked);
        }
    }

    pub(super) fn of(&self, user: &str) -> Uses {
        self.users.lock().get(user).cloned().unwrap_or_default()
    }

    pub(super) fn clear(&self) {
        self.users.lock().clear();
    }
}
