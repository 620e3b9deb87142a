//! What the image is made of, from the lock file: a CycloneDX bill of materials, and the licences of all parts as one text.
//! `image/build` runs it for the features and the target it builds.

mod bom;
mod licences;
mod parts;
mod tree;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use cargo_lock::Lockfile;
use cargo_metadata::MetadataCommand;
use clap::Parser;
use jiff::Timestamp;

use bom::Build;
use parts::Part;
use tree::Tree;

/// Writes what a build of `callsign` contains.
#[derive(Debug, Parser)]
struct Args {
    /// The target triple.
    #[arg(long)]
    target: String,
    /// A feature besides the ones that are needed; the default ones are not taken.
    #[arg(long)]
    feature: Vec<String>,
    /// A package of the distribution that is in the image too: NAME=VERSION=ARCH=LICENCE.
    #[arg(long)]
    debian: Vec<String>,
    /// Where the bill of materials is written.
    #[arg(long)]
    bom: PathBuf,
    /// Where the licences are written.
    #[arg(long)]
    licences: PathBuf,
    /// When the image was made, in seconds since 1970; without, the bill has no time.
    #[arg(long, env = "SOURCE_DATE_EPOCH")]
    time: Option<i64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let features = args.feature.join(",");
    let chosen = ["--no-default-features", "--features", &features];
    // Macros run in the compiler and leave nothing of their own.
    let shown =
        ["tree", "--locked", "--package", "callsign", "--edges", "normal,no-proc-macro", "--prefix", "depth"];
    let tree = cargo([&shown[..], &["--target", &args.target], &chosen].concat())?;
    let tree = Tree::read(&tree)?;
    let mut metadata = MetadataCommand::new();
    metadata.other_options(["--locked", "--filter-platform", &args.target].map(str::to_owned).to_vec());
    let metadata = metadata.exec()?;
    let lock = metadata.workspace_root.join("Cargo.lock");
    let lock = Lockfile::load(&lock).with_context(|| lock.to_string())?;

    let mut all = parts::of_tree(&tree, &metadata, &lock)?;
    let mut system = vec![Part::of_rust(&release()?)];
    for text in &args.debian {
        system.push(Part::of_debian(text)?);
    }
    let root = all.first_mut().context("no root")?;
    root.needs.extend(system.iter().map(Part::reference));
    all.extend(system);

    let time = args.time.map(Timestamp::from_second).transpose().context("--time")?;
    let features = if features.is_empty() { "none".to_owned() } else { features };
    let build = Build { target: args.target, features, time };
    let bom = bom::document(&all, &build).to_string() + "\n";
    write(&args.bom, &bom)?;
    write(&args.licences, &licences::joined(&texts(&all)?))?;
    println!("{} parts", all.len());
    Ok(())
}

/// The licence texts of each part whose files are here, with its name before each.
fn texts(all: &[Part]) -> Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for part in all {
        let name = format!("{} {}", part.name, part.version);
        let terms = part.licence.as_deref();
        let mut found = Vec::new();
        if let Some(folder) = &part.folder {
            let paths = parts::licence_files(folder)?;
            let names: Vec<_> = paths.iter().filter_map(|path| path.file_name()?.to_str()).collect();
            for file in licences::needed(terms, &names) {
                let path = folder.join(file);
                let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
                found.push((name.clone(), String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        if found.is_empty() {
            let source = part.repository.as_deref().or(part.purl.as_deref()).unwrap_or("this project");
            let terms = terms.unwrap_or("no licence is named");
            found.push((name, format!("{terms}. It carries no text of its own; its source: {source}")));
        }
        texts.extend(found);
    }
    Ok(texts)
}

/// `1.95.0`, of the compiler that builds.
fn release() -> Result<String> {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let text = run(Command::new(compiler).arg("-vV"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("release: "));
    Ok(line.context("rustc -vV names no release")?.to_owned())
}

fn cargo(arguments: Vec<&str>) -> Result<String> {
    run(Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())).args(arguments))
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).with_context(|| format!("{command:?}"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(path, text).with_context(|| path.display().to_string())
}
