//! Truncation: an Endpoints object lists a thousand addresses at most.
//!
//! Larger objects approach the size that etcd accepts, and each of their changes is sent whole to every watcher. The
//! share of each subset is upstream's (Kubernetes `pkg/controller/endpoint/endpoints_controller.go`,
//! `truncateEndpoints`): ready addresses come first; if they alone are too many, those that are not ready are dropped and
//! each subset keeps its share, rounded up, the last ones what is left; otherwise the same is done to those that are not
//! ready. EndpointSlices have no such limit.

use callsign_shared::object::{EndpointsAddress, Subset};

/// How many addresses an Endpoints object lists.
pub(crate) const CAPACITY: usize = 1000;

/// Cuts `subsets` down to `capacity` addresses and tells whether there were more.
pub(crate) fn truncate(subsets: &mut Vec<Subset>, capacity: usize) -> bool {
    let ready: usize = subsets.iter().map(|subset| subset.addresses.len()).sum();
    let unready: usize = subsets.iter().map(|subset| subset.not_ready_addresses.len()).sum();
    if ready + unready <= capacity {
        return false;
    }
    if ready > capacity {
        subsets.iter_mut().for_each(|subset| subset.not_ready_addresses.clear());
        share_out(subsets, |subset| &mut subset.addresses, ready, capacity);
    } else {
        share_out(subsets, |subset| &mut subset.not_ready_addresses, unready, capacity - ready);
    }
    // A subset needs an address.
    subsets.retain(|subset| !subset.addresses.is_empty() || !subset.not_ready_addresses.is_empty());
    true
}

fn share_out(
    subsets: &mut [Subset],
    list: impl Fn(&mut Subset) -> &mut Vec<EndpointsAddress>,
    total: usize,
    capacity: usize,
) {
    let mut left = capacity;
    for subset in subsets {
        let addresses = list(subset);
        addresses.truncate((addresses.len() * capacity).div_ceil(total).min(left));
        left -= addresses.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subsets(sizes: &[(usize, usize)]) -> Vec<Subset> {
        let subset = |(ready, unready): &(usize, usize)| Subset {
            addresses: vec![EndpointsAddress::default(); *ready],
            not_ready_addresses: vec![EndpointsAddress::default(); *unready],
            ports: Vec::new(),
        };
        sizes.iter().map(subset).collect()
    }

    fn truncated(sizes: &[(usize, usize)]) -> Option<Vec<(usize, usize)>> {
        let mut subsets = subsets(sizes);
        let sizes = |subset: &Subset| (subset.addresses.len(), subset.not_ready_addresses.len());
        truncate(&mut subsets, CAPACITY).then(|| subsets.iter().map(sizes).collect())
    }

    #[test]
    fn shares() {
        assert_eq!(truncated(&[(1000, 0)]), None);
        assert_eq!(truncated(&[(1001, 5)]), Some(vec![(1000, 0)]));
        assert_eq!(truncated(&[(900, 200)]), Some(vec![(900, 100)]));
        assert_eq!(truncated(&[(1000, 1)]), Some(vec![(1000, 0)]));
        assert_eq!(
            truncated(&[(205, 0), (400, 0), (402, 0), (400, 0), (693, 0)]),
            Some(vec![(98, 0), (191, 0), (192, 0), (191, 0), (328, 0)])
        );
        assert_eq!(truncated(&[(0, 700), (0, 700)]), Some(vec![(0, 500), (0, 500)]));
        assert_eq!(
            truncated(&[(999, 0), (0, 1), (0, 1)]),
            Some(vec![(999, 0), (0, 1)]),
            "an empty subset goes"
        );
    }
}
