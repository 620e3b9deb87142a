//! Sets of fields, and their form on the wire (`FieldsV1`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// A field of an object, or a key of a map: `f:name`.
    Field(String),
    /// An item of a list by its keys, each with its value as JSON: `k:{"name":"a"}`.
    Key(BTreeMap<String, String>),
    /// A value of a set, as JSON: `v:"a"`.
    Value(String),
}

impl Step {
    fn parse(text: &str) -> Option<Self> {
        let (form, rest) = text.split_once(':')?;
        match form {
            "f" => Some(Self::Field(rest.to_owned())),
            "v" => Some(Self::Value(serde_json::from_str::<Value>(rest).ok()?.to_string())),
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Self::Key(keys.into_iter().map(|(key, value)| (key, value.to_string())).collect()))
            }
            _ => None,
        }
    }

    fn on_the_wire(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Key(keys) => {
                let keys: Vec<String> = keys
                    .iter()
                    .map(|(key, value)| format!("{}:{value}", Value::from(key.as_str())))
                    .collect();
                format!("k:{{{}}}", keys.join(","))
            }
        }
    }

    /// As users read it: `.name`, `[name="a"]`, `[="a"]`.
    fn shown(&self) -> String {
        match self {
            Self::Field(name) => format!(".{name}"),
            Self::Value(value) => format!("[={value}]"),
            Self::Key(keys) => {
                let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("[{}]", keys.join(","))
            }
        }
    }
}

/// A set of paths, as a tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct FieldSet {
    nodes: BTreeMap<Step, Node>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Node {
    member: bool,
    below: FieldSet,
}

impl FieldSet {
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether this very path is in the set.
    pub(super) fn has(&self, step: &Step) -> bool {
        self.nodes.get(step).is_some_and(|node| node.member)
    }

    /// What the set has below a step.
    pub(super) fn below(&self, step: &Step) -> Option<&Self> {
        self.nodes.get(step).map(|node| &node.below).filter(|below| !below.is_empty())
    }

    /// The steps at this level.
    pub(super) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.nodes.keys()
    }

    /// Puts a path of one step in.
    pub(super) fn insert(&mut self, step: Step) {
        self.nodes.entry(step).or_default().member = true;
    }

    /// Puts everything below a step in; nothing happens for an empty set.
    pub(super) fn insert_below(&mut self, step: Step, below: Self) {
        if !below.is_empty() {
            let node = self.nodes.entry(step).or_default();
            node.below = node.below.union(&below);
        }
    }

    /// Takes one path of fields out; what is below it stays.
    pub(super) fn remove(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let step = Step::Field((*first).to_owned());
        if let Some(node) = self.nodes.get_mut(&step) {
            if rest.is_empty() {
                node.member = false;
            } else {
                node.below.remove(rest);
            }
            if !node.member && node.below.is_empty() {
                self.nodes.remove(&step);
            }
        }
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        for (step, theirs) in &other.nodes {
            let node = union.nodes.entry(step.clone()).or_default();
            node.member |= theirs.member;
            node.below = node.below.union(&theirs.below);
        }
        union
    }

    pub(super) fn difference(&self, other: &Self) -> Self {
        self.combine(
            other,
            |mine, theirs| mine && !theirs,
            |mine, theirs| match theirs {
                Some(theirs) => mine.difference(theirs),
                None => mine.clone(),
            },
        )
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        self.combine(
            other,
            |mine, theirs| mine && theirs,
            |mine, theirs| match theirs {
                Some(theirs) => mine.intersection(theirs),
                None => Self::default(),
            },
        )
    }

    fn combine(
        &self,
        other: &Self,
        member: impl Fn(bool, bool) -> bool,
        below: impl Fn(&Self, Option<&Self>) -> Self,
    ) -> Self {
        let nodes = self
            .nodes
            .iter()
            .map(|(step, mine)| {
                let theirs = other.nodes.get(step);
                let node = Node {
                    member: member(mine.member, theirs.is_some_and(|theirs| theirs.member)),
                    below: below(&mine.below, theirs.map(|theirs| &theirs.below)),
                };
                (step.clone(), node)
            })
            .filter(|(_, node)| node.member || !node.below.is_empty())
            .collect();
        Self { nodes }
    }

    /// Every path, as users read it.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for (step, node) in &self.nodes {
            let shown = step.shown();
            if node.member {
                paths.push(shown.clone());
            }
            paths.extend(node.below.paths().into_iter().map(|path| format!("{shown}{path}")));
        }
        paths
    }

    /// Reads `fieldsV1`; steps nobody understands are left out.
    pub(super) fn from_json(value: &Value) -> Self {
        let mut set = Self::default();
        for (key, value) in value.as_object().into_iter().flatten() {
            if let Some(step) = Step::parse(key) {
                let below = Self::from_json(value);
                let member = below.is_empty() || value.get(".").is_some();
                set.nodes.insert(step, Node { member, below });
            }
        }
        set
    }

    /// Writes `fieldsV1`.
    pub(super) fn to_json(&self) -> Value {
        let mut map = Map::new();
        for (step, node) in &self.nodes {
            let mut value = node.below.to_json();
            if let (true, false, Some(map)) = (node.member, node.below.is_empty(), value.as_object_mut()) {
                map.insert(".".to_owned(), Value::Object(Map::new()));
            }
            map.insert(step.on_the_wire(), value);
        }
        Value::Object(map)
    }
}
