//! What an answer is found by.

use hickory_proto::rr::{Name, RecordType};
use smallvec::SmallVec;

/// Name in lower case as on the wire, type, class, DO and CD, and the network that the answer is to be for, if the question
/// says so (RFC 7871 7.3): answers to questions that differ in one of them differ.
pub(super) type Key = SmallVec<[u8; 64]>;

/// EDNS Client Subnet.
const CLIENT_SUBNET: u16 = 8;

/// The key of a question with these EDNS options.
pub(super) fn key(
    name: &Name,
    qtype: RecordType,
    qclass: u16,
    dnssec_ok: bool,
    checking_disabled: bool,
    options: &[(u16, Vec<u8>)],
) -> Key {
    let mut key = Key::new();
    for label in name {
        key.push(label.len() as u8);
        key.extend_from_slice(label);
    }
    // Lengths of labels are below the letters.
    key.make_ascii_lowercase();
    key.extend_from_slice(&u16::from(qtype).to_be_bytes());
    key.extend_from_slice(&qclass.to_be_bytes());
    key.push(u8::from(dnssec_ok) << 1 | u8::from(checking_disabled));
    if let Some((_, network)) = options.iter().find(|(code, _)| *code == CLIENT_SUBNET) {
        key.extend_from_slice(network);
    }
    key
}
