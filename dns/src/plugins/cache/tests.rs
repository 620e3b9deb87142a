use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use futures::future::BoxFuture;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RecordType},
};
use parking_lot::Mutex;

use super::{serve::Cache, *};
use crate::{
    answer::{Edns, Request, Transport},
    block::{Block, Route, Router},
    plugin::{Next, Plugin, Query, Quick, Quickly, Reply},
    testing::{self, record},
};

mod life;
mod quick;
mod reading;
mod refresh;

/// The source of answers behind a cache: it says what it is told to, and counts.
struct Source {
    asked: AtomicU32,
    reply: Mutex<Reply>,
}

struct Behind(Arc<Source>);

impl Plugin for Behind {
    fn name(&self) -> &'static str {
        "behind"
    }

    fn quick(&self, _: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        Quickly::Slow
    }

    fn serve<'a>(&'a self, _: &'a mut Query, _: Next<'a>) -> BoxFuture<'a, Reply> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let reply = self.0.reply.lock().clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            reply
        })
    }
}

/// A cache in front of a source, with a clock of its own.
struct Bench {
    router: Arc<Router>,
    source: Arc<Source>,
    clock: Clock,
    world: crate::plugin::World,
}

impl Bench {
    /// With the options of a directive, in a block of the root.
    fn new(directive: &str) -> Self {
        Self::with(directive, Vec::new())
    }

    /// With other plugins ahead of it.
    fn with(directive: &str, mut plugins: Vec<Arc<dyn Plugin>>) -> Self {
        let world = testing::world();
        let text = format!(".:53 {{\n {directive}\n}}");
        let corefile = crate::corefile::Corefile::parse("Corefile", &text, &testing::NoFiles).unwrap();
        let [block] = corefile.blocks.as_slice() else { panic!("{text}") };
        let config = testing::config(".:53").unwrap();
        let config = directive::read(&config.blocks[0], &block.directives[0]).unwrap();
        let clock = Clock::default();
        let source = Arc::new(Source { asked: AtomicU32::new(0), reply: Mutex::new(answer(&[])) });
        plugins.push(Arc::new(Cache::new(&config, &world, clock.clone())));
        plugins.push(Arc::new(Behind(Arc::clone(&source))));
        let mut router = Router::new("dns://:53".into());
        let block = Arc::new(Block::of(plugins));
        router.add(&Name::root(), Route { zone: ".".into(), block, metrics: None });
        Self { router: Arc::new(router), source, clock, world }
    }

    fn says(&self, reply: Reply) {
        *self.source.reply.lock() = reply;
    }

    fn asked(&self) -> u32 {
        self.source.asked.load(Ordering::Relaxed)
    }

    /// Lets time pass.
    fn wait(&self, seconds: f64) {
        self.clock.ahead.fetch_add((seconds * 1000.0) as u64, Ordering::Relaxed);
    }

    /// Asks the slow way, changed so.
    async fn ask_as(&self, query: Query) -> Reply {
        let mut query = Query { router: Arc::clone(&self.router), ..query };
        self.router.serve(&mut query).await
    }

    async fn ask(&self, name: &str, qtype: RecordType) -> Reply {
        testing::ask(&self.router, name, qtype).await
    }

    /// Asks for an address, and says the TTL of the first record.
    async fn ttl(&self, name: &str) -> u32 {
        let reply = self.ask(name, RecordType::A).await;
        let first = reply.answers.iter().chain(&reply.authorities).next();
        first.unwrap_or_else(|| panic!("{reply:?}")).ttl
    }

    fn metric(&self, line: &str) -> bool {
        self.world.meters.encode().unwrap().lines().any(|known| known == line)
    }
}

/// A question for an address, its request changed so.
fn query(name: &str, change: impl FnOnce(&mut Request)) -> Query {
    let plain = testing::query(name, RecordType::A);
    let mut request = (*plain.request).clone();
    change(&mut request);
    Query { request: Arc::new(request), ..plain }
}

fn dnssec_ok(request: &mut Request) {
    request.edns = Some(Edns { payload: 1232, version: 0, dnssec_ok: true, has_options: false });
}

fn answer(records: &[&str]) -> Reply {
    let answers = records.iter().map(|text| record(text)).collect();
    Reply { answers, recursion_available: true, ..Reply::new("behind", ResponseCode::NoError) }
}

fn denial(rcode: ResponseCode, ttl: u32, minimum: u32) -> Reply {
    let soa = format!("example. {ttl} SOA ns.example. hostmaster.example. 1 7200 1800 86400 {minimum}");
    Reply { authorities: vec![record(&soa)], ..Reply::new("behind", rcode) }
}
