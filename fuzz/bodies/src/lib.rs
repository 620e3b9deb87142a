//! What is held of any input, whoever wrote it: the bodies of the fuzz targets.
//!
//! Each module has a `run` that takes bytes and panics where a property does not hold. `fuzz/targets` gives them to
//! libFuzzer, which finds inputs by coverage; `tests/seeds.rs` runs the same on a stable toolchain with every seed of
//! `fuzz/seeds` and with changed ones ([`mutate`]). A failing input becomes a seed.
//!
//! Nothing here has a clock, a socket or a file.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a body says what is wrong by panicking"
)]

pub mod answer;
pub mod cluster;
pub mod codecs;
pub mod corefile;
pub mod mutate;
pub mod objects;
pub mod packet;
pub mod reply;
pub mod zonefile;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of its program in `fuzz/targets`, and of its folder of seeds.
    pub name: &'static str,
    /// Its body.
    pub run: fn(&[u8]),
    /// Words that inputs are made of, beside bytes.
    pub words: &'static [&'static [u8]],
}

/// All targets.
pub const TARGETS: [Target; 6] = [
    Target { name: "answer", run: answer::run, words: mutate::PACKETS },
    Target { name: "corefile", run: corefile::run, words: mutate::COREFILES },
    Target { name: "objects", run: objects::run, words: mutate::OBJECTS },
    Target { name: "packet", run: packet::run, words: mutate::PACKETS },
    Target { name: "reply", run: reply::run, words: mutate::PACKETS },
    Target { name: "zonefile", run: zonefile::run, words: mutate::ZONES },
];
