//! Reading the directive (`coredns` `plugin/file/setup.go`).

use std::{path::PathBuf, sync::Arc, time::Duration};

use hickory_proto::rr::Name;

use super::{File, NAME, Served, ZoneData, master::Master, reload};
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Plugin, Prepared, World, lines},
    plugins::{
        Steps,
        reading::{self, Zones, duration_text, name_text},
    },
};

/// How often files are looked at where nothing else is said.
const RELOAD: Duration = Duration::from_secs(60);

/// Reads a block's directives, and their files. They are one plugin.
///
/// # Errors
/// When an option is unknown, or a file is there and is no zone file.
pub fn setup(block: &BlockConfig, directives: &[&Directive]) -> Result<Steps, Error> {
    let (mut served, mut fallthrough, mut notes) = (Vec::new(), Zones::default(), Vec::new());
    for directive in directives {
        let [file, zones @ ..] = directive.some()? else { return Err(directive.wrong_count()) };
        let (mut interval, mut by_time) = (RELOAD, false);
        for option in &directive.body {
            match option.name.text.as_str() {
                "reload" => {
                    let [time, ..] = option.args.as_slice() else {
                        return Err(option.error("reload duration value is expected"));
                    };
                    interval = time.duration()?;
                }
                "reload_by_mtime" => by_time = true,
                "upstream" => {
                    notes
                        .push((option.name.at.clone(), "aliases are always looked up by this server itself"));
                }
                "fallthrough" => fallthrough = reading::fallthrough(option)?,
                _ => return Err(option.unknown()),
            }
        }
        for zone in reading::zones(block, zones)?.0 {
            let path = block.root.join(&file.text);
            served.push(read(directive, zone, path, (interval, by_time))?);
        }
    }
    let served: Vec<Arc<Served>> = served.into_iter().map(Arc::new).collect();
    let shown = directives.iter().flat_map(|directive| lines(directive)).collect();
    let start = move |world: &World| {
        reload::follow(world, &served);
        let (served, fallthrough) = (served.clone(), fallthrough.clone());
        Ok(Arc::new(File { served, fallthrough }) as Arc<dyn Plugin>)
    };
    let prepared = Prepared::new(shown, start);
    Ok(notes.iter().fold(prepared, |prepared, (at, message)| prepared.note(at, *message)).alone())
}

/// Reads a zone's file. One that is not there may come, unless nobody will look.
fn read(
    directive: &Directive,
    zone: Name,
    path: PathBuf,
    (interval, by_time): (Duration, bool),
) -> Result<Served, Error> {
    let served = Served { zone, path, reload: interval, by_time, data: None.into() };
    match load(&served) {
        Ok(loaded) => served.data.store(Some(Arc::new(loaded.data))),
        Err(error) if error.missing && !interval.is_zero() => {
            let interval = duration_text(interval);
            tracing::warn!(target: "plugin/file", "Failed to open {:?}: trying again in {interval}", error.message);
        }
        Err(error) => return Err(directive.error(error.message).of(NAME)),
    }
    Ok(served)
}

/// A zone as it was read, and of what files.
pub(super) struct Loaded {
    pub(super) data: ZoneData,
    pub(super) files: std::collections::BTreeSet<PathBuf>,
}

/// Why a zone was not read.
pub(super) struct LoadError {
    pub(super) missing: bool,
    pub(super) message: String,
}

/// Reads a zone's file. Blocks.
pub(super) fn load(served: &Served) -> Result<Loaded, LoadError> {
    let master = Master::read(&served.path, &served.zone)
        .map_err(|error| LoadError { missing: error.missing, message: error.to_string() })?;
    if master.outside > 0 {
        let (zone, path) = (name_text(&served.zone), served.path.display().to_string());
        tracing::warn!(target: "plugin/file", "{} records of {path:?} are not in zone {zone:?} and are not served", master.outside);
    }
    let data = ZoneData::new(served.zone.clone(), master.records).map_err(|message| LoadError {
        missing: false,
        message: format!("file {:?} {message}", served.path),
    })?;
    Ok(Loaded { data, files: master.files })
}
