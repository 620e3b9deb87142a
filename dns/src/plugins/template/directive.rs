//! Reading the directive (`coredns` `plugin/template/setup.go`).

use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use regex::Regex;

use super::{ANY_CLASS, FIELDS, NAME, Part, Template, Templates, go};
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Plugin, Prepared, Setup, World, lines},
    plugins::reading::{Zones, fallthrough, parse_rcode, parse_type, pattern, zones},
};

/// Reads the directives of a block.
///
/// # Errors
/// When one has no class and type, or an option is wrong.
pub(in crate::plugins) fn setup(
    block: &BlockConfig,
    directives: &[&Directive],
) -> Result<Vec<Box<dyn Setup>>, Error> {
    let mut templates = Vec::new();
    let mut text = Vec::new();
    for directive in directives {
        templates.push(read(block, directive)?);
        text.extend(lines(directive));
    }
    let start = move |world: &World| {
        Ok(Arc::new(Templates { templates: templates.clone(), meter: world.meters.of() }) as Arc<dyn Plugin>)
    };
    Ok(Prepared::new(text, start).alone())
}

fn read(block: &BlockConfig, directive: &Directive) -> Result<Template, Error> {
    let [class, kind, names @ ..] = directive.args.as_slice() else { return Err(directive.wrong_count()) };
    let class = match class.text.to_ascii_uppercase().as_str() {
        "IN" => 1,
        "CS" => 2,
        "CH" => 3,
        "HS" => 4,
        "NONE" => 254,
        "ANY" => ANY_CLASS,
        _ => return Err(class.error(format!("invalid query class {}", class.text))),
    };
    let kind = parse_type(&kind.text).ok_or_else(|| kind.error(format!("invalid RR type {}", kind.text)))?;
    let mut template = Template {
        zones: zones(block, names)?,
        class,
        kind,
        patterns: Vec::new(),
        answers: Vec::new(),
        additionals: Vec::new(),
        authorities: Vec::new(),
        rcode: ResponseCode::NoError,
        error: None,
        fallthrough: Zones::default(),
    };
    let mut says = false;
    for option in &directive.body {
        match option.name.text.as_str() {
            "match" => {
                for token in option.some()? {
                    template.patterns.push(pattern(token)?);
                }
            }
            "answer" => {
                template.answers.extend(parts(option)?);
                says = true;
            }
            "additional" => template.additionals.extend(parts(option)?),
            "authority" => {
                template.authorities.extend(parts(option)?);
                says = true;
            }
            "rcode" => {
                let [token] = option.exactly::<1>()?;
                let unknown = || token.error(format!("unknown rcode {}", token.text));
                template.rcode = parse_rcode(&token.text).ok_or_else(unknown)?;
                says = true;
            }
            "ederror" => {
                let (code, text) = match option.args.as_slice() {
                    [code] => (code, String::new()),
                    [code, text] => (code, text.text.clone()),
                    _ => return Err(option.wrong_count()),
                };
                template.error = Some((code.parse("a code of an extended error")?, text));
            }
            "fallthrough" => template.fallthrough = fallthrough(option)?,
            // It was needed once for aliases, which are always looked up now.
            "upstream" => {}
            _ => return Err(option.unknown()),
        }
    }
    if !says {
        return Err(directive.error("no answer section for template found"));
    }
    if template.patterns.is_empty() {
        // The empty pattern matches everything.
        template.patterns.extend(Regex::new(".*"));
    }
    Ok(template)
}

fn parts(option: &Directive) -> Result<Vec<Part>, Error> {
    let read = |token: &crate::corefile::Token| {
        let wrong = |error| token.error(format!("could not compile {NAME}: {}, {error}", token.text));
        let template = go::Template::read(&token.text, &FIELDS).map_err(wrong)?;
        Ok(Part { text: token.text.clone(), template })
    };
    option.some()?.iter().map(read).collect()
}
