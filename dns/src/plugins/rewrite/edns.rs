//! Rules that set, append, replace or unset options of the question's OPT. What is in there goes to upstreams.

use std::net::IpAddr;

use crate::{
    answer::Transport,
    corefile::{Error, Token},
    plugin::Query,
    presentation::written,
};

/// A rule for one option.
#[derive(Clone, Debug)]
pub(super) struct EdnsRule {
    action: Action,
    /// The option's code.
    pub(super) code: u16,
    data: Data,
    /// The option is not to be in the answer.
    pub(super) revert: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Set,
    Append,
    Replace,
    Unset,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Data {
    Bytes(Vec<u8>),
    Variable(Variable),
    /// A label that a plugin knows about a query.
    Metadata(String),
    /// The client's network: bits of IPv4 and of IPv6 addresses (RFC 7871).
    Subnet(u8, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    Name,
    Type,
    ClientIp,
    ClientPort,
    Protocol,
    ServerIp,
    ServerPort,
}

/// The codes of NSID (RFC 5001) and of the client's network (RFC 7871).
const NSID: u16 = 3;
const SUBNET: u16 = 8;

impl EdnsRule {
    /// Reads the words after `edns0`.
    ///
    /// # Errors
    /// When they are no rule.
    pub(super) fn read(at: &Token, words: &[Token]) -> Result<Self, Error> {
        let [kind, action, rest @ ..] = words else {
            return Err(at.error("too few arguments for an EDNS0 rule"));
        };
        let (rest, revert) = match rest {
            [rest @ .., last] if last.text.eq_ignore_ascii_case("revert") => (rest, true),
            rest => (rest, false),
        };
        let action_text = action.text.to_ascii_lowercase();
        let action = match action_text.as_str() {
            "set" => Action::Set,
            "append" => Action::Append,
            "replace" => Action::Replace,
            "unset" => Action::Unset,
            other => return Err(action.error(format!("invalid action: \"{other}\""))),
        };
        let (code, data) = match (kind.text.to_ascii_lowercase().as_str(), rest) {
            ("local", [code]) if action == Action::Unset => (number(code)?, Data::Bytes(Vec::new())),
            ("local", [code, data]) if action != Action::Unset => (number(code)?, Data::read(data)?),
            ("local", _) => return Err(kind.error("EDNS0 local rules require exactly three args")),
            ("nsid", []) => (NSID, Data::Bytes(Vec::new())),
            ("nsid", _) => return Err(kind.error("EDNS0 NSID rules do not accept args")),
            ("subnet", []) if action == Action::Unset => (SUBNET, Data::Bytes(Vec::new())),
            ("subnet", [v4, v6]) if action != Action::Unset => {
                let bits = |token: &Token, most, family| {
                    let bits = number(token)?;
                    let fits = u8::try_from(bits).ok().filter(|bits| *bits <= most);
                    fits.ok_or_else(|| token.error(format!("invalid {family} bit mask length {bits}")))
                };
                (SUBNET, Data::Subnet(bits(v4, 32, "IPv4")?, bits(v6, 128, "IPv6")?))
            }
            ("subnet", _) => return Err(kind.error("EDNS0 subnet rules require exactly three args")),
            (other, _) => return Err(kind.error(format!("invalid rule type \"{other}\""))),
        };
        Ok(Self { action, code, data, revert })
    }

    /// Changes the options of a question; whether it did.
    pub(super) fn apply(&self, query: &mut Query) -> bool {
        let Some(data) = self.data.of(query) else { return false };
        let options = &mut query.options;
        let known = options.iter_mut().find(|(code, _)| *code == self.code);
        match (self.action, known) {
            (Action::Unset, known) => {
                let was = known.is_some();
                options.retain(|(code, _)| *code != self.code);
                was
            }
            (Action::Set | Action::Replace, Some((_, old))) => {
                *old = data;
                true
            }
            (Action::Set | Action::Append, None) => {
                options.push((self.code, data));
                true
            }
            (Action::Append, Some(_)) | (Action::Replace, None) => false,
        }
    }
}

impl Data {
    fn read(token: &Token) -> Result<Self, Error> {
        let text = token.text.as_str();
        if let Some(word) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            return Ok(Self::Variable(match word {
                "qname" => Variable::Name,
                "qtype" => Variable::Type,
                "client_ip" => Variable::ClientIp,
                "client_port" => Variable::ClientPort,
                "protocol" => Variable::Protocol,
                "server_ip" => Variable::ServerIp,
                "server_port" => Variable::ServerPort,
                label if is_label(label) => return Ok(Self::Metadata(label.to_owned())),
                _ => return Err(token.error(format!("unsupported variable name \"{text}\""))),
            }));
        }
        let Some(hex) = text.strip_prefix("0x") else { return Ok(Self::Bytes(text.as_bytes().to_vec())) };
        let digits: Option<Vec<u8>> =
            hex.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0);
        let digits = digits.ok_or_else(|| token.error(format!("'{text}' is not a number of whole bytes")))?;
        let byte = |pair: &[u8]| pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        Ok(Self::Bytes(digits.chunks(2).map(byte).collect()))
    }

    /// The bytes for a query; `None` where there are none to be had.
    fn of(&self, query: &Query) -> Option<Vec<u8>> {
        let ip = |ip: IpAddr| match ip.to_canonical() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let peer = &query.peer;
        Some(match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Metadata(label) => {
                query.metadatum(label).filter(|value| !value.is_empty())?.as_bytes().to_vec()
            }
            Self::Subnet(v4, v6) => subnet(peer.address.ip().to_canonical(), *v4, *v6),
            Self::Variable(Variable::Name) => written(query.name()).into_bytes(),
            Self::Variable(Variable::Type) => u16::from(query.qtype()).to_be_bytes().to_vec(),
            Self::Variable(Variable::ClientIp) => ip(peer.address.ip()),
            Self::Variable(Variable::ServerIp) => ip(peer.local.ip()),
            Self::Variable(Variable::ClientPort) => peer.address.port().to_be_bytes().to_vec(),
            Self::Variable(Variable::ServerPort) => peer.local.port().to_be_bytes().to_vec(),
            Self::Variable(Variable::Protocol) => match peer.transport {
                Transport::Udp => b"udp".to_vec(),
                Transport::Tcp => b"tcp".to_vec(),
            },
        })
    }
}

/// Family, bits, 0, and the address as far as its bits go (RFC 7871 6).
fn subnet(ip: IpAddr, v4: u8, v6: u8) -> Vec<u8> {
    let (family, bits, mut octets) = match ip {
        IpAddr::V4(ip) => (1, v4, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, v6, ip.octets().to_vec()),
    };
    octets.truncate(usize::from(bits.div_ceil(8)));
    if let Some(last) = octets.last_mut().filter(|_| bits % 8 != 0) {
        *last &= 0xff << (8 - bits % 8);
    }
    let mut data = vec![0, family, bits, 0];
    data.extend(octets);
    data
}

/// `plugin/name`
fn is_label(text: &str) -> bool {
    text.split_once('/').is_some_and(|(plugin, name)| !plugin.is_empty() && !name.is_empty())
}

/// A number as Go reads one: `65518`, `0xffee`, `0o17`, `0b11`.
fn number(token: &Token) -> Result<u16, Error> {
    let text = token.text.to_ascii_lowercase();
    let parsed = match text.get(..2) {
        Some("0x") => u16::from_str_radix(text.get(2..).unwrap_or_default(), 16),
        Some("0b") => u16::from_str_radix(text.get(2..).unwrap_or_default(), 2),
        Some("0o") => u16::from_str_radix(text.get(2..).unwrap_or_default(), 8),
        _ if text.len() > 1 && text.starts_with('0') => u16::from_str_radix(&text, 8),
        _ => text.parse(),
    };
    parsed.map_err(|_| token.error(format!("'{}' is not a number up to 65535", token.text)))
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RecordType;

    use super::*;
    use crate::{corefile::Position, testing};

    fn rule(text: &str) -> Result<EdnsRule, String> {
        let at = Position { file: "Corefile".into(), line: 1 };
        let token = |text: &str| Token { text: text.to_owned(), at: at.clone() };
        let words: Vec<Token> = text.split_whitespace().map(token).collect();
        EdnsRule::read(&token("edns0"), &words).map_err(|error| error.message)
    }

    fn applied(text: &str, before: &[(u16, &[u8])]) -> (bool, Vec<(u16, Vec<u8>)>) {
        let mut query = testing::query("Www.example.org.", RecordType::AAAA);
        query.options = before.iter().map(|(code, data)| (*code, data.to_vec())).collect();
        query.metadata = vec![("test/label".into(), "value".to_owned())];
        (rule(text).unwrap().apply(&mut query), query.options)
    }

    #[test]
    fn options_are_set_appended_replaced_and_unset() {
        const LOCAL: u16 = 0xffee;
        let old: &[(u16, &[u8])] = &[(LOCAL, b"old")];
        for (text, before, changed, after) in [
            ("local set 0xffee 0x61626364", &[][..], true, vec![(LOCAL, &b"abcd"[..])]),
            ("local set 65518 abcd", old, true, vec![(LOCAL, b"abcd")]),
            ("local append 0xffee abcd", &[], true, vec![(LOCAL, b"abcd")]),
            ("local append 0xffee abcd", old, false, vec![(LOCAL, b"old")]),
            ("local replace 0xffee abcd", &[], false, vec![]),
            ("local replace 0xffee abcd", old, true, vec![(LOCAL, b"abcd")]),
            ("local unset 0xffee", old, true, vec![]),
            ("local unset 0xffee", &[], false, vec![]),
            ("nsid set", &[], true, vec![(3, b"")]),
            ("nsid replace", &[(3, b"x")], true, vec![(3, b"")]),
            ("subnet set 24 56 revert", &[], true, vec![(8, &[0, 1, 24, 0, 10, 240, 0])]),
            ("subnet set 12 56", &[], true, vec![(8, &[0, 1, 12, 0, 10, 240])]),
            ("subnet set 0 0", &[], true, vec![(8, &[0, 1, 0, 0])]),
            ("local set 1 {qname}", &[], true, vec![(1, b"Www.example.org.")]),
            ("local set 1 {qtype}", &[], true, vec![(1, &[0, 28])]),
            ("local set 1 {client_ip}", &[], true, vec![(1, &[10, 240, 0, 1])]),
            ("local set 1 {client_port}", &[], true, vec![(1, &40212_u16.to_be_bytes())]),
            ("local set 1 {server_ip}", &[], true, vec![(1, &[10, 96, 0, 10])]),
            ("local set 1 {server_port}", &[], true, vec![(1, &[0, 53])]),
            ("local set 1 {protocol}", &[], true, vec![(1, b"udp")]),
            ("local set 1 {test/label}", &[], true, vec![(1, b"value")]),
            ("local set 1 {test/other}", &[], false, vec![]),
        ] {
            let after: Vec<(u16, Vec<u8>)> =
                after.into_iter().map(|(code, data)| (code, data.to_vec())).collect();
            assert_eq!(applied(text, before), (changed, after), "{text}");
        }
    }

    #[test]
    fn rules_are_checked() {
        for (text, message) in [
            ("local", "too few arguments for an EDNS0 rule"),
            ("local drop 1 2", "invalid action: \"drop\""),
            ("local set 1", "EDNS0 local rules require exactly three args"),
            ("local set 65536 a", "'65536' is not a number up to 65535"),
            ("local set 1 0x123", "'0x123' is not a number of whole bytes"),
            ("local set 1 {dummy}", "unsupported variable name \"{dummy}\""),
            ("nsid set junk", "EDNS0 NSID rules do not accept args"),
            ("subnet set 33 56", "invalid IPv4 bit mask length 33"),
            ("subnet set 24 129", "invalid IPv6 bit mask length 129"),
            ("padding set", "invalid rule type \"padding\""),
        ] {
            assert_eq!(rule(text).unwrap_err(), message);
        }
    }
}
