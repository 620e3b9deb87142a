//! One rule of a role, and what it allows (`pkg/registry/rbac/validation` and `pkg/apis/rbac/v1/evaluation_helpers.go`).

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::asked::{Asked, ObjectAsked, What};

/// Everything.
const ALL: &str = "*";

/// A rule of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Verbs; `*` for all.
    pub verbs: Vec<String>,
    /// API groups; `*` for all, empty for the core group.
    pub groups: Vec<String>,
    /// `pods`, `pods/status`, `*/scale`; `*` for all with all their parts.
    pub resources: Vec<String>,
    /// Names; none for all.
    pub names: Vec<String>,
    /// Paths; `*` at the end is for everything behind.
    pub paths: Vec<String>,
}

impl Rule {
    /// Whether the rule allows this.
    pub fn allows(&self, asked: &Asked) -> bool {
        has(&self.verbs, &asked.verb)
            && match &asked.what {
                What::Path(path) => self.paths.iter().any(|rule| is_path(rule, path)),
                What::Object(object) => self.covers(object),
            }
    }

    fn covers(&self, object: &ObjectAsked) -> bool {
        has(&self.groups, &object.group)
            && self.has_resource(object)
            && (self.names.is_empty() || self.names.contains(&object.name))
    }

    fn has_resource(&self, object: &ObjectAsked) -> bool {
        let asked = object.resource();
        self.resources.iter().any(|rule| {
            let any_of_this_part = rule.strip_prefix("*/").is_some_and(|part| part == object.subresource);
            rule == ALL || *rule == asked || (!object.subresource.is_empty() && any_of_this_part)
        })
    }
}

impl From<&PolicyRule> for Rule {
    fn from(rule: &PolicyRule) -> Self {
        let list = |values: &Option<Vec<String>>| values.clone().unwrap_or_default();
        Self {
            verbs: rule.verbs.clone(),
            groups: list(&rule.api_groups),
            resources: list(&rule.resources),
            names: list(&rule.resource_names),
            paths: list(&rule.non_resource_urls),
        }
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|it| it == ALL || it == wanted)
}

fn is_path(rule: &str, path: &str) -> bool {
    rule == ALL || rule == path || rule.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}
