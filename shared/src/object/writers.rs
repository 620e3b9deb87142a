//! Who else wrote an object: what `metadata.managedFields` tells of others than us.
//!
//! The entries name every manager with the time of its last write and the fields it still owns. They are most of an
//! object's text, and all that is kept of them is who came last, and when. Of an object that only Callsign wrote nothing
//! is kept and nothing is allocated.

use std::{borrow::Cow, fmt};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use super::well_known;
use crate::name::Name;

/// The writes of others that an object still shows. Times have a resolution of a second and are the API server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignWrites {
    /// Who wrote last, of all that are not Callsign.
    pub manager: Name,
    /// When.
    pub at: Timestamp,
    /// When kube-controller-manager last wrote endpoints or ports that are still its own. Its garbage collector writes
    /// owners under the same name; that does not count.
    pub controller: Option<Timestamp>,
}

/// `managedFields` where they are read.
#[derive(Debug, Default)]
pub(super) struct Writers(pub(super) Option<Box<ForeignWrites>>);

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    manager: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
    #[serde(default, rename = "fieldsV1")]
    fields: Option<Fields>,
}

/// The fields that only a controller of endpoints writes.
#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "f:endpoints")]
    endpoints: Option<IgnoredAny>,
    #[serde(rename = "f:ports")]
    ports: Option<IgnoredAny>,
    #[serde(rename = "f:subsets")]
    subsets: Option<IgnoredAny>,
}

impl Writers {
    fn add(&mut self, entry: &Entry<'_>) {
        if entry.manager == well_known::FIELD_MANAGER {
            return;
        }
        // An entry without a time, as clients may write it, says nothing about when.
        let Ok(at) = entry.time.parse::<Timestamp>() else { return };
        let content = entry
            .fields
            .as_ref()
            .is_some_and(|f| f.endpoints.is_some() || f.ports.is_some() || f.subsets.is_some());
        let controller = (content && entry.manager == well_known::KUBE_CONTROLLER_MANAGER).then_some(at);
        match &mut self.0 {
            None => {
                let manager = Name::new(&entry.manager);
                self.0 = Some(Box::new(ForeignWrites { manager, at, controller }));
            }
            Some(known) => {
                known.controller = known.controller.max(controller);
                if at > known.at {
                    known.at = at;
                    known.manager = Name::new(&entry.manager);
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Writers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Writers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of managers")
            }

            fn visit_unit<E>(self) -> Result<Writers, E> {
                Ok(Writers::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Writers, A::Error> {
                let mut writers = Writers::default();
                while let Some(entry) = list.next_element::<Entry<'de>>()? {
                    writers.add(&entry);
                }
                Ok(writers)
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<ForeignWrites> {
        serde_json::from_str::<Writers>(json).unwrap().0.map(|writes| *writes)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_of_the_others_counts() {
        let writes = read(
            r#"[{"manager":"kube-controller-manager","operation":"Update","time":"2026-01-01T00:00:05Z",
                 "fieldsV1":{"f:endpoints":{},"f:metadata":{"f:labels":{"f:a":{}}}}},
                {"manager":"callsign","time":"2026-01-01T00:00:09Z","fieldsV1":{"f:ports":{}}},
                {"manager":"kubectl-edit","time":"2026-01-01T00:00:07Z","fieldsV1":{"f:endpoints":{}}},
                {"manager":"kube-controller-manager","time":"2026-01-01T00:00:08Z",
                 "fieldsV1":{"f:metadata":{"f:ownerReferences":{}}}},
                {"manager":"nobody"}]"#,
        )
        .unwrap();
        assert_eq!(writes.manager, "kube-controller-manager");
        assert_eq!(writes.at, at("2026-01-01T00:00:08Z"));
        assert_eq!(writes.controller, Some(at("2026-01-01T00:00:05Z")), "the garbage collector is no writer");
    }

    #[test]
    fn of_our_own_nothing_is_kept() {
        assert_eq!(read("null"), None);
        assert_eq!(read("[]"), None);
        assert_eq!(read(r#"[{"manager":"callsign","time":"2026-01-01T00:00:09Z"}]"#), None);
        assert!(serde_json::from_str::<Writers>(r#"{"a":1}"#).is_err());
    }
}
