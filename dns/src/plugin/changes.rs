//! Which zones of a block have changed: said by those who serve them, heard by who tells secondaries.

use hickory_proto::rr::Name;
use tokio::sync::broadcast;

/// Changes that may wait for their hearers. More are lost to a hearer that is slow: it tells of the zone with the next.
const WAITING: usize = 256;

/// A block's news.
#[derive(Clone, Debug)]
pub struct Changes(broadcast::Sender<Name>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING))
    }
}

impl Changes {
    /// Says that this zone is another now.
    pub fn tell(&self, zone: &Name) {
        // Nobody need be listening.
        let _ = self.0.send(zone.clone());
    }

    /// Hears what is said from now on.
    pub fn listen(&self) -> broadcast::Receiver<Name> {
        self.0.subscribe()
    }
}
