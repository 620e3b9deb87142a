//! `whoami`: tells a client who it is: its address and, as a SRV record, its port and protocol.

use std::net::IpAddr;

use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, rdata},
};

use super::reading::{no_body, once};
use crate::{
    answer::Transport,
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Next, Plugin, Prepared, Query, Reply, Setup, lines},
};

/// Reads the directive.
///
/// # Errors
/// When it has arguments.
pub(super) fn setup(_: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    directive.exactly::<0>()?;
    no_body(directive)?;
    Ok(Prepared::of(lines(directive), Whoami).alone())
}

struct Whoami;

impl Plugin for Whoami {
    fn name(&self) -> &'static str {
        "whoami"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, _: Next<'a>) -> BoxFuture<'a, Reply> {
        let mut reply = Reply::new(self.name(), ResponseCode::NoError);
        reply.authoritative = true;
        let address = match query.peer.address.ip().to_canonical() {
            IpAddr::V4(ip) => RData::A(rdata::A(ip)),
            IpAddr::V6(ip) => RData::AAAA(rdata::AAAA(ip)),
        };
        reply.additionals.push(Record::from_rdata(query.name().clone(), 0, address));
        let protocol = match query.peer.transport {
            Transport::Udp => "_udp",
            Transport::Tcp => "_tcp",
        };
        // A name that has no room for one more label has no such record.
        if let Ok(owner) = query.name().prepend_label(protocol) {
            let srv = rdata::SRV::new(0, 0, query.peer.address.port(), Name::root());
            reply.additionals.push(Record::from_rdata(owner, 0, RData::SRV(srv)));
        }
        Box::pin(std::future::ready(reply))
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RecordType;

    use crate::testing;

    #[tokio::test]
    async fn tells_address_port_and_protocol() {
        let router = testing::router(".:53 {\n whoami\n}");
        let reply = testing::ask(&router, "Example.org.", RecordType::A).await;
        let text: Vec<String> = reply.additionals.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["Example.org. 0 IN A 10.240.0.1", "_udp.Example.org. 0 IN SRV 0 0 40212 ."]);
        assert!(reply.authoritative && reply.answers.is_empty());
        assert!(testing::config(".:53 {\n whoami x\n}").is_err());
    }
}
