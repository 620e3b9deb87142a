//! Changes of inputs, for tests on a toolchain without libFuzzer: a seeded generator and the kinds of changes that fuzzers
//! make. What coverage would tell is missing; the seeds make up for some of it.

use fastrand::Rng;

/// Words of DNS messages: names, types, an OPT, pointers.
pub const PACKETS: &[&[u8]] = &[
    b"\x02ns\x03svc\x07cluster\x05local\0",
    b"\x03vip",
    b"\x05heads",
    b"\x03big",
    b"\x07example\x03org\0",
    b"\x07in-addr\x04arpa\0",
    b"\0\0\x29\x04\xd0\0\0\0\0\0\0",
    b"\0\0\x29\x02\0\0\0\x80\0\0\x04\0\x03\0\0",
    b"\0\0\x29\x10\0\0\x01\0\0\0\0",
    b"\0\x01\0\x01",
    b"\0\x1c\0\x01",
    b"\0\x21\0\x01",
    b"\0\xff\0\x01",
    b"\0\xfb\0\x01",
    b"\0\xfc\0\x01",
    b"\0\x01\0\x03",
    b"\xc0\x0c",
    b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01",
    b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x0c",
    b"\xc0\x0c\0\x06\0\x01\0\0\0\x3c\0\x16\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05",
    b"\xff\xff",
    b"\x3f",
    b"\x40",
    b"\x80",
];

/// Words of Corefiles.
pub const COREFILES: &[&[u8]] = &[
    b" {\n",
    b"\n}\n",
    b"\nimport ",
    b"(a) {\n",
    b"\n=== x\n",
    b"{$A}",
    b"{%B%}",
    b"{$SELF}",
    b"\"",
    b"\\\"",
    b"#",
    b"\r\n",
    b"a.test ",
    b". ",
    b"10.0.0.0/8 ",
    b"tls://",
    b":53 ",
    b"kubernetes cluster.local ",
    b"forward . 192.0.2.1 ",
    b"cache 30 ",
    b"rewrite name regex (.*)\\.a {1}.b ",
    b"template IN A ",
    b"answer \"{{ .Name }} 60 IN A 192.0.2.1\"\n",
    b"match (",
    b"view x {\n expr name() == 'a.'\n}",
    b"fallthrough ",
    b"ttl 5\n",
    b"hosts {\n 192.0.2.1 a\n}\n",
    b"acl {\n block net *\n}\n",
    b"-1",
    b"99999999999999999999",
    b"1h30m",
];

/// Words of objects: values that fields may and may not have.
pub const OBJECTS: &[&[u8]] = &[
    b"null",
    b"\"\"",
    b"\"None\"",
    b"\"ExternalName\"",
    b"\"10.0.0.1\"",
    b"\"fd00::1\"",
    b"\"010.0.0.1\"",
    b"[]",
    b"{}",
    b"-1",
    b"1e999",
    b"\"\\ud800\"",
    b"\"metadata\":",
    b"\"spec\":",
    b"\"apply\"",
    b"\"delete\"",
    b"\"a.b\"",
];

/// Words of zone files.
pub const ZONES: &[&[u8]] = &[
    b"$ORIGIN ",
    b"$TTL 1h\n",
    b"$INCLUDE x\n",
    b"$GENERATE 1-9 a$ A 192.0.2.$\n",
    b"${1,2,x}",
    b"\n=== x\n",
    b"@ ",
    b"* ",
    b" IN ",
    b"SOA a b 1 2 3 4 5\n",
    b"A 192.0.2.1\n",
    b"AAAA ::1\n",
    b"TXT \"a\" b\n",
    b"\\# 3 abcdef\n",
    b"\\065",
    b"\\",
    b"(",
    b")",
    b";",
    b"TYPE65280 ",
    b"HTTPS 1 . alpn=h2\n",
    b"CAA 0 issue \"x\"\n",
    b"\xc3\xa9",
];

/// One of the seeds, changed a few times.
pub fn changed(seeds: &[Vec<u8>], words: &[&[u8]], most: usize, rng: &mut Rng) -> Vec<u8> {
    let mut input = rng.choice(seeds).cloned().unwrap_or_default();
    for _ in 0..rng.usize(1..=6) {
        change(&mut input, seeds, words, rng);
    }
    input.truncate(most);
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&[u8]], rng: &mut Rng) {
    let at = rng.usize(0..=input.len());
    let end = (at + rng.usize(0..=16)).min(input.len());
    match rng.u8(0..12) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << rng.u8(0..8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = rng.u8(..);
            }
        }
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = byte.wrapping_add(rng.u8(0..9)).wrapping_sub(4);
            }
        }
        3 => drop(input.drain(at..end)),
        4 => {
            let copy = input[at..end].to_vec();
            input.splice(at..at, copy);
        }
        5 => input.insert(at, rng.u8(..)),
        6 | 7 => {
            let word = rng.choice(words).copied().unwrap_or_default();
            input.splice(at..at, word.iter().copied());
        }
        8 => {
            let word = rng.choice(words).copied().unwrap_or_default();
            let end = (at + word.len()).min(input.len());
            input.splice(at..end, word.iter().copied());
        }
        9 => {
            // The tail of another seed.
            let other = rng.choice(seeds).map(Vec::as_slice).unwrap_or_default();
            let from = rng.usize(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        10 => {
            let copy = input[at..end].to_vec();
            let to = rng.usize(0..=input.len());
            input.splice(to..to, copy);
        }
        _ => {
            // Many of the same.
            let copy = input[at..end].to_vec();
            let many = copy.repeat(rng.usize(1..40));
            input.splice(at..at, many);
        }
    }
}
