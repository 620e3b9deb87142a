//! Reading the directive (`coredns` `plugin/kubernetes/setup.go`).

use std::path::PathBuf;

use callsign_shared::name::Name as Text;
use hickory_proto::rr::Name;

use super::{ClusterAccess, KubernetesConfig};
use crate::{
    block::{BlockConfig, key_zones, read_key},
    corefile::{Corefile, Directive, Error, Token},
    plugin::{Note, Setup},
    plugins::reading::name_text,
    zone::{Pods, Requirement, Selector, ZoneConfig},
};

/// The TTL where none is written.
const TTL: u32 = 5;
const LONGEST_TTL: u32 = 3600;
/// The port of keys that name none.
const PORT: u16 = 53;

/// Reads a block's directive, of which there can be one.
///
/// # Errors
/// When an option is unknown or has a value that makes no sense.
pub fn setup(block: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    if let [_, second, ..] = directives {
        return Err(second.error("this plugin can only be used once per Server Block"));
    }
    let read = directives.iter().map(|directive| read(block, directive));
    read.map(|config| Ok(Box::new(config?) as Box<dyn Setup>)).collect()
}

/// The first directive of a Corefile, whatever else stands in it.
///
/// # Errors
/// When it, or a key of its block, cannot be read.
pub fn first(corefile: &Corefile) -> Result<Option<KubernetesConfig>, Error> {
    let found = corefile.blocks.iter().find_map(|block| {
        let directive = block.directives.iter().find(|directive| directive.name.text == "kubernetes")?;
        Some((block, directive))
    });
    let Some((block, directive)) = found else { return Ok(None) };
    let mut keys = Vec::new();
    for token in &block.keys {
        keys.extend(read_key(token, PORT)?);
    }
    read(&BlockConfig::new(directive.name.at.clone(), keys), directive).map(Some)
}

fn read(block: &BlockConfig, directive: &Directive) -> Result<KubernetesConfig, Error> {
    let mut zones: Vec<Name> = Vec::new();
    for token in &directive.args {
        zones.extend(key_zones(token, &token.text)?);
    }
    let mut lines = vec![];
    if zones.is_empty() {
        zones = block.zones();
    }
    let mut zone =
        ZoneConfig::named(zones).map_err(|_| directive.error("non-reverse zone name must be used"))?;
    (zone.ttl, zone.pods) = (TTL, Pods::Disabled);
    let mut config = KubernetesConfig {
        zone,
        cluster: ClusterAccess::default(),
        fallthrough: Vec::new(),
        lines: Vec::new(),
        notes: Vec::new(),
    };
    for option in &directive.body {
        read_option(&mut config, option)?;
    }
    if !config.zone.namespaces.is_empty() && config.zone.namespace_labels.is_some() {
        return Err(directive.error("namespaces and namespace_labels cannot both be set"));
    }
    if config.cluster.endpoint.is_none() && config.cluster.tls.take().is_some() {
        let at = directive.name.at.clone();
        config.notes.push(Note { at, message: "tls is for an endpoint, and there is none".to_owned() });
    }
    describe(&config, directive, &mut lines);
    config.lines = lines;
    Ok(config)
}

fn read_option(config: &mut KubernetesConfig, option: &Directive) -> Result<(), Error> {
    let mut note = |message: &str| {
        config.notes.push(Note { at: option.name.at.clone(), message: message.to_owned() });
    };
    match option.name.text.as_str() {
        "endpoint" => {
            let [url, others @ ..] = option.some()? else { return Err(option.wrong_count()) };
            if !others.is_empty() {
                note(&format!(
                    "Multiple endpoints have been deprecated, only the first specified endpoint '{}' is used",
                    url.text
                ));
            }
            config.cluster.endpoint = Some(url.text.clone());
        }
        "tls" => {
            let files = option.exactly::<3>()?;
            config.cluster.tls = Some(files.clone().map(|file| PathBuf::from(file.text)));
        }
        "kubeconfig" => {
            config.cluster.kubeconfig = match option.args.as_slice() {
                [file] => Some((PathBuf::from(&file.text), None)),
                [file, context] => Some((PathBuf::from(&file.text), Some(context.text.clone()))),
                _ => return Err(option.wrong_count()),
            };
        }
        "namespaces" => {
            let names = option.some()?.iter().map(|token| Text::from(token.text.as_str()));
            config.zone.namespaces.extend(names);
        }
        "namespace_labels" => config.zone.namespace_labels = Some(selector(option, "namespace_label")?),
        "labels" => config.zone.labels = Some(selector(option, "label")?),
        "pods" => {
            let [mode] = option.exactly::<1>()?;
            config.zone.pods = match mode.text.as_str() {
                "disabled" => Pods::Disabled,
                "insecure" => Pods::Insecure,
                "verified" => Pods::Verified,
                other => {
                    return Err(mode.error(format!(
                        "wrong value for pods: {other},  must be one of: disabled, verified, insecure"
                    )));
                }
            };
        }
        "endpoint_pod_names" => {
            option.exactly::<0>()?;
            config.zone.endpoint_pod_names = true;
        }
        "ttl" => {
            let [ttl, ..] = option.some()? else { return Err(option.wrong_count()) };
            config.zone.ttl = read_ttl(ttl)?;
        }
        "noendpoints" => {
            option.exactly::<0>()?;
            config.zone.endpoints = false;
        }
        "fallthrough" => {
            if option.args.is_empty() {
                config.fallthrough = vec![Name::root()];
            }
            for token in &option.args {
                config.fallthrough.extend(key_zones(token, &token.text)?);
            }
        }
        "ignore" => {
            // Without a word it ignores nothing, and CoreDNS takes it.
            let Some(what) = option.args.first() else {
                note("nothing is ignored: want empty_service");
                return Ok(());
            };
            if what.text != "empty_service" {
                return Err(what.error(format!("unable to parse ignore value: '{}'", what.text)));
            }
            config.zone.ignore_empty_service = true;
        }
        "startup_timeout" => {
            let [time] = option.exactly::<1>()?;
            time.duration()?;
            note(
                "listening does not wait for the cluster: its names are answered SERVFAIL until it has been seen",
            );
        }
        "apiserver_qps" | "apiserver_burst" | "apiserver_max_inflight" => {
            let [number] = option.exactly::<1>()?;
            let limit: f64 = number.parse("a number")?;
            if !limit.is_finite() || limit < 0.0 {
                return Err(number.error(format!("{} must be at least 0: {}", option.name.text, number.text)));
            }
            note("each kind is listed once and then watched: there is no request to limit");
        }
        "multicluster" => {
            return Err(option.error("multicluster is not supported: serve the clusterset zone with another server and forward to it"));
        }
        _ => return Err(option.unknown()),
    }
    Ok(())
}

/// A TTL that answers may be given: 0 to an hour.
///
/// # Errors
/// When it is none, or longer.
pub(crate) fn read_ttl(token: &Token) -> Result<u32, Error> {
    let seconds: i64 = token.parse("a number of seconds")?;
    let range = || token.error(format!("ttl must be in range [0, {LONGEST_TTL}]: {seconds}"));
    u32::try_from(seconds).ok().filter(|seconds| *seconds <= LONGEST_TTL).ok_or_else(range)
}

/// A label selector in kubectl's syntax, of all words of the line.
fn selector(option: &Directive, what: &str) -> Result<Selector, Error> {
    let text: Vec<&str> = option.some()?.iter().map(|token| token.text.as_str()).collect();
    parse_selector(&text.join(" ")).ok_or_else(|| {
        let token: &Token = option.args.first().unwrap_or(&option.name);
        token.error(format!("unable to parse {what} selector value: '{}'", text.join(" ")))
    })
}

/// `a=b, c!=d, e in (f, g), h notin (i), j, !k` (Kubernetes `apimachinery/pkg/labels/selector.go`).
fn parse_selector(text: &str) -> Option<Selector> {
    let mut requirements = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        // A comma within parentheses is not an end.
        let mut depth = 0_usize;
        let end = rest.find(|c| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ',' && depth == 0
        });
        let (one, tail) = match end {
            Some(end) => (rest.get(..end)?, rest.get(end + 1..)?),
            None => (rest, ""),
        };
        requirements.push(parse_requirement(one.trim())?);
        rest = tail.trim();
    }
    Some(Selector(requirements))
}

fn parse_requirement(text: &str) -> Option<Requirement> {
    let key = |key: &str| {
        let key = key.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        (!key.is_empty() && key.chars().all(plain)).then(|| Text::from(key))
    };
    if let Some(absent) = text.strip_prefix('!') {
        return Some(Requirement::Absent(key(absent)?));
    }
    if let Some((name, value)) = text.split_once("!=") {
        return Some(Requirement::NotIn(key(name)?, vec![value.trim().into()]));
    }
    if let Some((name, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(Requirement::In(key(name)?, vec![value.trim().into()]));
    }
    if let Some((head, values)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let values: Vec<Text> = values.split(',').map(|value| value.trim().into()).collect();
        let (name, operator) = head.trim().rsplit_once(char::is_whitespace)?;
        return match operator {
            "in" => Some(Requirement::In(key(name)?, values)),
            "notin" => Some(Requirement::NotIn(key(name)?, values)),
            _ => None,
        };
    }
    Some(Requirement::Exists(key(text)?))
}

/// The directive with its defaults filled in.
fn describe(config: &KubernetesConfig, directive: &Directive, lines: &mut Vec<String>) {
    let zones: Vec<String> = config.zone.zones.iter().map(name_text).collect();
    lines.push(format!("kubernetes {} {{", zones.join(" ")));
    let pods = match config.zone.pods {
        Pods::Disabled => "disabled",
        Pods::Insecure => "insecure",
        Pods::Verified => "verified",
    };
    lines.push(format!("    pods {pods}"));
    lines.push(format!("    ttl {}", config.zone.ttl));
    if !config.fallthrough.is_empty() {
        let zones: Vec<String> = config.fallthrough.iter().map(name_text).collect();
        lines.push(format!("    fallthrough {}", zones.join(" ")));
    }
    for option in &directive.body {
        if !matches!(option.name.text.as_str(), "pods" | "ttl" | "fallthrough") {
            lines.extend(crate::plugin::lines(option).into_iter().map(|line| format!("    {line}")));
        }
    }
    lines.push("}".to_owned());
}
