//! Recorded cases: cluster states with the objects and answers that Kubernetes and CoreDNS made of them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::answers::{Exchange, Recording};

/// A scenario of `e2e/cases`, or a variant of one.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// The scenario's name.
    pub scenario: String,
    /// For a variant: the name of its setting.
    #[serde(default)]
    pub variant: Option<String>,
    /// For a variant: the `kubernetes` block it was recorded under.
    #[serde(default)]
    pub kubernetes: Option<String>,
    /// Steps to run once a cluster.
    #[serde(default)]
    pub prelude: Vec<Step>,
    /// Steps to run in order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// `namespace/name` → what the Endpoints hold.
    #[serde(default)]
    pub endpoints: BTreeMap<String, Value>,
    /// `namespace/service/addressType` → what the slices hold together.
    #[serde(default)]
    pub slices: BTreeMap<String, Value>,
    /// Questions with their answers.
    #[serde(default)]
    pub dns: Vec<Exchange>,
}

/// One step: `["apply", object]`, `["delete", reference]` or `["settle"]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Vec<Value>")]
pub enum Step {
    /// Create or update the object, then write its status.
    Apply(Value),
    /// Delete the object this names.
    Delete(Value),
    /// Wait until nothing changes any more.
    Settle,
}

impl TryFrom<Vec<Value>> for Step {
    type Error = String;

    fn try_from(parts: Vec<Value>) -> Result<Self, String> {
        let mut parts = parts.into_iter();
        let verb = parts.next();
        match (verb.as_ref().and_then(Value::as_str), parts.next()) {
            (Some("apply"), Some(object)) => Ok(Self::Apply(object)),
            (Some("delete"), Some(object)) => Ok(Self::Delete(object)),
            (Some("settle"), None) => Ok(Self::Settle),
            other => Err(format!("not a step: {other:?}")),
        }
    }
}

impl Case {
    /// Reads one case.
    ///
    /// # Errors
    /// When the file cannot be read or is not a case; the error names it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Every scenario in `e2e/cases`, by name.
    ///
    /// # Errors
    /// When a file cannot be read, or there is none.
    pub fn all() -> Result<Vec<Self>> {
        Self::in_folder(&folder(), |name| name != "protocol.json")
    }

    /// Every variant in `e2e/cases/variants`, by name.
    ///
    /// # Errors
    /// When a file cannot be read, or there is none.
    pub fn variants() -> Result<Vec<Self>> {
        Self::in_folder(&folder().join("variants"), |_| true)
    }

    fn in_folder(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<Self>> {
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(".json") && wanted(name) {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            bail!("no cases in {}", folder.display());
        }
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// The objects its steps apply.
    pub fn applied(&self) -> impl Iterator<Item = &Value> {
        self.steps.iter().filter_map(|step| match step {
            Step::Apply(object) => Some(object),
            Step::Delete(_) | Step::Settle => None,
        })
    }

    /// The recorded answers, and what is wanted in the place of wrong ones. A variant has no steps of its own: `scenario`
    /// is the case whose steps were played.
    pub fn recording(&self, scenario: &Self) -> Recording {
        Recording::new(scenario.applied(), &self.dns)
    }

    /// The namespaces its steps create: the ones it owns.
    pub fn namespaces(&self) -> Vec<String> {
        let namespaces =
            self.applied().filter(|object| object.get("kind").and_then(Value::as_str) == Some("Namespace"));
        let names = namespaces.filter_map(|object| object.pointer("/metadata/name")?.as_str());
        names.map(str::to_owned).collect()
    }
}

/// Where the recorded cases are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}
