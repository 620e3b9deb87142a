//! Pods by their addresses: verified pod names, and who a client is.
//!
//! An address is one pod's at a time, but not in every moment that the watch shows: a pod that is gone may still be there
//! when its address is another's already, and all pods of a node's network have the node's. So an address may have several
//! pods here, and who asks is only said where there is no doubt.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use callsign_shared::{index::Index, name::Key, object::Pod};
use dashmap::DashMap;
use smallvec::SmallVec;

use super::ZoneConfig;

type Hasher = foldhash::fast::RandomState;

/// The pods of every address.
#[derive(Debug, Default)]
pub(super) struct Clients {
    holders: DashMap<IpAddr, SmallVec<[Holder; 1]>, Hasher>,
}

/// A pod that has an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holder {
    pub(super) key: Key,
    /// It is the pod's first address: the one that its name is made of, as with CoreDNS.
    pub(super) first: bool,
}

/// The addresses under which each pod was last entered.
pub(super) type Entered = HashMap<Key, SmallVec<[IpAddr; 1]>>;

impl Clients {
    /// Enters a pod as it is now.
    pub(super) fn refresh(&self, config: &ZoneConfig, index: &Index, entered: &mut Entered, key: &Key) {
        let pod = index.pod(key).filter(|pod| {
            !pod.finished() && config.labels.as_ref().is_none_or(|labels| labels.matches(&pod.meta.labels))
        });
        let now = pod.map(|pod| pod.ips.clone()).unwrap_or_default();
        let before =
            if now.is_empty() { entered.remove(key) } else { entered.insert(key.clone(), now.clone()) };
        let before = before.unwrap_or_default();
        if before == now {
            return;
        }
        for (at, ip) in now.iter().enumerate() {
            let mut holders = self.holders.entry(*ip).or_default();
            holders.retain(|holder| holder.key != *key);
            holders.push(Holder { key: key.clone(), first: at == 0 });
            holders.sort_unstable();
        }
        for ip in before.iter().filter(|ip| !now.contains(ip)) {
            if let Some(mut holders) = self.holders.get_mut(ip) {
                holders.retain(|holder| holder.key != *key);
            }
            self.holders.remove_if(ip, |_, holders| holders.is_empty());
        }
    }

    /// Whether a pod of the namespace has this as its first address.
    pub(super) fn has(&self, namespace: &str, ip: IpAddr) -> bool {
        let holders = self.holders.get(&ip);
        holders.is_some_and(|holders| {
            holders.iter().any(|holder| holder.first && holder.key.namespace.as_str() == namespace)
        })
    }

    /// The one pod that asks from this address. Pods of a node's network are none; of several the one that is not being
    /// deleted, if that is one.
    pub(super) fn at(&self, index: &Index, ip: IpAddr) -> Option<Arc<Pod>> {
        let pods: SmallVec<[Arc<Pod>; 2]> = {
            let holders = self.holders.get(&ip)?;
            holders.iter().filter_map(|holder| index.pod(&holder.key)).collect()
        };
        // What is at a node's address is not the pod that asks, but any of the node's.
        if pods.iter().any(|pod| pod.host_network) {
            return None;
        }
        let only = |pods: &mut dyn Iterator<Item = &Arc<Pod>>| match (pods.next(), pods.next()) {
            (Some(pod), None) => Some(Arc::clone(pod)),
            _ => None,
        };
        let has_it = |pod: &&Arc<Pod>| !pod.finished() && pod.ips.contains(&ip);
        only(&mut pods.iter().filter(has_it))
            .or_else(|| only(&mut pods.iter().filter(has_it).filter(|pod| !pod.meta.deleting)))
    }

    #[cfg(test)]
    pub(super) fn snapshot(&self) -> std::collections::BTreeMap<IpAddr, Vec<Holder>> {
        self.holders.iter().map(|entry| (*entry.key(), entry.value().to_vec())).collect()
    }
}
