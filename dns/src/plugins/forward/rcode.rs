//! Names of response codes, as they are written in Corefiles and metrics.

use hickory_proto::op::ResponseCode;

const NAMES: [(u16, &str); 18] = [
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (6, "YXDOMAIN"),
    (7, "YXRRSET"),
    (8, "NXRRSET"),
    (9, "NOTAUTH"),
    (10, "NOTZONE"),
    (16, "BADVERS"),
    (17, "BADKEY"),
    (18, "BADTIME"),
    (19, "BADMODE"),
    (20, "BADNAME"),
    (21, "BADALG"),
    (22, "BADTRUNC"),
];

/// Its name, if it has one.
pub(super) fn name(rcode: ResponseCode) -> Option<&'static str> {
    let code = u16::from(rcode);
    NAMES.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

/// The code of a name, in any case.
pub(super) fn read(text: &str) -> Option<ResponseCode> {
    let found = NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
    found.map(|(code, _)| (*code).into())
}
