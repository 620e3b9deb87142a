//! What a check concludes: something is good, something is wrong, or it could not be looked at.

use serde::Serialize;

use crate::args::Category;

/// One conclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// What is as it should be.
    Good(String),
    /// What is not.
    Finding(Finding),
    /// What could not be looked at, and why.
    NotChecked {
        /// What it was about.
        what: String,
        /// Why not: `may not list pods in kube-system`.
        why: String,
    },
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Which kind of thing.
    pub(super) code: Code,
    /// What is wrong, with the objects' names.
    pub(super) message: String,
    /// What to do.
    pub(super) cure: String,
}

/// A kind of finding. Codes are never given to anything else; docs/check.md explains each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    /// `CHK101`
    pub(super) id: &'static str,
    /// How bad it is.
    pub(super) severity: Severity,
    /// What it says in general.
    pub(super) title: &'static str,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// It works, and should not stay so.
    Warning,
    /// Something does not work, or will not.
    Error,
}

/// What is concluded of one category, in the order in which it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) category: Category,
    pub(super) items: Vec<Item>,
    /// Whether nothing can be said of the whole where nothing of this could be looked at.
    pub(super) decides: bool,
}

impl Code {
    /// A finding of this kind.
    pub(super) fn is(self, message: impl Into<String>, cure: impl Into<String>) -> Item {
        Item::Finding(Finding { code: self, message: message.into(), cure: cure.into() })
    }

    /// Where it is explained.
    pub(super) fn docs(self) -> String {
        format!("https://github.com/callsign-dns/callsign/blob/main/docs/check.md#{}", self.id.to_lowercase())
    }
}

impl Item {
    /// Something good.
    pub(super) fn good(message: impl Into<String>) -> Self {
        Self::Good(message.into())
    }

    /// Something that could not be looked at.
    pub(super) fn not_checked(what: impl Into<String>, why: impl ToString) -> Self {
        Self::NotChecked { what: what.into(), why: why.to_string() }
    }

    /// The finding, if it is one.
    pub(super) fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Finding(finding) => Some(finding),
            Self::Good(_) | Self::NotChecked { .. } => None,
        }
    }
}

/// The codes of the findings, for tests.
#[cfg(test)]
pub(super) fn ids(items: &[Item]) -> Vec<&'static str> {
    items.iter().filter_map(Item::finding).map(|finding| finding.code.id).collect()
}
