//! `header`: sets and clears flags.
//!
//! Rules for answers (`response`, or no word) change AA, RA and RD of them. Rules for questions (`query`) change the RD that
//! upstreams are asked with, and that the answer repeats.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::reading::once;
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error, Token},
    plugin::{Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, lines},
};

/// Reads the directive (`coredns` `plugin/header/setup.go`).
///
/// # Errors
/// When a flag or an action is unknown.
pub(super) fn setup(_: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    directive.exactly::<0>()?;
    if directive.body.is_empty() {
        return Err(directive.wrong_count());
    }
    let mut header = Header::default();
    let mut without_effect = None;
    for option in &directive.body {
        let words = option.args.as_slice();
        match (option.name.text.to_ascii_lowercase().as_str(), words) {
            ("set" | "clear", flags) => header.response.read(&option.name, flags)?,
            ("response", [action, flags @ ..]) => header.response.read(action, flags)?,
            ("query", [action, flags @ ..]) => {
                header.query.read(action, flags)?;
                if header.query.authoritative.is_some() || header.query.recursion_available.is_some() {
                    without_effect = Some(&option.name.at);
                }
            }
            ("response" | "query", []) => return Err(option.error("no flag action provided")),
            (other, _) => {
                return Err(option.error(format!("invalid selector={other} should be query or response")));
            }
        }
    }
    let mut setup = Prepared::of(lines(directive), header);
    if let Some(at) = without_effect {
        setup = setup.note(at, "aa and ra of a question mean nothing; only rd is sent to upstreams");
    }
    Ok(setup.alone())
}

/// What flags are to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags {
    authoritative: Option<bool>,
    recursion_available: Option<bool>,
    recursion_desired: Option<bool>,
}

impl Flags {
    fn read(&mut self, action: &Token, flags: &[Token]) -> Result<(), Error> {
        let on = match action.text.to_ascii_lowercase().as_str() {
            "set" => true,
            "clear" => false,
            other => {
                return Err(action.error(format!("unknown flag action={other}, should be set or clear")));
            }
        };
        if flags.is_empty() {
            return Err(action.error("invalid length for flags, at least one should be provided"));
        }
        for flag in flags {
            match flag.text.to_ascii_lowercase().as_str() {
                "aa" => self.authoritative = Some(on),
                "ra" => self.recursion_available = Some(on),
                "rd" => self.recursion_desired = Some(on),
                other => return Err(flag.error(format!("unknown/unsupported flag={other}"))),
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Header {
    query: Flags,
    response: Flags,
}

impl Header {
    /// What the answer's RD is to be.
    fn recursion_desired(&self) -> Option<bool> {
        self.response.recursion_desired.or(self.query.recursion_desired)
    }
}

impl Plugin for Header {
    fn name(&self) -> &'static str {
        "header"
    }

    fn quick(&self, _: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        Quickly::Pass
    }

    fn touches(&self) -> bool {
        true
    }

    fn touch(&self, _: &Quick<'_>, out: &mut Vec<u8>) {
        let [_, _, high, low, ..] = out.as_mut_slice() else { return };
        let set = |byte: &mut u8, bit: u8, on: Option<bool>| match on {
            Some(true) => *byte |= bit,
            Some(false) => *byte &= !bit,
            None => {}
        };
        set(high, 0x04, self.response.authoritative);
        set(high, 0x01, self.recursion_desired());
        set(low, 0x80, self.response.recursion_available);
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            if let Some(on) = self.query.recursion_desired {
                Arc::make_mut(&mut query.request).recursion_desired = on;
            }
            let mut reply = next.serve(query).await;
            reply.authoritative = self.response.authoritative.unwrap_or(reply.authoritative);
            reply.recursion_available =
                self.response.recursion_available.unwrap_or(reply.recursion_available);
            reply.recursion_desired = self.recursion_desired().or(reply.recursion_desired);
            reply
        })
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RecordType;

    use crate::testing;

    #[tokio::test]
    async fn both_ways_set_the_same_flags() {
        for (rules, flags) in [
            ("set ra", [0x85, 0x80]),
            ("set ra aa\n clear rd", [0x84, 0x80]),
            ("clear aa\n response set ra\n query clear rd", [0x80, 0x80]),
            ("set aa\n clear aa", [0x81, 0]),
        ] {
            let corefile = format!(".:53 {{\n header {{\n {rules}\n }}\n kubernetes cluster.local\n}}");
            let router = testing::router(&corefile);
            let query = testing::query("vip.ns.svc.cluster.local.", RecordType::A);
            let quick = testing::quickly(&router, &query).unwrap();
            assert_eq!(quick, testing::slowly(&router, &query).await);
            assert_eq!(quick[2..4], flags, "{rules}");
        }
    }

    #[test]
    fn rules_are_checked() {
        for (rule, message) in [
            ("set", "invalid length for flags, at least one should be provided"),
            ("set qr", "unknown/unsupported flag=qr"),
            ("response", "no flag action provided"),
            ("query toggle rd", "unknown flag action=toggle, should be set or clear"),
            ("both set rd", "invalid selector=both should be query or response"),
        ] {
            let error = testing::config(&format!(".:53 {{\n header {{\n {rule}\n }}\n}}")).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("plugin/header: Corefile:3 - Error during parsing: {message}")
            );
        }
        assert!(testing::config(".:53 {\n header\n}").is_err());
    }
}
