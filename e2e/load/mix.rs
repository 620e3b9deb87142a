//! Mixes of questions.

use std::{fmt, str::FromStr};

use fastrand::Rng;

use super::{
    cluster::{Cluster, ZONE, reverse},
    question::{Kind, Question},
};

/// What is asked, and in which shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Addresses of Services.
    Hit,
    /// The same for IPv6: the names exist, without such addresses.
    Nodata,
    /// External names with a suffix of the search path.
    Nx,
    /// 80 % of `Nx`, else `M1` without those.
    Storm,
    /// Addresses of headless Services.
    Headless,
    /// Ports of Services.
    Srv,
    /// Names of addresses, of Services and of endpoints alike.
    Ptr,
    /// What a cluster asks, but for what is forwarded; the Services by Zipf's law.
    M1,
    /// 60 % of names that exist, for IPv4 and IPv6 in turn, and 40 % of `Nx`.
    Mix,
}

/// Which questions have an OPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edns {
    /// None.
    Without,
    /// Each.
    With,
    /// 40 of 100.
    Some,
}

/// How many questions are drawn where they are not counted.
const DRAWN: usize = 32_768;
/// External names that are looked up.
const EXTERNAL: usize = 200;

impl Mix {
    /// All mixes, in the order in which they are told.
    pub const ALL: [Self; 9] = [
        Self::Mix,
        Self::Hit,
        Self::Nodata,
        Self::Nx,
        Self::Storm,
        Self::Headless,
        Self::Srv,
        Self::Ptr,
        Self::M1,
    ];

    /// The name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Nodata => "nodata",
            Self::Nx => "nx",
            Self::Storm => "storm",
            Self::Headless => "headless",
            Self::Srv => "srv",
            Self::Ptr => "ptr",
            Self::M1 => "M1",
            Self::Mix => "mix",
        }
    }

    /// The questions, in the order in which they are asked over and over. The same for the same cluster.
    pub fn questions(self, cluster: &Cluster, edns: Edns) -> Vec<Question> {
        let mut draw = Draw::new(cluster, edns);
        let each = match self {
            Self::Hit | Self::Nodata => cluster.services,
            _ => DRAWN,
        };
        let mut order: Vec<usize> = (0..each).collect();
        draw.random.shuffle(&mut order);
        order.into_iter().filter_map(|number| draw.of(self, number)).collect()
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|mix| mix.name().eq_ignore_ascii_case(text));
        known
            .ok_or_else(|| format!("no mix of this name; there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl fmt::Display for Edns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Without => "without",
            Self::With => "with",
            Self::Some => "some",
        })
    }
}

impl FromStr for Edns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Without, Self::With, Self::Some].into_iter().find(|edns| edns.to_string() == text);
        known.ok_or_else(|| "`without`, `with` or `some`".to_owned())
    }
}

/// Draws questions, from a seed that is always the same.
struct Draw<'a> {
    cluster: &'a Cluster,
    edns: Edns,
    random: Rng,
    /// The sum of 1/1 to 1/n for each n: what Zipf's law divides by.
    ranks: Vec<f64>,
}

impl<'a> Draw<'a> {
    fn new(cluster: &'a Cluster, edns: Edns) -> Self {
        let mut sum = 0.0;
        let ranks = (1..=cluster.services)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        Self { cluster, edns, random: Rng::with_seed(1053), ranks }
    }

    fn of(&mut self, mix: Mix, number: usize) -> Option<Question> {
        let cluster = self.cluster;
        let (name, kind) = match mix {
            Mix::Hit => (cluster.service(number), Kind::A),
            Mix::Nodata => (cluster.service(number), Kind::Aaaa),
            Mix::Nx => self.missing(),
            Mix::Storm if self.random.u32(..100) < 80 => self.missing(),
            // What is left of a thousand without the missing ones.
            Mix::Storm => self.existing(485),
            Mix::Headless => (cluster.headless_service(self.random.usize(..cluster.headless)), Kind::A),
            Mix::Srv => {
                let service = cluster.service(self.random.usize(..cluster.services));
                (cluster.port_of(&service), Kind::Srv)
            }
            Mix::Ptr => self.pointer(),
            Mix::M1 if self.random.u32(..965) < 480 => self.missing(),
            Mix::M1 => self.existing(485),
            Mix::Mix if self.random.u32(..100) < 40 => self.missing(),
            Mix::Mix => {
                let name = match self.random.u32(..100) {
                    ..85 => cluster.service(self.random.usize(..cluster.services)),
                    85..90 => cluster.headless_service(self.random.usize(..cluster.headless)),
                    _ => self.endpoint(),
                };
                (name, self.address())
            }
        };
        // Resolvers that mix the case of letters are few, and only the mix of a cluster has them.
        let mixes = mix == Mix::M1 && self.random.u32(..100) < 5;
        let name = if mixes { self.mix_case(&name) } else { name };
        let edns = match self.edns {
            Edns::Without => false,
            Edns::With => true,
            Edns::Some => self.random.u32(..100) < 40,
        };
        Question::new(&name, kind, edns)
    }

    /// A or AAAA, as often.
    fn address(&mut self) -> Kind {
        if self.random.bool() { Kind::A } else { Kind::Aaaa }
    }

    /// A question of M1 for a name that exists; of a thousand there are so many.
    fn existing(&mut self, of_thousand: u32) -> (String, Kind) {
        let cluster = self.cluster;
        match self.random.u32(..of_thousand) {
            ..300 => {
                let service = self.by_rank();
                (cluster.service(service), self.address())
            }
            300..400 => (cluster.headless_service(self.random.usize(..cluster.headless)), self.address()),
            400..440 => (self.endpoint(), self.address()),
            440..460 => {
                let service = cluster.service(self.by_rank());
                (cluster.port_of(&service), Kind::Srv)
            }
            460..470 => self.pointer(),
            470..480 => (cluster.pod(self.random.usize(..cluster.pods)), Kind::A),
            _ => (cluster.alias(self.random.usize(..cluster.aliases)), self.address()),
        }
    }

    /// A name that does not exist: an external one, with what a resolver appends before it asks for the name itself.
    fn missing(&mut self) -> (String, Kind) {
        let external = format!("api-{}.example.com", self.random.usize(..EXTERNAL));
        let namespace = self.cluster.namespace(self.random.usize(..self.cluster.namespaces));
        let name = match self.random.u32(..3) {
            0 => format!("{external}.{namespace}.svc.{ZONE}"),
            1 => format!("{external}.svc.{ZONE}"),
            _ => format!("{external}.{ZONE}"),
        };
        (name, self.address())
    }

    fn endpoint(&mut self) -> String {
        let service = self.random.usize(..self.cluster.headless);
        self.cluster.endpoint(service, self.random.usize(..self.cluster.endpoints))
    }

    fn pointer(&mut self) -> (String, Kind) {
        let cluster = self.cluster;
        let address = if self.random.bool() {
            cluster.service_address(self.random.usize(..cluster.services))
        } else {
            let service = self.random.usize(..cluster.headless);
            cluster.endpoint_address(service, self.random.usize(..cluster.endpoints))
        };
        (reverse(address), Kind::Ptr)
    }

    /// A Service: the first twice as often as the second, and so on.
    fn by_rank(&mut self) -> usize {
        let total = self.ranks.last().copied().unwrap_or_default();
        let at = self.random.f64() * total;
        let rank = self.ranks.partition_point(|sum| *sum <= at).min(self.ranks.len().saturating_sub(1));
        // The most asked ones are of all namespaces and made at all times.
        rank.wrapping_mul(7919) % self.cluster.services.max(1)
    }

    fn mix_case(&mut self, name: &str) -> String {
        name.chars().map(|c| if self.random.bool() { c.to_ascii_uppercase() } else { c }).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// The share of questions whose text is so, in percent.
    fn share(questions: &[Question], is: impl Fn(&str) -> bool) -> f64 {
        questions.iter().filter(|question| is(&question.text())).count() as f64 * 100.0
            / questions.len() as f64
    }

    fn about(share: f64, wanted: f64) -> bool {
        (share - wanted).abs() < 1.0
    }

    #[test]
    fn hits_are_all_services_once() {
        let cluster = Cluster::default();
        for (mix, kind) in [(Mix::Hit, " A"), (Mix::Nodata, " AAAA")] {
            let questions = mix.questions(&cluster, Edns::Without);
            let texts: BTreeSet<String> = questions.iter().map(Question::text).collect();
            assert_eq!((questions.len(), texts.len()), (10_000, 10_000));
            assert!(texts.iter().all(|text| text.starts_with("svc-") && text.ends_with(kind)));
        }
    }

    #[test]
    fn questions_are_the_same_each_time() {
        let cluster = Cluster::default();
        for mix in Mix::ALL {
            assert_eq!(mix.questions(&cluster, Edns::Some), mix.questions(&cluster, Edns::Some), "{mix}");
            assert_eq!(mix.name().parse(), Ok(mix));
        }
        assert!("M3".parse::<Mix>().unwrap_err().contains("headless"));
    }

    #[test]
    fn shares_are_as_they_are_told() {
        let cluster = Cluster::default();
        let missing = |text: &str| text.to_ascii_lowercase().contains(".example.com.");
        let names: BTreeSet<String> = cluster
            .records()
            .chain(cluster.reverse_records())
            .map(|record| format!("{}.", record.owner))
            .collect();
        for (mix, wanted) in [
            (Mix::Nx, 100.0),
            (Mix::Storm, 80.0),
            (Mix::M1, 480.0 / 9.65),
            (Mix::Mix, 40.0),
            (Mix::Headless, 0.0),
            (Mix::Srv, 0.0),
            (Mix::Ptr, 0.0),
        ] {
            let questions = mix.questions(&cluster, Edns::Some);
            assert_eq!(questions.len(), DRAWN);
            assert!(about(share(&questions, missing), wanted), "{mix}");
            assert!(about(share(&questions, |text| text.ends_with("with an OPT")), 40.0), "{mix}");
            for text in questions.iter().map(Question::text) {
                let name = text.split(' ').next().unwrap().to_ascii_lowercase();
                assert!(missing(&text) != names.contains(&name), "{mix}: {text}");
            }
        }
    }

    #[test]
    fn the_mix_of_a_cluster() {
        let questions = Mix::M1.questions(&Cluster::default(), Edns::Without);
        let of = |part: &'static str| share(&questions, move |text| text.to_ascii_lowercase().contains(part));
        assert!(about(of(" aaaa"), 47.9));
        assert!(about(of(" srv"), 2.1));
        assert!(about(of(" ptr"), 1.0));
        assert!(about(of(".pod."), 1.0));
        assert!(about(of("alias-"), 0.5));
        let mixed = share(&questions, |text| text.split(' ').next().unwrap().contains(char::is_uppercase));
        assert!(about(mixed, 5.0));
        let mut counts = BTreeMap::<String, usize>::new();
        for text in questions.iter().map(|question| question.text().to_ascii_lowercase()) {
            if text.starts_with("svc-") {
                *counts.entry(text.split('.').next().unwrap().to_owned()).or_default() += 1;
            }
        }
        let mut ranks: Vec<usize> = counts.into_values().collect();
        ranks.sort_unstable_by(|a, b| b.cmp(a));
        // Of 10,000 by Zipf's law the first has a tenth, and twice what the second has.
        let total = ranks.iter().sum::<usize>() as f64;
        assert!((0.08..0.13).contains(&(ranks[0] as f64 / total)), "{ranks:?}");
        assert!((1.6..2.5).contains(&(ranks[0] as f64 / ranks[1] as f64)));
    }
}
