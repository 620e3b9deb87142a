//! What is said of a round: for people, and as JSON.

use std::fmt;

use serde::Serialize;

use super::{
    ask::Silence,
    compare::Difference,
    questions::Question,
    round::{Class, Finding, Right, Tally, WantedTally},
    seen::{Line, Section, Seen},
};

/// The version of the JSON form: fields may be added to it, none changes.
const VERSION: &str = "callsign.dev/v1alpha1";
const KIND: &str = "DiffReport";

/// Records of one section that are shown.
const SHOWN_RECORDS: usize = 20;

/// Everything there is to say.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    api_version: &'static str,
    kind: &'static str,
    /// Address of the one that is to take over.
    server: String,
    /// Address of the other one.
    against: String,
    /// The cluster's zones, and who says so.
    zones: Vec<String>,
    zones_from: String,
    /// What there is: Services, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<usize>,
    seconds: f64,
    interrupted: bool,
    asked: u64,
    equal: u64,
    settled: u64,
    varying: u64,
    wanted: std::collections::BTreeMap<&'static str, WantedTally>,
    different: u64,
    unreachable: u64,
    changing: u64,
    ttl: u64,
    /// Wanted differences and TTLs count too.
    strict: bool,
    /// Whether there is nothing that counts.
    good: bool,
    /// The first of them.
    findings: Vec<Shown>,
}

/// What the round was about.
pub(crate) struct About {
    /// Address of the one that is to take over.
    pub(crate) server: String,
    /// Address of the other one.
    pub(crate) against: String,
    /// The cluster's zones.
    pub(crate) zones: Vec<String>,
    /// Who says so.
    pub(crate) zones_from: String,
    /// How many Services there are, where the cluster is looked at.
    pub(crate) services: Option<usize>,
    /// Whether wanted differences and TTLs count.
    pub(crate) strict: bool,
    /// How many findings to show.
    pub(crate) show: usize,
}

/// A finding as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    class: Class,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    differences: Vec<Difference>,
    server: Answer,
    against: Answer,
    #[serde(skip_serializing_if = "Option::is_none")]
    right: Option<Right>,
}

/// An answer as it is shown.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    /// What was said.
    Said {
        /// The response code.
        rcode: String,
        /// The flags that are set.
        flags: String,
        /// The records of each section.
        answer: Vec<Shownline>,
        authority: Vec<Shownline>,
        additional: Vec<Shownline>,
    },
    /// Why nothing was.
    Silent {
        /// The reason.
        error: String,
    },
}

/// A record.
#[derive(Debug, Serialize)]
struct Shownline {
    #[serde(flatten)]
    line: Line,
    ttl: u32,
}

impl Report {
    /// What there is to say of a round.
    pub(crate) fn new(about: &About, tally: &Tally) -> Self {
        let counts = |class| tally.of(class);
        let (different, unreachable, changing, ttl) = (
            counts(Class::Different),
            counts(Class::Unreachable),
            counts(Class::Changing),
            counts(Class::Ttl),
        );
        let also = if about.strict { tally.all_wanted() + ttl } else { 0 };
        Self {
            api_version: VERSION,
            kind: KIND,
            server: about.server.clone(),
            against: about.against.clone(),
            zones: about.zones.clone(),
            zones_from: about.zones_from.clone(),
            services: about.services,
            seconds: (tally.took.as_secs_f64() * 1000.0).round() / 1000.0,
            interrupted: tally.interrupted,
            asked: tally.asked,
            equal: tally.equal,
            settled: tally.settled,
            varying: tally.varying,
            wanted: tally.wanted.clone(),
            different,
            unreachable,
            changing,
            ttl,
            strict: about.strict,
            good: different + unreachable + changing + also == 0,
            findings: tally.findings.iter().take(about.show).map(Shown::new).collect(),
        }
    }

    /// Whether there is nothing that counts.
    pub(crate) fn is_good(&self) -> bool {
        self.good
    }

    /// The findings, by number.
    pub(crate) fn summary(&self) -> String {
        let wanted: u64 = self.wanted.values().map(|wanted| wanted.count).sum();
        let counts = [
            (self.different, "different"),
            (self.unreachable, "without an answer"),
            (self.changing, "changing at every look"),
            (self.ttl, "different in TTL only"),
            (wanted, "different on purpose"),
            (self.varying, "answered by others, who vary"),
            (self.equal, "equal"),
        ];
        let counts = counts.into_iter().filter(|(count, what)| *count > 0 || *what == "different");
        let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
        let cut = if self.interrupted { " (interrupted)" } else { "" };
        format!("{} asked in {:.1} s{cut}: {}", self.asked, self.seconds, counts.join(", "))
    }
}

impl Shown {
    fn new(finding: &Finding) -> Self {
        let Finding { question: Question { name, kind }, .. } = finding;
        Self {
            class: finding.class,
            name: name.to_string(),
            kind: kind.to_string(),
            differences: finding.differences.clone(),
            server: Answer::new(&finding.server),
            against: Answer::new(&finding.against),
            right: finding.right,
        }
    }

    fn headline(&self) -> &'static str {
        match self.class {
            Class::Different => "different",
            Class::Unreachable => "no answer",
            Class::Changing => "changing",
            Class::Ttl => "TTL",
        }
    }

    /// Whether only this side has a record.
    fn is_alone(&self, line: &Line, of_server: bool) -> bool {
        self.differences.iter().any(|difference| match difference {
            Difference::Records { only_server, only_against, .. } => {
                let only = if of_server { only_server } else { only_against };
                only.contains(line)
            }
            _ => false,
        })
    }

    fn write_answer(
        &self,
        f: &mut fmt::Formatter<'_>,
        side: &str,
        answer: &Answer,
        of_server: bool,
    ) -> fmt::Result {
        let (rcode, flags, sections) = match answer {
            Answer::Silent { error } => return writeln!(f, "  {side:7}  {error}"),
            Answer::Said { rcode, flags, answer, authority, additional } => {
                (rcode, flags, [("", answer), ("authority: ", authority), ("additional: ", additional)])
            }
        };
        writeln!(f, "  {}", format!("{side:7}  {rcode} {flags}").trim_end())?;
        for (section, lines) in sections {
            for Shownline { line, ttl } in lines.iter().take(SHOWN_RECORDS) {
                let mark = if self.is_alone(line, of_server) { "only" } else { "" };
                writeln!(f, "    {mark:5}  {section}{} {ttl} {} {}", line.owner, line.kind, line.data)?;
            }
            if let Some(more @ 1..) = lines.len().checked_sub(SHOWN_RECORDS) {
                writeln!(f, "           {section}and {more} more")?;
            }
        }
        Ok(())
    }
}

impl Answer {
    fn new(seen: &Result<Seen, Silence>) -> Self {
        let lines = |section: &Section| {
            section.iter().map(|(line, ttl)| Shownline { line: line.clone(), ttl: *ttl }).collect()
        };
        match seen {
            Ok(seen) => Self::Said {
                rcode: seen.rcode.clone(),
                flags: seen.flags(),
                answer: lines(&seen.answer),
                authority: lines(&seen.authority),
                additional: lines(&seen.additional),
            },
            Err(silence) => Self::Silent { error: silence.to_string() },
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "server   {}", self.server)?;
        writeln!(f, "against  {}", self.against)?;
        let services = self.services.map(|count| format!("; {count} Services")).unwrap_or_default();
        writeln!(f, "zones    {} (from {}){services}\n", self.zones.join(" "), self.zones_from)?;
        for finding in &self.findings {
            write!(f, "{finding}")?;
            writeln!(f)?;
        }
        let found = self.different + self.unreachable + self.changing + self.ttl;
        if let Some(more @ 1..) = found.checked_sub(self.findings.len() as u64) {
            writeln!(f, "… and {more} more (--show)\n")?;
        }
        writeln!(f, "{}", self.summary())?;
        if self.settled > 0 {
            writeln!(f, "{} of these only at a second look", self.settled)?;
        }
        if !self.wanted.is_empty() {
            writeln!(f, "\ndifferent on purpose (docs/deviations.md):")?;
            for (code, WantedTally { count, what, reference, example }) in &self.wanted {
                writeln!(f, "  {count:>6}  {code}: {what} ({reference}); such as {example}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} {}", self.headline(), self.name, self.kind)?;
        for difference in &self.differences {
            writeln!(f, "  {difference}")?;
        }
        if self.class == Class::Ttl {
            return Ok(());
        }
        self.write_answer(f, "here", &self.server, true)?;
        self.write_answer(f, "there", &self.against, false)?;
        match self.right {
            Some(Right::Server) => writeln!(f, "  The cluster's objects say what is said here."),
            Some(Right::Against) => writeln!(f, "  The cluster's objects say what is said there."),
            Some(Right::Neither) => writeln!(f, "  The cluster's objects say neither."),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hickory_proto::rr::RecordType;

    use super::{
        super::{compare::compare, seen::tests::seen},
        *,
    };

    fn report(strict: bool, show: usize) -> Report {
        let (ours, theirs) = (
            seen("NOERROR", &["a.x. 30 A 10.0.0.1", "a.x. 30 A 10.0.0.2"]),
            seen("NOERROR", &["a.x. 30 A 10.0.0.1"]),
        );
        let question = |name: &str| Question { name: name.parse().unwrap(), kind: RecordType::A };
        let different = Finding {
            question: question("a.x."),
            class: Class::Different,
            differences: compare(&ours, &theirs),
            server: Ok(ours.clone()),
            against: Ok(theirs),
            right: Some(Right::Server),
        };
        let silent = Finding {
            question: question("b.x."),
            class: Class::Unreachable,
            differences: Vec::new(),
            server: Ok(ours),
            against: Err(Silence::Timeout),
            right: None,
        };
        let wanted =
            WantedTally { count: 3, what: "is so", reference: "RFC 1", example: "c.x. TXT".to_owned() };
        let tally = Tally {
            asked: 10,
            equal: 5,
            wanted: [("nodata", wanted)].into(),
            findings: vec![different, silent],
            took: Duration::from_millis(1500),
            ..Tally::default()
        };
        let about = About {
            server: "10.0.0.1:53 (Service kube-system/callsign)".to_owned(),
            against: "10.0.0.2:53".to_owned(),
            zones: vec!["x.".to_owned()],
            zones_from: "--zone".to_owned(),
            services: Some(2),
            strict,
            show,
        };
        Report::new(&about, &tally)
    }

    #[test]
    fn for_people() {
        let want = "\
server   10.0.0.1:53 (Service kube-system/callsign)
against  10.0.0.2:53
zones    x. (from --zone); 2 Services

different: a.x. A
  answer: 1 record only here
  here     NOERROR AA
           a.x. 30 A 10.0.0.1
    only   a.x. 30 A 10.0.0.2
  there    NOERROR AA
           a.x. 30 A 10.0.0.1
  The cluster's objects say what is said here.

… and 1 more (--show)

10 asked in 1.5 s: 1 different, 1 without an answer, 3 different on purpose, 5 equal

different on purpose (docs/deviations.md):
       3  nodata: is so (RFC 1); such as c.x. TXT
";
        assert_eq!(report(false, 1).to_string(), want);
        assert!(report(false, 2).to_string().contains("no answer: b.x. A\n  here     NOERROR AA\n"));
    }

    #[test]
    fn for_programs() {
        let json = serde_json::to_value(report(false, 20)).unwrap();
        assert_eq!(
            (&json["apiVersion"], &json["kind"]),
            (&"callsign.dev/v1alpha1".into(), &"DiffReport".into())
        );
        assert_eq!((&json["asked"], &json["good"]), (&10.into(), &false.into()));
        assert_eq!(json["wanted"]["nodata"]["count"], 3);
        let finding = &json["findings"][0];
        assert_eq!((&finding["class"], &finding["right"]), (&"different".into(), &"server".into()));
        assert_eq!(finding["differences"][0]["what"], "records");
        assert_eq!(finding["server"]["answer"][1]["data"], "10.0.0.2");
        assert_eq!(json["findings"][1]["against"]["error"], "no answer in time");
    }

    #[test]
    fn what_counts() {
        let counts = |strict, wanted: bool| {
            let mut tally = Tally { asked: 1, ..Tally::default() };
            if wanted {
                let one = WantedTally { count: 1, what: "", reference: "", example: String::new() };
                tally.wanted = [("nodata", one)].into();
            }
            let about = About {
                server: String::new(),
                against: String::new(),
                zones: Vec::new(),
                zones_from: String::new(),
                services: None,
                strict,
                show: 1,
            };
            Report::new(&about, &tally).is_good()
        };
        assert!(counts(false, true) && counts(true, false));
        assert!(!counts(true, true));
        assert!(!report(false, 0).is_good());
    }
}
