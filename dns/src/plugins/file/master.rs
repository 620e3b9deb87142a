//! From zone files to records (RFC 1035 5, RFC 2308 4, RFC 3597 5).
//!
//! Lines, names, TTLs and directives are read here, the data of records by the `domain` crate, which knows most types;
//! those that it does not know can be written as `\# LENGTH HEX`. `$INCLUDE`d files are read relative to the file that
//! includes them. TTLs and the times of a SOA may have units (`1h30m`).

use std::{
    collections::BTreeSet,
    fmt, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use domain::{
    base::{
        Name as DomainName, ParsedName, Rtype,
        rdata::{ComposeRecordData, ParseAnyRecordData},
    },
    dep::octseq::Parser,
    rdata::AllRecordData,
    zonefile::inplace::{Entry as Scanned, Zonefile},
};
use hickory_proto::{
    rr::{DNSClass, Name, RData, Record, RecordType, rdata::NULL},
    serialize::binary::{BinDecodable, BinDecoder},
};

use super::{
    generate::generate,
    words::{Entry, Word, entries},
};
use crate::{plugins::reading::parse_type, presentation::read_name};

/// How deep files may include files.
const DEEPEST: usize = 7;
/// The most records that a zone may generate.
const MOST_GENERATED: usize = 1 << 20;
/// What is said of data that does not fit its type.
const NO_SENSE: &str = "its data makes no sense";
/// The largest file, bytes, all that it includes counted.
const LARGEST: u64 = 512 << 20;

/// What is wrong with a zone file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileError {
    pub(super) path: PathBuf,
    /// From 1; 0 for the file as a whole.
    pub(super) line: usize,
    pub(super) message: String,
    /// The file that was asked for is not there.
    pub(super) missing: bool,
}

/// The records of a file.
#[derive(Debug)]
pub(crate) struct Master {
    pub(crate) records: Vec<Record>,
    /// Every file that was read.
    pub(super) files: BTreeSet<PathBuf>,
    /// Records whose owner is not in the zone: they are not served.
    pub(super) outside: usize,
}

/// Where the files are.
pub(crate) trait Source {
    /// A file's length, bytes.
    fn size(&self, path: &Path) -> io::Result<u64>;
    /// What is in it.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// The files of this machine.
struct Disk;

impl Source for Disk {
    fn size(&self, path: &Path) -> io::Result<u64> {
        std::fs::metadata(path).map(|metadata| metadata.len())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }
}

impl Master {
    /// Reads the file of a zone.
    pub(super) fn read(path: &Path, zone: &Name) -> Result<Self, FileError> {
        Self::read_from(&Disk, path, zone)
    }

    /// Reads the file of a zone from somewhere else.
    pub(crate) fn read_from(files: &dyn Source, path: &Path, zone: &Name) -> Result<Self, FileError> {
        let mut reader = Reader {
            files,
            zone,
            origin: zone.clone(),
            owner: None,
            default_ttl: None,
            last_ttl: None,
            left: LARGEST,
            generated: 0,
            master: Self { records: Vec::new(), files: BTreeSet::new(), outside: 0 },
        };
        reader.read_file(path, 0, None)?;
        Ok(reader.master)
    }
}

struct Reader<'a> {
    files: &'a dyn Source,
    zone: &'a Name,
    origin: Name,
    owner: Option<Name>,
    default_ttl: Option<u32>,
    last_ttl: Option<u32>,
    left: u64,
    generated: usize,
    master: Master,
}

impl Reader<'_> {
    /// Reads one file; `from` includes it.
    fn read_file(
        &mut self,
        path: &Path,
        depth: usize,
        from: Option<(&Path, usize)>,
    ) -> Result<(), FileError> {
        let fail = |message: String| match from {
            Some((path, line)) => FileError { path: path.to_owned(), line, message, missing: false },
            None => FileError { path: path.to_owned(), line: 0, message, missing: false },
        };
        if depth > DEEPEST {
            return Err(fail("files include files too deeply".to_owned()));
        }
        let failed = |error: io::Error| FileError {
            missing: from.is_none() && error.kind() == io::ErrorKind::NotFound,
            ..fail(format!("cannot read {}: {error}", path.display()))
        };
        let size = self.files.size(path).map_err(failed)?;
        self.left = self.left.checked_sub(size).ok_or_else(|| fail("the zone is too large".to_owned()))?;
        let bytes = self.files.read(path).map_err(failed)?;
        self.master.files.insert(path.to_owned());
        // Names and texts are bytes to DNS; what is not UTF-8 must be written as \DDD.
        let text = String::from_utf8(bytes).map_err(|_| fail(format!("{} is not UTF-8", path.display())))?;
        let at =
            |line: usize, message: String| FileError { path: path.to_owned(), line, message, missing: false };
        let all = entries(&text).map_err(|(line, message)| at(line, message.to_owned()))?;
        drop(text);
        for entry in &all {
            let directive = entry
                .words
                .first()
                .filter(|word| !entry.indented && !word.quoted && word.text.starts_with('$'));
            match directive.map(|word| word.text.to_ascii_uppercase()).as_deref() {
                None => self.record(entry).map_err(|message| at(entry.line, message))?,
                Some("$INCLUDE") => self.include(entry, path, depth)?,
                Some("$GENERATE") => {
                    let all = generate(entry).map_err(|message| at(entry.line, message))?;
                    self.generated += all.len();
                    if self.generated > MOST_GENERATED {
                        return Err(at(entry.line, "too many records are generated".to_owned()));
                    }
                    for entry in all {
                        self.record(&entry).map_err(|message| at(entry.line, message))?;
                    }
                }
                Some(name) => self.directive(name, entry).map_err(|message| at(entry.line, message))?,
            }
        }
        Ok(())
    }

    fn directive(&mut self, name: &str, entry: &Entry) -> Result<(), String> {
        let [_, value] = entry.words.as_slice() else { return Err(format!("{name} wants one word")) };
        match name {
            "$ORIGIN" => self.origin = self.name(value)?,
            "$TTL" => {
                let ttl = seconds(&value.text).ok_or_else(|| format!("'{}' is no TTL", value.text))?;
                self.default_ttl = Some(ttl);
            }
            _ => return Err(format!("unknown directive {name}")),
        }
        Ok(())
    }

    fn include(&mut self, entry: &Entry, path: &Path, depth: usize) -> Result<(), FileError> {
        let fail =
            |message: String| FileError { path: path.to_owned(), line: entry.line, message, missing: false };
        let (file, origin) = match entry.words.as_slice() {
            [_, file] => (file, self.origin.clone()),
            [_, file, origin] => (file, self.name(origin).map_err(fail)?),
            _ => return Err(fail("$INCLUDE wants a file and may have an origin".to_owned())),
        };
        let inner = path.parent().unwrap_or_else(|| Path::new("")).join(&file.text);
        // The file's origin and owner are its own (RFC 1035 5.1).
        let outer = (std::mem::replace(&mut self.origin, origin), self.owner.clone());
        let read = self.read_file(&inner, depth + 1, Some((path, entry.line)));
        (self.origin, self.owner) = outer;
        read
    }

    /// `[OWNER] [TTL] [CLASS] TYPE DATA…`
    fn record(&mut self, entry: &Entry) -> Result<(), String> {
        let mut words = entry.words.as_slice();
        if !entry.indented {
            let (owner, rest) = words.split_first().ok_or("no owner")?;
            self.owner = Some(self.name(owner)?);
            words = rest;
        }
        let owner = self.owner.clone().ok_or("a record without an owner, and none before it")?;
        let (mut ttl, mut class) = (None, false);
        let kind = loop {
            let (word, rest) = words.split_first().ok_or("a record without a type")?;
            words = rest;
            match word.text.to_ascii_uppercase().as_str() {
                "IN" if !class => class = true,
                other @ ("CH" | "HS" | "CS" | "NONE") => return Err(format!("class {other} is not served")),
                // A type never begins with a digit.
                text if text.starts_with(|c: char| c.is_ascii_digit()) && ttl.is_none() => {
                    ttl = Some(seconds(text).ok_or_else(|| format!("'{}' is no TTL", word.text))?);
                }
                text => {
                    break parse_type(text).ok_or_else(|| format!("unknown record type '{}'", word.text))?;
                }
            }
        };
        let data = self.data(kind, words)?;
        self.last_ttl = ttl.or(self.last_ttl);
        let minimum = if let RData::SOA(soa) = &data { Some(soa.minimum) } else { None };
        // Without any the SOA's own (as BIND has it).
        let ttl = ttl.or(self.default_ttl).or(self.last_ttl).or(minimum);
        let ttl = ttl.ok_or("no TTL, no $TTL, and no SOA before it")?;
        if minimum.is_some() {
            self.last_ttl.get_or_insert(ttl);
        }
        if self.zone.zone_of(&owner) {
            self.master.records.push(Record::from_rdata(owner, ttl, data));
        } else {
            self.master.outside += 1;
        }
        Ok(())
    }

    fn name(&self, word: &Word) -> Result<Name, String> {
        if word.text == "@" {
            return Ok(self.origin.clone());
        }
        if word.text.is_ascii() {
            let wrong = || format!("'{}': not a name", word.text);
            return read_name(&word.text, &self.origin).ok_or_else(wrong);
        }
        let mut name = Name::parse(&word.text, Some(&self.origin))
            .map_err(|error| format!("'{}': {error}", word.text))?;
        name.set_fqdn(true);
        Ok(name)
    }

    fn data(&self, kind: RecordType, words: &[Word]) -> Result<RData, String> {
        let mut texts: Vec<String> = words.iter().map(Word::written).collect();
        if kind == RecordType::SOA {
            for time in texts.iter_mut().skip(3) {
                *time = seconds(time).ok_or_else(|| format!("'{time}' is no time"))?.to_string();
            }
        }
        // The scanner does not know the origin's sign in data; where data is text it is none.
        if !matches!(kind, RecordType::TXT | RecordType::HINFO | RecordType::CAA) && u16::from(kind) != 99 {
            for text in texts.iter_mut().filter(|text| *text == "@") {
                *text = self.origin.to_ascii();
            }
        }
        let number = u16::from(kind);
        let generic = texts.first().is_some_and(|text| text == "\\#");
        // Types that are laid out as others are: an SPF is a TXT, and AFSDB, RT and KX are a number and a name.
        let like = match number {
            99 if !generic => "TXT".to_owned(),
            18 | 21 | 36 if !generic => "MX".to_owned(),
            other => format!("TYPE{other}"),
        };
        let wire = scan(&self.origin, &like, &texts.join(" ")).map_err(|error| {
            if error == NO_SENSE {
                format!("{kind}: {error}")
            } else if generic {
                error
            } else {
                format!("{kind}: {error} (any type may be written as \\# LENGTH HEX)")
            }
        })?;
        read_data(kind, &wire).ok_or_else(|| format!("{kind}: {NO_SENSE}"))
    }
}

/// Reads one record from its text. Names are taken from the root, a TTL that is not written is an hour, and any class is.
pub(crate) fn record(text: &str) -> Result<Record, String> {
    let all = entries(text).map_err(|(_, message)| message.to_owned())?;
    let [entry] = all.as_slice() else { return Err("not one record".to_owned()) };
    let mut entry = entry.clone();
    let mut class = DNSClass::IN;
    // Behind the owner a TTL and a class may stand, in any order.
    for word in entry.words.iter_mut().skip(1).take(2).filter(|word| !word.quoted) {
        let known = match word.text.to_ascii_uppercase().as_str() {
            "CH" => DNSClass::CH,
            "HS" => DNSClass::HS,
            "ANY" => DNSClass::ANY,
            _ => continue,
        };
        class = known;
        word.text = "IN".to_owned();
        break;
    }
    let root = Name::root();
    let mut reader = Reader {
        files: &Disk,
        zone: &root,
        origin: root.clone(),
        owner: None,
        default_ttl: Some(3600),
        last_ttl: None,
        left: 0,
        generated: 0,
        master: Master { records: Vec::new(), files: BTreeSet::new(), outside: 0 },
    };
    reader.record(&entry)?;
    let mut record = reader.master.records.pop().ok_or("no record")?;
    record.dns_class = class;
    Ok(record)
}

/// The data of a record on the wire, by the scanner that knows the types.
fn scan(origin: &Name, kind: &str, data: &str) -> Result<Vec<u8>, String> {
    let mut file = Zonefile::from(format!(". 0 IN {kind} {data}\n").as_str());
    let mut wire = Vec::new();
    for label in origin {
        wire.push(u8::try_from(label.len()).unwrap_or_default());
        wire.extend_from_slice(label);
    }
    wire.push(0);
    file.set_origin(DomainName::from_octets(Bytes::from(wire)).map_err(|error| error.to_string())?);
    match file.next_entry() {
        Ok(Some(Scanned::Record(record))) => {
            let mut wire = Vec::new();
            record.data().compose_rdata(&mut wire).map_err(|_| "its data is too long".to_owned())?;
            // The scanner lets names with empty labels pass, which cannot be read again.
            if !is_whole(record.rtype(), &wire) {
                return Err(NO_SENSE.to_owned());
            }
            Ok(wire)
        }
        Ok(_) => Err("it has no data".to_owned()),
        // Its line and column are of our one line.
        Err(error) => Err(error.to_string().splitn(3, ':').last().unwrap_or_default().trim().to_owned()),
    }
}

/// Whether all of a record's data can be read again.
fn is_whole(kind: Rtype, wire: &[u8]) -> bool {
    let mut parser = Parser::from_ref(wire);
    let read = AllRecordData::<&[u8], ParsedName<&[u8]>>::parse_any_rdata(kind, &mut parser);
    read.is_ok() && parser.remaining() == 0
}

/// Data as a value; of types that the codec does not know, as bytes.
fn read_data(kind: RecordType, wire: &[u8]) -> Option<RData> {
    let length = u16::try_from(wire.len()).ok()?;
    let unknown = || RData::Unknown { code: kind, rdata: NULL::with(wire.to_vec()) };
    let mut record = vec![0];
    record.extend(u16::from(kind).to_be_bytes());
    record.extend([0, 1, 0, 0, 0, 0]);
    record.extend(length.to_be_bytes());
    record.extend_from_slice(wire);
    match Record::read(&mut BinDecoder::new(&record)) {
        Ok(record) => Some(record.data),
        // Types that are answered from as values must be right; others are carried as they are.
        Err(_) => match kind {
            RecordType::SOA | RecordType::NS | RecordType::CNAME | RecordType::A | RecordType::AAAA => None,
            _ => Some(unknown()),
        },
    }
}

/// A number of seconds, which may have units: `3600`, `1h30m`, `2W`.
fn seconds(text: &str) -> Option<u32> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (mut total, mut number) = (0_u64, None::<u64>);
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            let sum = number.unwrap_or_default().checked_mul(10)?.checked_add(u64::from(digit))?;
            number = Some(sum).filter(|sum| *sum <= u64::from(u32::MAX));
            number?;
            continue;
        }
        let unit = match c.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()? * unit)?;
    }
    u32::try_from(total.checked_add(number.unwrap_or_default())?).ok()
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "{}:{line}: {}", self.path.display(), self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("inner"), "i A 192.0.2.9\n$ORIGIN far.\nj A 192.0.2.8\n").unwrap();
        std::fs::write(folder.path().join("self"), "$INCLUDE self\n").unwrap();
        let path = folder.path().join("db");
        std::fs::write(&path, text).unwrap();
        let zone = Name::from_ascii("example.org.").unwrap();
        let master = Master::read(&path, &zone)
            .map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))?;
        let line = |r: &Record| format!("{} {} {} {}", r.name, r.ttl, r.record_type(), r.data);
        Ok(master.records.iter().map(line).collect())
    }

    #[test]
    fn files_become_records() {
        let text = r#"
$TTL 1h
@       IN SOA ns hostmaster.example.org. ( 2026010100 ; serial
                2h 15m 2w 1d )
        NS  ns
        NS  ns.other.
ns 60   IN  A 192.0.2.1
   IN 1m AAAA 2001:db8::1
www     CNAME @
*       TXT "a b" c\"d
mail    MX 10 mx
$ORIGIN sub
deep    SRV 0 5 443 www.example.org.
x       TYPE65280 \# 3 abCDef
y       CAA 0 issue "ca.example"
z       HTTPS 1 . alpn=h2
a       AFSDB 1 host
p       SPF "v=spf1 -all"
d       DNAME elsewhere.
$INCLUDE inner
$INCLUDE inner example.org.
k       A 192.0.2.7
$GENERATE 1-2 g$ A 192.0.2.1$
"#;
        let lines = read(text).unwrap();
        for wanted in [
            "example.org. 3600 SOA ns.example.org. hostmaster.example.org. 2026010100 7200 900 1209600 86400",
            "example.org. 3600 NS ns.other.",
            "ns.example.org. 60 A 192.0.2.1",
            "ns.example.org. 60 AAAA 2001:db8::1",
            "www.example.org. 3600 CNAME example.org.",
            "*.example.org. 3600 TXT a bc\"d",
            "mail.example.org. 3600 MX 10 mx.example.org.",
            "deep.sub.example.org. 3600 SRV 0 5 443 www.example.org.",
            "i.sub.example.org. 3600 A 192.0.2.9",
            "i.example.org. 3600 A 192.0.2.9",
            "k.sub.example.org. 3600 A 192.0.2.7",
            "g2.sub.example.org. 3600 A 192.0.2.12",
        ] {
            assert!(lines.iter().any(|line| line == wanted), "{wanted} in {lines:#?}");
        }
        for owner in ["*", "x.sub", "y.sub", "z.sub", "a.sub", "p.sub", "d.sub"] {
            assert!(lines.iter().any(|line| line.starts_with(&format!("{owner}.example.org. "))), "{owner}");
        }
        assert!(!lines.iter().any(|line| line.contains("far")), "outside of the zone");
    }

    #[test]
    fn a_soa_gives_the_ttl_where_nothing_else_does() {
        let lines = read("@ SOA a b 1 2 3 4 300\n NS a\n").unwrap();
        assert!(lines.iter().all(|line| line.starts_with("example.org. 300 ")), "{lines:?}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, message) in [
            ("@ A 192.0.2.1", "db:1: no TTL, no $TTL, and no SOA before it"),
            ("$TTL 1\n\n@ A 192.0.2", "db:3: A: "),
            ("$TTL 1x", "db:1: '1x' is no TTL"),
            ("$TTL 1\n A 192.0.2.1", "db:2: a record without an owner, and none before it"),
            ("$TTL 1\n@ WHAT 1", "db:2: unknown record type 'WHAT'"),
            ("$TTL 1\n@ CH A 192.0.2.1", "db:2: class CH is not served"),
            ("$TTL 1\n@ IN", "db:2: a record without a type"),
            ("$WHAT 1", "db:1: unknown directive $WHAT"),
            ("$INCLUDE nothing", "db:1: cannot read nothing: "),
            ("$INCLUDE self", "self:1: files include files too deeply"),
            ("$TTL 1\na..b A 192.0.2.1", "db:2: 'a..b': "),
            ("$TTL 1\n@ SOA a b 1 2 3 4 x", "db:2: 'x' is no time"),
            ("$TTL 1\n@ SRV 0 5 443 www..a.", "db:2: SRV: its data makes no sense"),
            ("$TTL 1\n@ MX 5 a..b", "db:2: MX: its data makes no sense"),
            ("$TTL 1\n@ TXT (\"a\"", "db:2: a parenthesis is not closed"),
            ("$TTL 1\n@ TYPE1 \\# 3 000000", "db:2: A: its data makes no sense"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(message), "{text:?}: {error}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("1h30m", Some(5400)),
            ("1W2D", Some(777_600)),
            ("5m10", Some(310)),
            ("4294967295", Some(u32::MAX)),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
        for text in ["", "h", "1x", "-1", "4294967296", "9999999999999999999999", "7102w"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn not_everything_is_generated() {
        let text = "$TTL 1\n".to_owned() + &"$GENERATE 0-65535 a A 192.0.2.1\n".repeat(17);
        assert_eq!(read(&text).unwrap_err(), "db:18: too many records are generated");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 300, ..Default::default() })]

        /// Whatever a file holds, it is read or refused.
        #[test]
        fn any_text_is_read_or_refused(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "@", "www", "a.b", "*", "\\", "\"", "(", ")", ";", "\n", "\n ", " ", "IN", "A", "SOA", "TXT", "MX", "$TTL",
                    "$ORIGIN", "$INCLUDE", "$GENERATE", "1-3", "$", "${1,2,x}", "60", "1h", "192.0.2.1", "\\#", "\\065", "é",
                    "TYPE65280", "DNAME", "HTTPS", ".", "..", "0",
                ]),
                0..40,
            ),
            glue in proptest::sample::select(vec!["", " "]),
        ) {
            let _ = read(&words.join(glue));
        }
    }
}
