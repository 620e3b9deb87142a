//! The bodies of the fuzz targets on every seed, and on some thousand changed ones, the same each time.
//!
//! `CALLSIGN_FUZZ_INPUTS` sets on how many. A failing input is printed, and kept in `fuzz/artifacts`; once it is a file in
//! the target's folder of seeds, it is never forgotten.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic, its helpers too")]

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
    time::Instant,
};

use callsign_fuzz_bodies::{TARGETS, Target, mutate};

/// How many changed seeds are tried.
const INPUTS: usize = 1000;
/// The longest input.
const LONGEST: usize = 4096;
/// Where chance begins.
const SEED: u64 = 5;

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(kind).join(target)
}

fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = folder("seeds", target.name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    seeds.sort_unstable();
    seeds
}

fn check(target: &Target, from: &str, input: &[u8]) {
    if catch_unwind(|| (target.run)(input)).is_err() {
        let folder = folder("artifacts", target.name);
        let digest =
            input.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte));
        let kept = folder.join(format!("test-{digest:016x}"));
        let told = fs::create_dir_all(&folder).and_then(|()| fs::write(&kept, input));
        let told = told.map_or_else(|error| error.to_string(), |()| kept.display().to_string());
        panic!("{}: {from}: {}\n({told})", target.name, input.escape_ascii());
    }
}

fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = seeds(target);
    assert!(seeds.len() >= 10, "{} seeds", seeds.len());
    for (name, input) in &seeds {
        check(target, name, input);
    }
    let count = std::env::var("CALLSIGN_FUZZ_INPUTS").map_or(INPUTS, |text| text.parse().unwrap());
    let inputs: Vec<Vec<u8>> = seeds.into_iter().map(|(_, input)| input).collect();
    let mut rng = fastrand::Rng::with_seed(SEED);
    let began = Instant::now();
    for number in 0..count {
        let input = mutate::changed(&inputs, target.words, LONGEST, &mut rng);
        check(target, &format!("changed input {number}"), &input);
    }
    println!("{name}: {} seeds, {count} changed ones in {:?}", inputs.len(), began.elapsed());
}

macro_rules! tests {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            run(stringify!($name));
        }
    )*};
}

tests! { answer corefile objects packet reply zonefile }

#[test]
fn every_target_has_a_program_and_a_test() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../targets");
    let mut programs: Vec<String> = (fs::read_dir(programs).unwrap())
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    programs.sort_unstable();
    assert_eq!(programs, TARGETS.map(|target| target.name.to_owned()));
}
