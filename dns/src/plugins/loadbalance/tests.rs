use std::{collections::HashMap, time::Duration};

use hickory_proto::{op::ResponseCode, rr::RecordType};

use super::*;
use crate::testing::{self, record};

fn plugin(text: &str) -> Arc<dyn Plugin> {
    let config = testing::config(&format!(".:53 {{\n {text}\n}}")).unwrap();
    config.blocks[0].chain[0].start(&testing::world()).unwrap()
}

async fn through(plugin: &Arc<dyn Plugin>, qtype: RecordType, texts: &[&str]) -> Vec<String> {
    let answers: Vec<Record> = texts.iter().map(|text| record(text)).collect();
    let mut query = testing::query("www.example.org.", qtype);
    let answer =
        move |_: &Query| Reply { answers: answers.clone(), ..Reply::new("tail", ResponseCode::NoError) };
    let reply = testing::ask_one(Arc::clone(plugin), &mut query, answer).await;
    reply.answers.iter().map(|record| record.data.to_string()).collect()
}

const SET: [&str; 3] =
    ["www.example.org. 60 A 192.0.2.1", "www.example.org. 60 A 192.0.2.2", "www.example.org. 60 A 192.0.2.3"];

#[tokio::test]
async fn every_address_comes_first_at_times_and_aliases_always() {
    let plugin = plugin("loadbalance");
    let mut firsts = HashMap::new();
    for _ in 0..300 {
        let alias = "a.example.org. 60 CNAME www.example.org.";
        let mx = "www.example.org. 60 MX 10 mx.example.org.";
        let order = through(&plugin, RecordType::A, &[mx, SET[0], SET[1], alias, SET[2]]).await;
        assert_eq!(order[0], "www.example.org.");
        assert_eq!(order[4], "10 mx.example.org.");
        *firsts.entry(order[1].clone()).or_insert(0) += 1;
    }
    assert_eq!(firsts.len(), 3);
    assert!(firsts.values().all(|count| *count > 50), "{firsts:?}");
}

#[tokio::test]
async fn preferred_ranges_come_first() {
    let plugin = plugin("loadbalance round_robin {\n prefer 192.0.2.3/32 192.0.2.2/32\n }");
    for _ in 0..10 {
        assert_eq!(through(&plugin, RecordType::A, &SET).await, ["192.0.2.3", "192.0.2.2", "192.0.2.1"]);
    }
}

#[tokio::test]
async fn weights_decide_and_follow_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights");
    std::fs::write(&file, "Www.example.org\n192.0.2.1 98\n").unwrap();
    let text = format!("loadbalance weighted {} {{\n reload 10ms\n }}", file.display());
    let plugin = plugin(&text);
    let mut first = 0;
    for _ in 0..500 {
        first += u32::from(through(&plugin, RecordType::A, &SET).await[0] == "192.0.2.1");
    }
    assert!((470..500).contains(&first), "98 of 100: {first}");
    std::fs::write(&file, "www.example.org\n192.0.2.2 250\n192.0.2.1 1\n").unwrap();
    let mut turned = 0;
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        turned += u32::from(through(&plugin, RecordType::A, &SET).await[0] == "192.0.2.2");
    }
    assert!(turned > 100, "{turned}");
}

#[tokio::test]
async fn round_robin_leaves_cluster_names_to_the_quick_way() {
    let router = testing::router(".:53 {\n loadbalance\n kubernetes cluster.local\n}");
    let query = testing::query("heads.ns.svc.cluster.local.", RecordType::A);
    assert!(testing::quickly(&router, &query).is_some());
}

#[test]
fn policies_are_checked() {
    for (text, message) in [
        ("loadbalance fair", "unknown policy: fair"),
        ("loadbalance round_robin x", "unknown property for round_robin"),
        ("loadbalance weighted", "missing weight file argument"),
        ("loadbalance weighted a b", "unexpected argument(s)"),
    ] {
        let error = testing::config(&format!(".:53 {{\n {text}\n}}")).unwrap_err().to_string();
        assert_eq!(error, format!("plugin/loadbalance: Corefile:2 - Error during parsing: {message}"));
    }
    let error =
        testing::config(".:53 {\n loadbalance {\n prefer 10.0.0.0/33\n }\n}").unwrap_err().to_string();
    assert!(error.ends_with("invalid CIDR \"10.0.0.0/33\""), "{error}");
}
