mod page;
mod scenario;

#[tokio::test(flavor = "multi_thread")]
async fn try_it() -> anyhow::Result<()> {
    let shown = tokio::time::timeout(scenario::PATIENCE, scenario::play()).await??;
    let mut names: std::collections::BTreeMap<String, (String, std::collections::BTreeSet<String>)> = Default::default();
    for page in shown.pages {
        for (name, family) in page.families {
            let e = names.entry(name).or_insert((family.kind, Default::default()));
            for s in family.samples { e.1.insert(s.labels.keys().filter(|k| *k != "le").cloned().collect::<Vec<_>>().join(",")); }
        }
    }
    for (n, (k, l)) in names { println!("{n} {k} {l:?}"); }
    Ok(())
}
