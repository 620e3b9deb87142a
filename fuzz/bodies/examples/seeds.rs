//! Makes the seeds and dictionaries of the fuzz targets from the project's own cases: `cargo run -p callsign-fuzz-bodies --example seeds`.
//!
//! They are the files of `fuzz/seeds` that begin with `case-`; others are inputs that failed once (by their
//! faults) or that coverage found (`found-`).

#![expect(clippy::indexing_slicing, reason = "a program for developers")]

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use callsign_fuzz_bodies::{
    TARGETS,
    reply::{ID, QUESTIONS, request},
};
use hickory_proto::rr::{Name, RecordType};
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
/// By the target.
type Seeds = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

/// Recorded questions that become packets, of each recording: there are thousands that differ little.
const QUESTIONS_OF_EACH: usize = 3;
/// The longest seed.
const LONGEST: usize = 4096;

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut seeds = Seeds::new();
    packets(&root, &mut seeds)?;
    recordings(&root, &mut seeds)?;
    corefiles(&root, &mut seeds)?;
    replies(&mut seeds);
    zone_files(&mut seeds);
    for (target, inputs) in &seeds {
        let folder = root.join("fuzz/seeds").join(target);
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("case-")) {
                fs::remove_file(path)?;
            }
        }
        for (at, input) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("case-{at:03}")), input)?;
        }
        let bytes: usize = inputs.iter().map(Vec::len).sum();
        println!("{target}: {} seeds, {bytes} bytes", inputs.len());
    }
    dictionaries(&root.join("fuzz/dictionaries"))
}

/// The words of inputs, as libFuzzer reads them.
fn dictionaries(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for target in TARGETS {
        let line = |word: &&[u8]| {
            let bytes: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            format!("\"{bytes}\"\n")
        };
        let lines: String = target.words.iter().map(line).collect();
        fs::write(folder.join(target.name).with_extension("dict"), lines)?;
    }
    Ok(())
}

fn add(seeds: &mut Seeds, target: &'static str, input: Vec<u8>) {
    if input.len() <= LONGEST {
        seeds.entry(target).or_default().insert(input);
    }
}

fn json(path: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

/// A packet, as a request and as a question of each transport and Corefile.
fn packet(seeds: &mut Seeds, packet: Vec<u8>, how: u8) {
    add(seeds, "answer", [&[how], packet.as_slice()].concat());
    add(seeds, "packet", packet);
}

/// The recorded packets, and ones that are made to cost much.
fn packets(root: &Path, seeds: &mut Seeds) -> Result<()> {
    let probes = json(&root.join("e2e/cases/protocol.json"))?;
    for probe in probes.as_array().into_iter().flatten() {
        let query = unhex(probe["query"].as_str().unwrap_or_default())?;
        // The names that were recorded are not those of the small cluster.
        let small = replaced(&query, b"\x05nginx\x0bbasic-nginx", b"\x03vip\x02ns");
        for how in [0, 1] {
            packet(seeds, small.clone(), how);
        }
        packet(seeds, query, 2);
    }
    let names: [&[u8]; 12] = [
        b"\x03vip\x02ns\x03svc\x07cluster\x05local\0",
        b"\x05HEADS\x02ns\x03svc\x07cluster\x05local\0",
        b"\x03big\x02ns\x03svc\x07cluster\x05local\0",
        b"\x03out\x02ns\x03svc\x07cluster\x05local\0",
        b"\x06inside\x02ns\x03svc\x07cluster\x05local\0",
        b"\x04ping\x02ns\x03svc\x07cluster\x05local\0",
        b"\x04_web\x04_tcp\x05heads\x02ns\x03svc\x07cluster\x05local\0",
        b"\x05first\x05heads\x02ns\x03svc\x07cluster\x05local\0",
        b"\x0810-0-0-1\x02ns\x03pod\x07cluster\x05local\0",
        b"\x011\x010\x0296\x0210\x07in-addr\x04arpa\0",
        b"\x03vip\x02ns\x03svc\x05other\x04test\0",
        b"\x07cluster\x05local\0",
    ];
    for (at, name) in names.iter().enumerate() {
        for qtype in [1_u16, 28, 33, 12, 255] {
            let edns = qtype != 28;
            let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
            query.extend_from_slice(name);
            query.extend(qtype.to_be_bytes());
            query.extend([0, 1]);
            if edns {
                query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
            }
            packet(seeds, query, ((at + usize::from(qtype)) & 7) as u8);
        }
    }
    // A chain of pointers and records that begin it anew; many OPTs; an IXFR whose authority is long.
    let mut chain = vec![0, 1, 1, 0, 0, 1, 0, 60, 0, 0, 0, 0, 0, 0, 1, 0, 1];
    chain.extend([0, 0, 16, 0, 1, 0, 0, 0, 0, 1, 1, 0]);
    for _ in 0..128 {
        let last = u16::try_from(chain.len() - if chain.len() == 29 { 1 } else { 2 })?;
        chain.extend((0xc000 | last).to_be_bytes());
    }
    let last = u16::try_from(chain.len() - 2)?;
    for _ in 0..59 {
        chain.extend((0xc000 | last).to_be_bytes());
        chain.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 0]);
    }
    packet(seeds, chain, 1);
    let mut options = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 100, 0, 0, 1, 0, 1];
    options.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0].repeat(100));
    packet(seeds, options, 0);
    let mut transfer = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 100, 0, 0];
    transfer.extend_from_slice(b"\x07cluster\x05local\0\0\xfb\0\x01");
    transfer.extend(b"\xc0\x0c\0\x10\0\x01\0\0\0\0\0\x02\x01a".repeat(99));
    transfer.extend_from_slice(b"\xc0\x0c\0\x06\0\x01\0\0\0\0\0\x18\xc0\x0c\xc0\x0c\0\0\0\x09");
    transfer.extend([0; 16]);
    packet(seeds, transfer, 1);
    Ok(())
}

/// The steps of the recorded cases, and some of their questions.
fn recordings(root: &Path, seeds: &mut Seeds) -> Result<()> {
    for path in files(&root.join("e2e/cases"))? {
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let recording = json(&path)?;
        let Some(questions) = recording["dns"].as_array() else { continue };
        let step = questions.len().div_ceil(QUESTIONS_OF_EACH).max(1);
        for (at, question) in questions.iter().step_by(step).enumerate() {
            let [name, qtype] = ["name", "type"].map(|field| question[field].as_str().unwrap_or_default());
            let qtype: RecordType = qtype.parse()?;
            // A few were asked for on the wire alone.
            let Ok(name) = Name::from_ascii(name) else { continue };
            let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            query.extend(callsign_fuzz_bodies::codecs::wire(&name));
            query.extend(u16::from(qtype).to_be_bytes());
            query.extend([0, 1]);
            packet(seeds, query, (at & 1) as u8);
        }
        // Large clusters are not better seeds than small ones.
        let steps = recording["steps"].as_array().into_iter().flatten();
        let steps: Vec<&Value> = steps.filter(|step| step[0] != "settle").take(10).collect();
        let mut text = Vec::new();
        serde_json::to_writer(&mut text, &steps)?;
        add(seeds, "objects", text);
    }
    // Bytes that choose.
    for at in 0..24_u64 {
        let mut rng = fastrand::Rng::with_seed(at);
        let mut bytes = vec![0; 200 + 20 * usize::try_from(at)?];
        rng.fill(&mut bytes);
        add(seeds, "objects", bytes);
    }
    Ok(())
}

fn corefiles(root: &Path, seeds: &mut Seeds) -> Result<()> {
    for folder in fs::read_dir(root.join("dns/tests/corefiles"))? {
        let path = folder?.path();
        let paths = if path.is_dir() { files(&path)? } else { vec![path] };
        for path in paths {
            add(seeds, "corefile", fs::read(path)?);
        }
    }
    for text in COREFILES {
        add(seeds, "corefile", text.as_bytes().to_vec());
    }
    let bomb: String =
        (1..9).map(|at| format!("(s{at}) {{\nimport s{}\nimport s{}\n}}\n", at - 1, at - 1)).collect();
    add(seeds, "corefile", format!("(s0) {{\nwhoami\n}}\n{bomb}. {{\nimport s8\n}}\n").into_bytes());
    add(seeds, "corefile", format!(". {{\nx {}\n", "{\nx ".repeat(40)).into_bytes());
    Ok(())
}

const COREFILES: [&str; 12] = [
    ". {\n rewrite stop {\n  name regex (.*)\\.a\\.test {1}.b.test\n  answer name (.*)\\.b\\.test {1}.a.test\n }\n forward . tls://192.0.2.1 192.0.2.2:54 {\n  tls_servername x.test\n  policy sequential\n  max_concurrent 10\n  health_check 1s no_rec domain a.test.\n  except b.test\n }\n}",
    "a.test:54 tls://b.test https://c.test 10.0.0.0/15 {\n cache 30 {\n  success 100 60 5\n  denial 10\n  prefetch 2 1m 10%\n  serve_stale 1h immediate\n  servfail 5s\n }\n loadbalance round_robin\n}",
    ". {\n template IN ANY a.test {\n  match \"^(?P<n>[a-z]*)[.]a[.]test[.]$\"\n  answer \"{{ .Name }} 60 IN TXT {{ .Group.n }}\"\n  authority \"a.test. 60 IN SOA a. b. 1 2 3 4 5\"\n  rcode NXDOMAIN\n  ederror 21 \"x\"\n  fallthrough b.test\n }\n}",
    ". {\n view v {\n  expr name() startsWith 'a' && incidr(client_ip(), '127.0.0.0/8')\n }\n acl a.test {\n  allow type A net 192.0.2.0/24 ::1\n  filter\n }\n whoami\n}",
    "(snip) {\n errors {\n  consolidate 5m \".* i/o\" warning\n }\n}\n. {\n import snip\n import x*\n {$A} {%B%}\n}\n=== x1\nlog\n=== x2\nready :8181 {\n monitor continuously\n}\n",
    ". {\n hosts /nosuch a.test {\n  192.0.2.1 a.test b.test\n  ::1 c.test\n  ttl 5\n  no_reverse\n  reload 1m\n  fallthrough\n }\n dns64 {\n  prefix 64:ff9b::/96\n  translate_all\n }\n}",
    "cluster.local {\n kubernetes cluster.local 10.0.0.0/8 {\n  pods verified\n  endpoint_pod_names\n  ttl 5\n  namespaces a b\n  labels x=y,z\n  ignore empty_service\n  fallthrough in-addr.arpa\n }\n k8s_external x.test {\n  apex a\n  ttl 5\n  headless\n }\n autopath @kubernetes\n transfer {\n  to * 192.0.2.1:53\n }\n}",
    ". {\n bind 127.0.0.1 ::1\n bufsize 512\n timeouts {\n  read 5s\n  max_queries 5\n }\n multisocket 2\n reload 30s 15s\n health :8080 {\n  lameduck 5s\n }\n prometheus :9153\n debug\n root /nosuch\n tls a b c {\n  client_auth require\n }\n}",
    ". {\n chaos x y\n any\n local\n nsid \"a b\"\n metadata\n minimal\n loop\n cancel 5s\n header {\n  set ra\n  clear rd aa\n }\n log . \"{remote} {name} {>id}\" {\n  class denial error\n }\n}",
    ". {\n file /nosuch a.test {\n  reload 5s\n }\n rewrite edns0 subnet set 24 56\n rewrite edns0 local replace 0xffee {client_ip} revert\n rewrite type AAAA A\n rewrite ttl suffix .a.test 5-60\n rewrite cname exact a.test b.test\n}",
    "\u{feff}a.test, b.test,\nc.test {\r\n whoami # what\r\n \"erratic\" \"a\\\"b\"\n}\n}",
    ".",
];

/// Replies of every kind to the questions of the target.
fn replies(seeds: &mut Seeds) {
    let bodies: [&[u8]; 15] = [
        b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01",
        b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x07\x04host\xc0\x10",
        b"\xc0\x0c\0\x1c\0\x01\0\0\0\x3c\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
        b"\xc0\x0c\0\x06\0\x01\0\0\x0e\x10\0\x18\xc0\x0c\xc0\x0c\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05",
        b"\xc0\x0c\0\x21\0\x01\0\0\0\x3c\0\x08\0\x01\0\x02\x13\xc4\xc0\x0c",
        b"\xc0\x0c\0\x0f\0\x01\0\0\0\x3c\0\x04\0\x0a\xc0\x0c",
        b"\xc0\x0c\0\x10\0\x01\0\0\0\x3c\0\x06\x02ab\x02cd",
        b"\xc0\x0c\0\x02\0\x01\0\0\0\x3c\0\x05\x02ns\xc0\x0c",
        b"\xc0\x0c\0\x2e\0\x01\0\0\0\x3c\0\x16\0\x01\x08\x02\0\0\0\x3c\0\0\0\x02\0\0\0\x01\0\x05\x01a\0\xff",
        b"\xc0\x0c\0\x2f\0\x01\0\0\0\x3c\0\x09\x01b\0\0\x04\x40\x01\x02\x03",
        b"\xc0\x0c\0\x41\0\x01\0\0\0\x3c\0\x0a\0\x01\0\0\x01\0\x03\x02h2",
        b"\xc0\x0c\x01\x01\0\x01\0\0\0\x3c\0\x0d\0\x05issueca.test",
        b"\xc0\x0c\0\x27\0\x01\0\0\0\x3c\0\x03\x01x\0",
        b"\xc0\x0c\xff\0\0\x01\0\0\0\x3c\0\x03abc",
        b"\0\0\x29\x04\xd0\0\0\x80\0\0\x06\0\x0f\0\x02\0\x15",
    ];
    for at in 0..QUESTIONS.len() {
        let question = request(at);
        let question = &question[12..question.len() - 11];
        let header = |flags: u16, counts: [u16; 3]| {
            let mut bytes = vec![u8::try_from(at).unwrap_or_default()];
            for word in [ID, flags, 1].into_iter().chain(counts) {
                bytes.extend(word.to_be_bytes());
            }
            bytes.extend_from_slice(question);
            bytes
        };
        for (number, body) in bodies.iter().enumerate() {
            // Each kind of record for one question, and all in all sections.
            if number % QUESTIONS.len() == at {
                add(seeds, "reply", [header(0x8180, [1, 0, 0]).as_slice(), body].concat());
            }
        }
        let three = u16::try_from(bodies.len() / 3).unwrap_or_default();
        add(seeds, "reply", [header(0x85a0, [three; 3]).as_slice(), &bodies.concat()].concat());
        add(seeds, "reply", [header(0x8183, [0, 1, 0]).as_slice(), bodies[3]].concat());
        add(seeds, "reply", header(0x8182, [0; 3]));
    }
    let question = request(0);
    let mut many = vec![0];
    for word in [ID, 0x8180, 1, 40, 0, 0] {
        many.extend(word.to_be_bytes());
    }
    many.extend_from_slice(&question[12..question.len() - 11]);
    many.extend(bodies[0].repeat(40));
    add(seeds, "reply", many);
}

fn zone_files(seeds: &mut Seeds) {
    for text in ZONES {
        add(seeds, "zonefile", text.as_bytes().to_vec());
    }
    // Each record by itself too.
    for line in ZONES[0].lines().skip(4) {
        add(seeds, "zonefile", format!("$TTL 60\n@ {}\n", line.trim_start()).into_bytes());
    }
}

const ZONES: [&str; 3] = [
    "$TTL 1h
@       IN SOA ns hostmaster.example.org. ( 2026010100 ; serial
                2h 15m 2w 1d )
        NS  ns
        NS  ns.other.
        A 192.0.2.1
        AAAA 2001:db8::1
        CNAME @
        TXT \"a b\" c\\\"d
        MX 10 mx
        SRV 0 5 443 www.example.org.
        TYPE65280 \\# 3 abCDef
        CAA 0 issue \"ca.example\"
        HTTPS 1 . alpn=h2
        SVCB 1 x port=53 ipv4hint=192.0.2.1
        AFSDB 1 host
        SPF \"v=spf1 -all\"
        DNAME elsewhere.
        PTR a
        HINFO a \"b c\"
        NAPTR 1 2 \"u\" \"x\" \"!a!b!\" .
        DS 1 8 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
        TLSA 3 1 1 aabb
        SSHFP 1 1 aabb
        NSEC b A RRSIG
        KX 1 a
        RP a b
        LOC 51 30 12.748 N 0 7 39.612 W 0m
",
    "$TTL 60\n$ORIGIN sub\n@ SOA a b 1 2 3 4 5\n$INCLUDE x\n$INCLUDE y far.example.org.\nk A 192.0.2.7\n$GENERATE 1-2 g${0,3,d} A 192.0.2.1$\n$GENERATE 0-8/4 a\\$ TXT \"$\"\n=== x\ni A 192.0.2.9\n$INCLUDE y\n=== y\n$ORIGIN far.\nj A 192.0.2.8\n",
    "@ 1w2d SOA a b 1 2h 3m 4 5\n\\065\\.b IN 5 A 192.0.2.1\n  AAAA ::1\n* 5 IN TXT ( a\n b ; c\n \"d;e\" )\n",
];

fn unhex(text: &str) -> Result<Vec<u8>> {
    let digits = text.get(..text.len() / 2 * 2).unwrap_or_default();
    let bytes = digits.as_bytes().chunks_exact(2).map(|pair| {
        let pair = std::str::from_utf8(pair)?;
        Ok(u8::from_str_radix(pair, 16)?)
    });
    bytes.collect()
}

fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let found = bytes.windows(old.len()).position(|window| window == old);
    found.map_or_else(|| bytes.to_vec(), |at| [&bytes[..at], new, &bytes[at + old.len()..]].concat())
}
