//! The cluster's names, as RRsets that are ready before anybody asks.
//!
//! ```text
//!   Change ──▶ apply ──▶ services: "<service>.<namespace>" → Arc<ServiceNames>     A, AAAA, SRV, CNAME and all below
//!                        reverse:  address → names                                 PTR
//!                        namespaces, pods                                          what exists, verified pod names
//!                        name servers, serial                                      NS, ns.dns, SOA
//! ```
//!
//! A change recomputes what the Service, Namespace or Pod it names has to do with, and nothing else. Readers are many and
//! never wait for it: they find a Service's names as one whole value, old or new. Names that were there before a change
//! and are there after it do not disappear in between.
//!
//! Names that do not exist have no entry. Whether an inner name exists (a namespace, `_tcp.<service>`, a part of a
//! reverse name) follows from what is there, as RFC 8020 has it.
//!
//! There is neither IO nor a clock in here: whoever owns a [`Zone`] feeds it the index's changes and says when the index
//! has seen everything once ([`Zone::set_synced`]). Until then the cluster's names are not answered.

mod apex;
mod clients;
mod config;
mod hosts;
mod lookup;
mod names;
mod node;
mod open;
mod outside;
mod reverse;
mod service;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwap;
use callsign_shared::{
    index::{Change, ChangeKey, Index, Interest},
    name::{Key, Name as ObjectName},
    object::Pod,
};
use compact_str::CompactString as Text;
use dashmap::DashMap;
use hickory_proto::{rr::Name, serialize::binary::BinEncodable};
use parking_lot::Mutex;

pub use apex::{NameServer, NameServerName};
pub(crate) use config::is_reverse;
pub use config::{Pods, Requirement, Selector, ZoneConfig, ZoneError, reverse_zones};
pub use hosts::{Host, Hosts};
pub use lookup::{Found, Place};
pub use node::{Addresses, Node, SrvSet, Target};
pub use outside::{Outside, OutsidePlace};
pub use reverse::{Pointer, Pointers};
pub(crate) use reverse::{Range, read as read_reverse};
pub use service::{Kind, PortNames, ServiceNames};

type Hasher = foldhash::fast::RandomState;

/// The names of a cluster under one configuration. Share it in an [`Arc`].
pub struct Zone {
    config: ZoneConfig,
    index: Arc<Index>,
    zones: Vec<lookup::Cut>,
    /// [`Zone::primary`] on the wire.
    primary: Box<[u8]>,
    services: names::Names,
    reverse: reverse::Reverse,
    namespaces: DashMap<ObjectName, NamespaceState, Hasher>,
    clients: clients::Clients,
    open: open::Known,
    name_servers: ArcSwap<Vec<NameServer>>,
    serial: AtomicU32,
    synced: AtomicBool,
    writer: Mutex<Writer>,
}

/// Whether a namespace exists to DNS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct NamespaceState {
    /// There is a Namespace, and it is one that is served.
    exposed: bool,
    /// How many Services with names are in it.
    services: u32,
}

/// What the writing side remembers.
#[derive(Debug, Default)]
struct Writer {
    /// Services that have one of our own addresses.
    name_servers: BTreeMap<Key, Vec<NameServer>>,
    /// The addresses under which pods are known.
    entered: clients::Entered,
}

impl Zone {
    /// The zone of what is in the index now. It is not synced yet, and later changes must be fed to [`Zone::apply`].
    pub fn new(config: ZoneConfig, index: Arc<Index>) -> Self {
        let zone = Self {
            zones: lookup::cuts(&config.zones),
            primary: primary(&config).to_bytes().unwrap_or_default().into(),
            name_servers: ArcSwap::from_pointee(apex::fallback(&config.own_addresses)),
            services: names::Names::default(),
            reverse: reverse::Reverse::default(),
            namespaces: DashMap::default(),
            clients: clients::Clients::default(),
            open: open::Known::default(),
            serial: AtomicU32::new(0),
            synced: AtomicBool::new(false),
            writer: Mutex::default(),
            config,
            index,
        };
        {
            let mut writer = zone.writer.lock();
            for namespace in zone.index.namespaces() {
                zone.refresh_namespace(&namespace.meta.key.name);
            }
            for view in zone.index.views() {
                zone.refresh_service(&mut writer, &view.key);
            }
            if zone.config.pods == Pods::Verified {
                for pod in zone.index.pods() {
                    zone.refresh_pod(&mut writer, &pod.meta.key);
                }
            }
        }
        zone.serial.store(zone.index.serial(), Ordering::Release);
        zone
    }

    /// The configuration.
    pub fn config(&self) -> &ZoneConfig {
        &self.config
    }

    /// What a feed for this zone must carry.
    pub fn interest(&self) -> Interest {
        Interest { pods: self.config.pods == Pods::Verified, nodes: false }
    }

    /// Takes in changes of the index. Applying the same change twice, or one whose object is gone by now, does no harm.
    pub fn apply(&self, changes: &[Change]) {
        let mut writer = self.writer.lock();
        for change in changes {
            match &change.key {
                ChangeKey::Service(key) => self.refresh_service(&mut writer, key),
                ChangeKey::Namespace(name) => self.refresh_namespace(name),
                ChangeKey::Pod(key) if self.config.pods == Pods::Verified => {
                    self.refresh_pod(&mut writer, key);
                }
                ChangeKey::Pod(_) | ChangeKey::Node(_) => {}
            }
        }
        self.services.tidy();
        drop(writer);
        self.serial.store(self.index.serial(), Ordering::Release);
    }

    /// Says that the index has seen every object once and all of it has been applied: from now on what is not there does
    /// not exist.
    pub fn set_synced(&self) {
        self.synced.store(true, Ordering::Release);
    }

    /// Whether the zone may be answered from.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// The zones' serial.
    pub fn serial(&self) -> u32 {
        self.serial.load(Ordering::Acquire)
    }

    /// The name servers of every zone.
    pub fn name_servers(&self) -> Arc<Vec<NameServer>> {
        self.name_servers.load_full()
    }

    /// Every Service with names, in the order of their keys.
    pub fn all_services(&self) -> Vec<Arc<ServiceNames>> {
        let mut all = self.services.all();
        all.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Every address with PTR records, in order.
    pub fn all_addresses(&self) -> Vec<IpAddr> {
        self.reverse.addresses()
    }

    /// The pod that asks from an address, where that is known: pods are verified, and there is one that has it for itself.
    pub fn client(&self, ip: IpAddr) -> Option<Arc<Pod>> {
        if self.config.pods == Pods::Verified { self.clients.at(&self.index, ip) } else { None }
    }

    /// The zone that PTR records point into.
    pub fn primary(&self) -> &Name {
        primary(&self.config)
    }

    /// The same on the wire, in the letters of the configuration.
    pub(crate) fn primary_wire(&self) -> &[u8] {
        &self.primary
    }

    /// How many Services have names.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// How many endpoints of theirs have names.
    pub fn endpoints(&self) -> usize {
        self.services.endpoints()
    }

    /// Whether no Service has a name.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn refresh_namespace(&self, name: &ObjectName) {
        let namespace = self.index.namespace(name).filter(|namespace| {
            self.config.serves(&Key { namespace: name.clone(), name: ObjectName::default() })
                && self
                    .config
                    .namespace_labels
                    .as_ref()
                    .is_none_or(|labels| labels.matches(&namespace.meta.labels))
        });
        self.edit_namespace(name, |state| state.exposed = namespace.is_some());
    }

    fn refresh_service(&self, writer: &mut Writer, key: &Key) {
        let view = self.index.view(key);
        let names = view.and_then(|view| ServiceNames::build(&self.config, &view));
        if !self.config.own_addresses.is_empty() {
            let servers =
                names.as_ref().and_then(|names| apex::of_service(names, &self.config.own_addresses));
            self.refresh_name_servers(writer, key, servers);
        }
        let mut names = names.filter(|_| self.config.serves(key));
        let entry = service_key(key);
        let old = self.services.get(&entry);
        if let (Some(names), Some(old)) = (&mut names, &old) {
            // One key for all that lead to it, however often it changes.
            names.key = Arc::clone(&old.key);
        }
        if old.as_deref() == names.as_ref() {
            return;
        }
        let shown = |names: Option<&ServiceNames>| names.is_some_and(|names| names.kind != Kind::Hidden);
        let (was_shown, is_shown) = (shown(old.as_deref()), shown(names.as_ref()));
        if is_shown && !was_shown {
            self.edit_namespace(&key.namespace, |state| state.services += 1);
        }
        let owner = names.as_ref().map_or_else(|| Arc::new(key.clone()), |names| Arc::clone(&names.key));
        // Forward names first: a PTR record never leads to a name that is not there yet.
        let names = names.map(Arc::new);
        match &names {
            Some(names) => {
                self.services.insert(entry, Arc::clone(names));
                self.reverse.replace(&owner, old.as_deref(), Some(names));
            }
            None => {
                self.reverse.replace(&owner, old.as_deref(), None);
                self.services.remove(&entry);
            }
        }
        if was_shown && !is_shown {
            self.edit_namespace(&key.namespace, |state| state.services = state.services.saturating_sub(1));
        }
    }

    fn refresh_name_servers(&self, writer: &mut Writer, key: &Key, servers: Option<Vec<NameServer>>) {
        let changed = match servers {
            Some(servers) if writer.name_servers.get(key) == Some(&servers) => false,
            Some(servers) => {
                writer.name_servers.insert(key.clone(), servers);
                true
            }
            None => writer.name_servers.remove(key).is_some(),
        };
        if changed {
            let mut all: Vec<NameServer> = writer.name_servers.values().flatten().cloned().collect();
            if all.is_empty() {
                all = apex::fallback(&self.config.own_addresses);
            }
            self.name_servers.store(Arc::new(all));
        }
    }

    fn refresh_pod(&self, writer: &mut Writer, key: &Key) {
        self.clients.refresh(&self.config, &self.index, &mut writer.entered, key);
    }

    fn edit_namespace(&self, name: &ObjectName, edit: impl FnOnce(&mut NamespaceState)) {
        edit(&mut self.namespaces.entry(name.clone()).or_default());
        self.namespaces.remove_if(name, |_, state| *state == NamespaceState::default());
    }
}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zone")
            .field("zones", &self.config.zones)
            .field("services", &self.services.len())
            .field("synced", &self.is_synced())
            .finish_non_exhaustive()
    }
}

/// A configuration has one by construction; without any the root stands in.
fn primary(config: &ZoneConfig) -> &Name {
    static ROOT: std::sync::OnceLock<Name> = std::sync::OnceLock::new();
    let mut names = config.zones.iter();
    names.find(|zone| !is_reverse(zone)).unwrap_or_else(|| ROOT.get_or_init(Name::root))
}

/// How a Service is found: as its labels stand in a name, each behind its length.
fn service_key(key: &Key) -> Text {
    let mut text = Text::default();
    for label in [&key.name, &key.namespace] {
        // No label of a name that is served is longer than 63 bytes, so that this is ASCII.
        text.push(char::from(u8::try_from(label.len()).unwrap_or_default()));
        text.push_str(label);
    }
    text
}

#[cfg(test)]
mod tests;
