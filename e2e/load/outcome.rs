//! What came back to a question, as far as servers can be compared: the code and how many records there are.

/// The outcome of a question. The default is none at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The response code of the header, plus one; 0 where nothing came.
    code: u8,
    /// TC.
    pub truncated: bool,
    /// Records in the sections for answer, authority and additional.
    pub counts: [u16; 3],
}

/// How the outcomes of two servers differ: of how many questions, and the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// In what a client acts on: the code, TC, or the number of answers.
    pub answers: usize,
    /// The number of the first such question.
    pub first: Option<usize>,
    /// Only in the records of the authority section.
    pub authority: usize,
    /// Only in additional records, or in these and those of the authority section.
    pub additional: usize,
}

impl Outcome {
    /// Reads the header of a response.
    pub fn of(message: &[u8]) -> Option<Self> {
        let byte = |at: usize| message.get(at).copied();
        let count = |at: usize| Some(u16::from_be_bytes([byte(at)?, byte(at + 1)?]));
        Some(Self {
            code: (byte(3)? & 0x0f) + 1,
            truncated: byte(2)? & 0x02 != 0,
            counts: [count(6)?, count(8)?, count(10)?],
        })
    }

    /// The response code, where there was a response.
    pub fn code(self) -> Option<u8> {
        self.code.checked_sub(1)
    }

    /// What a client acts on.
    fn answer(self) -> (u8, bool, u16) {
        let [answers, _, _] = self.counts;
        (self.code, self.truncated, answers)
    }
}

impl Comparison {
    /// Compares what two servers said to the same questions.
    pub fn of(one: &[Outcome], other: &[Outcome]) -> Self {
        let mut comparison = Self { answers: one.len().abs_diff(other.len()), ..Self::default() };
        for (at, (one, other)) in one.iter().zip(other).enumerate() {
            let ([_, authority, additional], [_, other_authority, other_additional]) =
                (one.counts, other.counts);
            if one.answer() != other.answer() {
                comparison.answers += 1;
                comparison.first.get_or_insert(at);
            } else if additional != other_additional {
                comparison.additional += 1;
            } else if authority != other_authority {
                comparison.authority += 1;
            }
        }
        comparison
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(code: u8, counts: [u16; 3]) -> Outcome {
        Outcome { code: code + 1, truncated: false, counts }
    }

    #[test]
    fn the_header_is_read() {
        let message = [0, 1, 0x86, 0x83, 0, 1, 0, 20, 0, 2, 1, 0];
        let read = Outcome::of(&message).unwrap();
        assert_eq!((read.code(), read.truncated, read.counts), (Some(3), true, [20, 2, 256]));
        assert_eq!(Outcome::of(&message[..11]), None);
        assert_eq!(Outcome::default().code(), None);
    }

    #[test]
    fn what_a_client_acts_on_must_be_equal() {
        let one = [outcome(0, [1, 0, 0]); 6];
        let mut other = one;
        assert_eq!(Comparison::of(&one, &other), Comparison::default());
        other[1] = outcome(0, [1, 1, 0]);
        other[2] = outcome(0, [1, 1, 1]);
        other[3] = outcome(3, [1, 0, 0]);
        other[4] = outcome(0, [2, 0, 0]);
        other[5].truncated = true;
        let wanted = Comparison { answers: 3, first: Some(3), authority: 1, additional: 1 };
        assert_eq!(Comparison::of(&one, &other), wanted);
        assert_eq!(Comparison::of(&one, &other[..5]).answers, 3, "one is missing");
        other[0] = Outcome::default();
        assert_eq!(Comparison::of(&one, &other).first, Some(0), "nothing came");
    }
}
