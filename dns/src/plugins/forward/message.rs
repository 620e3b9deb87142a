//! Reading an upstream's reply, in a number of steps that its length bounds.
//!
//! A name may end with a pointer to an earlier one, which may end with a pointer again. Pointers lead backwards, so every
//! chain of them ends; but one may have eight thousand, and each of thousands of records may begin it anew. Names that are
//! worth compressing have a label before each pointer, and no name has more than 127 labels; so a message with longer
//! chains is refused before the codec follows them.

use hickory_proto::op::Message;

use super::failure::Failure;

/// Labels of a name at most (RFC 1035 2.3.4: 255 bytes).
const LABELS: u16 = 127;
/// The first offset that a pointer does not reach.
const UNREACHED: usize = 0x4000;

/// Reads a message.
///
/// # Errors
/// When it is none, or could take too long to read.
pub(super) fn read(bytes: &[u8]) -> Result<Message, Failure> {
    if longest_chain(bytes) > LABELS {
        return Err(Failure::other(format!("dns: a chain of more than {LABELS} compression pointers")));
    }
    Message::from_vec(bytes).map_err(|error| Failure::other(format!("dns: {error}")))
}

/// How many pointers follow one another at most, wherever a name may begin. Takes two steps a byte.
fn longest_chain(bytes: &[u8]) -> u16 {
    let reach = bytes.get(..UNREACHED).unwrap_or(bytes);
    // Where the labels that begin at a place end with a pointer.
    let mut ends: Vec<Option<u16>> = vec![None; reach.len()];
    for (at, length) in reach.iter().enumerate().rev() {
        let end = match *length {
            0 => None,
            0xc0.. => u16::try_from(at).ok(),
            length => ends.get(at + 1 + usize::from(length)).copied().flatten(),
        };
        if let Some(place) = ends.get_mut(at) {
            *place = end;
        }
    }
    // Pointers lead backwards: what they lead to has been counted.
    let mut counts: Vec<u16> = Vec::with_capacity(reach.len());
    let mut longest = 0;
    for (at, end) in ends.iter().enumerate() {
        let target = end.and_then(|end| {
            let end = usize::from(end);
            let (high, low) = (*reach.get(end)?, *bytes.get(end + 1)?);
            Some(usize::from(u16::from_be_bytes([high & 0x3f, low])))
        });
        let count = match target {
            Some(target) if target < at => counts.get(target).copied().unwrap_or_default() + 1,
            Some(_) => 1,
            None => 0,
        };
        counts.push(count);
        longest = longest.max(count);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, a chain of so many pointers that begins with a root, and records whose owners are its end.
    fn chained(pointers: u16, records: u16) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes[6..8].copy_from_slice(&(records + 1).to_be_bytes());
        // The question, and a record in whose data the chain is.
        bytes.extend([0, 0, 1, 0, 1]);
        bytes.extend([0, 0, 10, 0, 1, 0, 0, 0, 0]);
        bytes.extend((2 * pointers + 1).to_be_bytes());
        let mut last = u16::try_from(bytes.len()).unwrap();
        bytes.push(0);
        for _ in 0..pointers {
            let here = u16::try_from(bytes.len()).unwrap();
            bytes.extend((0xc000 | last).to_be_bytes());
            last = here;
        }
        for _ in 0..records {
            bytes.extend((0xc000 | last).to_be_bytes());
            bytes.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        }
        bytes
    }

    #[test]
    fn chains_are_counted_from_wherever_they_begin() {
        for pointers in [0, 1, 5, 126, 127, 3000, 8000] {
            // The owner of the record at the end is one more. What looks like a pointer counts too: lengths, addresses.
            let counted = longest_chain(&chained(pointers, 1));
            assert!((pointers + 1..pointers + 4).contains(&counted), "{counted} of {pointers}");
        }
        // Labels before a pointer, and pointers that lead nowhere.
        let name = |tail: &[u8]| [&[0; 12], &b"\x01a\x02bc"[..], tail].concat();
        assert_eq!(longest_chain(&name(&[0xc0, 12, 0xc0, 14])), 3);
        assert_eq!(longest_chain(&name(&[0xc0, 200])), 1);
        assert_eq!(longest_chain(&name(&[0xc0])), 0);
        assert_eq!(longest_chain(&name(&[])), 0);
        assert_eq!(longest_chain(&[0xc0; 40_000]), 2);
        assert_eq!(longest_chain(&[]), 0);
    }

    #[test]
    fn a_message_that_takes_long_to_read_is_refused() {
        assert_eq!(read(&chained(100, 2)).unwrap().answers.len(), 3);
        let error = read(&chained(8000, 3000)).unwrap_err().to_string();
        assert!(error.contains("compression pointers"), "{error}");
    }
}
