//! A question as it is on the wire.

/// Types of records that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// IPv4 addresses.
    A = 1,
    /// Names of addresses.
    Ptr = 12,
    /// IPv6 addresses, of which the cluster has none.
    Aaaa = 28,
    /// Ports.
    Srv = 33,
}

/// A message with one question; its id is set when it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    wire: Box<[u8]>,
    /// Where the question ends.
    end: usize,
}

/// The length of the header.
const HEADER: usize = 12;
/// An OPT without options, for answers of 1,232 bytes.
const OPT: [u8; 11] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];

impl Question {
    /// A recursive question for a name, which is written with dots between its labels and none at its end. `None` for what
    /// is no name.
    pub fn new(name: &str, kind: Kind, edns: bool) -> Option<Self> {
        let mut wire = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
        for label in name.split('.') {
            wire.push(u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?);
            wire.extend(label.as_bytes());
        }
        if wire.len() - HEADER > 254 {
            return None;
        }
        wire.push(0);
        wire.extend((kind as u16).to_be_bytes());
        wire.extend([0, 1]);
        let end = wire.len();
        if edns {
            wire.extend(OPT);
        }
        Some(Self { wire: wire.into(), end })
    }

    /// Writes the message with this id behind what is there.
    pub fn write(&self, id: u16, to: &mut Vec<u8>) {
        to.extend(id.to_be_bytes());
        to.extend(self.wire.get(2..).unwrap_or_default());
    }

    /// Whether a message is a response with this id and this question, letter by letter.
    pub fn is_answered_by(&self, id: u16, message: &[u8]) -> bool {
        let question = self.wire.get(HEADER..self.end);
        message.get(..2) == Some(&id.to_be_bytes())
            && message.get(2).is_some_and(|flags| flags & 0x80 != 0)
            && message.get(4..6) == Some(&[0, 1])
            && message.get(HEADER..self.end) == question
    }

    /// The name and the type, as text.
    pub fn text(&self) -> String {
        let (mut text, mut at) = (String::new(), HEADER);
        while let Some(length) = self.wire.get(at).map(|length| usize::from(*length)).filter(|n| *n > 0) {
            text.push_str(&String::from_utf8_lossy(
                self.wire.get(at + 1..at + 1 + length).unwrap_or_default(),
            ));
            text.push('.');
            at += 1 + length;
        }
        let kind = match self.wire.get(at + 2) {
            Some(1) => "A",
            Some(12) => "PTR",
            Some(28) => "AAAA",
            Some(33) => "SRV",
            _ => "?",
        };
        let opt = if self.end < self.wire.len() { " with an OPT" } else { "" };
        format!("{text} {kind}{opt}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_message() {
        let question = Question::new("svc-1.ns-1", Kind::Aaaa, true).unwrap();
        let mut wire = Vec::new();
        question.write(0x1234, &mut wire);
        let mut wanted =
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x05svc-1\x04ns-1\x00\x00\x1c\x00\x01".to_vec();
        wanted.extend(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
        assert_eq!(wire, wanted);
        assert_eq!(question.text(), "svc-1.ns-1. AAAA with an OPT");
        let parsed = hickory_proto::op::Message::from_vec(&wire).unwrap();
        assert_eq!(parsed.queries[0].name().to_string(), "svc-1.ns-1.");
        assert_eq!(parsed.edns.unwrap().max_payload(), 1232);
    }

    #[test]
    fn only_its_own_answer_is_one() {
        let question = Question::new("a.b", Kind::A, false).unwrap();
        let mut answer = Vec::new();
        question.write(7, &mut answer);
        assert!(!question.is_answered_by(7, &answer), "a question is no answer");
        answer[2] |= 0x80;
        assert!(question.is_answered_by(7, &answer));
        assert!(!question.is_answered_by(8, &answer));
        assert!(!question.is_answered_by(7, &answer[..answer.len() - 1]));
        let mut other = answer.clone();
        other[13] = b'A';
        assert!(!question.is_answered_by(7, &other), "the letters as they were asked");
        answer[5] = 0;
        assert!(!question.is_answered_by(7, &answer), "without the question");
    }

    #[test]
    fn what_is_no_name_is_no_question() {
        for name in ["", "a..b", "a.", &"a".repeat(64), &["abcdefghi"; 26].join(".")] {
            assert_eq!(Question::new(name, Kind::A, false), None, "{name}");
        }
        assert!(Question::new(&["abcdefghi"; 25].join("."), Kind::A, false).is_some());
    }
}
