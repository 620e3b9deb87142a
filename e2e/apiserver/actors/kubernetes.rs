//! The Service `kubernetes` and its endpoints, which come back when somebody deletes them.

use std::sync::Arc;

use super::{Follower, told};
use crate::apiserver::boot;
use crate::apiserver::kind::Kind;
use crate::apiserver::object::Key;
use crate::apiserver::store::Store;

pub(super) async fn run(store: Arc<Store>) {
    let (mut follower, _) =
        Follower::new(Arc::clone(&store), &[Kind::Service, Kind::Endpoints, Kind::EndpointSlice]);
    loop {
        let news = follower.next().await;
        let ours = |key: &Key| &*key.namespace == "default" && &*key.name == "kubernetes";
        if news.iter().any(|it| it.gone && ours(&it.object.key)) {
            told("kube-apiserver", boot::kubernetes(&store));
        }
    }
}
