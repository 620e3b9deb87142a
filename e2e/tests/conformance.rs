//! Every recorded case: the objects the controllers write and the answers DNS gives, through an API server and over
//! sockets, compared with what Kubernetes and CoreDNS made of the same objects.
//!
//! All scenarios are loaded into one cluster; each is then a test of its own. With `CALLSIGN_E2E_KUBECONFIG` set the
//! cluster is that one's; its own endpoint controllers must be off. It must have none of the suite's namespaces and Nodes, and has
//! none afterwards. The other suites freeze, break and count requests: they have API servers of their own.

use std::{collections::BTreeMap, path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context, Result, bail};
use callsign_e2e::{
    apiserver::{Options, kind::Kind},
    harness::{
        answers::Exchange,
        case::Case,
        in_place::Place,
        objects,
        process::Callsign,
        resolver::Resolver,
        world::{World, eventually},
    },
};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::{Handle, Runtime};

/// The recorded server's settings. The machine it ran on had this address, which a scenario happens to use too.
const SETTINGS: [&str; 6] = ["--pods", "insecure", "--ttl", "30", "--own-address", "192.0.2.2"];

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let runtime = Runtime::new()?;
    let cases = Case::all()?;
    // A list of the tests needs no cluster.
    let worlds = if arguments.list { None } else { Some(runtime.block_on(Worlds::load(&cases))?) };
    let worlds = Arc::new(worlds);
    let mut trials = Vec::new();
    let cases: Vec<Arc<Case>> = cases.into_iter().map(Arc::new).collect();
    for case in &cases {
        let name = &case.scenario;
        let both = (Arc::clone(case), Arc::clone(case));
        trials.push(trial(&runtime, format!("{name}::objects"), &worlds, both.clone(), objects_as_recorded));
        trials.push(trial(&runtime, format!("{name}::answers"), &worlds, both, answers_as_recorded));
    }
    for variant in Case::variants()? {
        let name = variant.variant.clone().unwrap_or_default();
        let scenario = cases.iter().find(|case| case.scenario == variant.scenario);
        let scenario =
            scenario.with_context(|| format!("the scenario of a variant: {}", variant.scenario))?;
        let name = format!("{}::answers::{name}", variant.scenario);
        let both = (Arc::new(variant), Arc::clone(scenario));
        trials.push(trial(&runtime, name, &worlds, both, answers_as_recorded));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(worlds) = worlds.as_ref().as_ref().filter(|worlds| worlds.world.server.is_none()) {
        let cases: Vec<Case> = Case::all()?;
        runtime.block_on(worlds.world.cluster.clear(&cases))?;
    }
    // The processes end with their worlds.
    drop(worlds);
    Ok(conclusion.exit_code())
}

/// A test of what was recorded, and the scenario that was played for it.
fn trial<F>(
    runtime: &Runtime,
    name: String,
    worlds: &Arc<Option<Worlds>>,
    (recorded, played): (Arc<Case>, Arc<Case>),
    test: F,
) -> Trial
where
    F: AsyncFn(&Worlds, &Case, &Case) -> Result<()> + Send + 'static,
{
    let (worlds, runtime): (_, Handle) = (Arc::clone(worlds), runtime.handle().clone());
    Trial::test(name, move || {
        let Some(worlds) = worlds.as_ref() else { return Err(Failed::from("no cluster")) };
        runtime.block_on(test(worlds, &recorded, &played)).map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// One cluster with every scenario in it, and a server for each setting.
struct Worlds {
    world: World,
    variants: BTreeMap<String, Variant>,
}

/// A server in the place of CoreDNS beside the same cluster, with the variant's `kubernetes` block in its Corefile.
struct Variant {
    #[expect(dead_code, reason = "the process lives as long as this")]
    callsign: Callsign,
    place: Place,
}

impl Worlds {
    async fn load(cases: &[Case]) -> Result<Self> {
        let binary = Path::new(env!("CARGO_BIN_EXE_callsign"));
        let world = World::of_environment(binary, Options::default(), &SETTINGS).await?;
        if world.server.is_none() {
            world.cluster.is_free_of(cases).await?;
        }
        if let Err(error) = play(&world, cases).await {
            if world.server.is_none() {
                world.cluster.clear(cases).await.context("after a step that was refused")?;
            }
            return Err(error);
        }
        let mut variants: BTreeMap<String, Variant> = BTreeMap::new();
        for case in Case::variants()? {
            let name = case.variant.context("a variant's name")?;
            if variants.contains_key(&name) {
                continue;
            }
            let block =
                case.kubernetes.context("a variant's block")?.replace("{ ", "{\n").replace(" }", "\n}");
            let place = Place::beside(&world)?;
            place.write("Corefile", &format!(". {{\n{block}\nloadbalance\n}}\n"))?;
            let callsign = place.start(binary, &[])?;
            place.answers(&callsign, "dns-version.cluster.local.", "TXT").await?;
            variants.insert(name, Variant { callsign, place });
        }
        Ok(Self { world, variants })
    }
}

async fn play(world: &World, cases: &[Case]) -> Result<()> {
    for case in cases {
        world.cluster.play(&case.prelude).await?;
        world.cluster.play(&case.steps).await?;
    }
    world.cluster.settle().await
}

async fn objects_as_recorded(worlds: &Worlds, case: &Case, _: &Case) -> Result<()> {
    let namespaces = case.namespaces();
    eventually("as recorded", async || {
        let endpoints = worlds.world.cluster.list(Kind::Endpoints).await?;
        let slices = worlds.world.cluster.list(Kind::EndpointSlice).await?;
        let endpoints = objects::endpoints(&endpoints, &namespaces);
        let slices = objects::slices(&slices, &namespaces);
        let mut differences = objects::differences(&objects::canonical(&case.endpoints), &endpoints);
        differences.extend(objects::differences(&objects::canonical(&case.slices), &slices));
        if !differences.is_empty() {
            bail!("{} differences:\n{}", differences.len(), differences.join("\n"));
        }
        Ok(())
    })
    .await
}

async fn answers_as_recorded(worlds: &Worlds, case: &Case, played: &Case) -> Result<()> {
    let server = match &case.variant {
        Some(variant) => worlds.variants.get(variant).map_or(worlds.world.dns, |variant| variant.place.dns()),
        None => worlds.world.dns,
    };
    let resolver = Resolver::new(server).await?;
    let recording = case.recording(played);
    eventually("as recorded", async || {
        let mut differences = Vec::new();
        for question in &case.dns {
            let wanted = match &case.variant {
                // A chain whose end nobody answers, as it was recorded.
                Some(_) if question.rcode == "SERVFAIL" => question.clone().lower_data(),
                _ => recording.wanted(question),
            };
            let found: Exchange = resolver.ask(&question.name, &question.kind).await?.lower_data();
            if found != wanted {
                differences.push(format!("wanted {wanted:?}\n    found  {found:?}"));
            }
        }
        if !differences.is_empty() {
            let shown = differences.iter().take(5).cloned().collect::<Vec<_>>();
            bail!("{} of {} answers differ:\n{}", differences.len(), case.dns.len(), shown.join("\n"));
        }
        Ok(())
    })
    .await
}
