//! What is told: text for people, a line each for logs, JSON for programs; and the exit code.

use std::{fmt::Write as _, io::IsTerminal as _};

use serde::Serialize;

use super::finding::{Finding, Item, Section, Severity};
use crate::args::{Category, FailOn, ReportForm};

/// The JSON's version: fields are added within one, none changes.
const API_VERSION: &str = "callsign.dev/v1alpha1";

/// All that was concluded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) sections: Vec<Section>,
    /// Whether what the checks need could not be reached at all: the API server, where it is needed.
    pub(super) unreachable: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// Nothing that fails.
    Good,
    /// Findings that fail.
    Findings,
    /// Not to be said: what is needed could not be reached, or a whole category not be looked at.
    Undecided,
    /// Not good in time.
    Timeout,
}

/// How text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// ✓ ! ✗ rather than letters.
    pub(super) unicode: bool,
    pub(super) colour: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    api_version: &'static str,
    kind: &'static str,
    /// Of the program that looked.
    version: &'static str,
    result: Verdict,
    exit_code: u8,
    summary: Summary,
    categories: Vec<JsonCategory<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonCategory<'a> {
    name: &'static str,
    good: Vec<&'a str>,
    findings: Vec<JsonFinding<'a>>,
    not_checked: Vec<JsonNotChecked<'a>>,
}

#[derive(Serialize)]
struct JsonFinding<'a> {
    code: &'static str,
    severity: Severity,
    title: &'static str,
    message: &'a str,
    cure: &'a str,
    docs: String,
}

#[derive(Serialize)]
struct JsonNotChecked<'a> {
    what: &'a str,
    why: &'a str,
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    good: usize,
    errors: usize,
    warnings: usize,
    not_checked: usize,
}

impl Verdict {
    /// The process's exit code.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Findings => 1,
            Self::Undecided => 3,
            Self::Timeout => 4,
        }
    }
}

impl Style {
    /// That of this terminal: symbols where the locale is UTF-8, colour where somebody looks.
    pub(super) fn here() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        Self::of(&locale, set("NO_COLOR").is_none() && !dumb && std::io::stdout().is_terminal())
    }

    fn of(locale: &str, colour: bool) -> Self {
        let locale = locale.to_lowercase();
        Self { unicode: locale.contains("utf-8") || locale.contains("utf8"), colour }
    }

    fn mark(self, item: &Item) -> String {
        let (plain, symbol, colour) = match item {
            Item::Good(_) => ("ok  ", "✓", "32"),
            Item::Finding(Finding { code, .. }) if code.severity == Severity::Error => ("FAIL", "✗", "31"),
            Item::Finding(_) => ("warn", "!", "33"),
            Item::NotChecked { .. } => ("    ", "-", "2"),
        };
        let mark = if self.unicode { symbol } else { plain };
        if self.colour { format!("\u{1b}[{colour}m{mark}\u{1b}[0m") } else { mark.to_owned() }
    }
}

impl Report {
    fn items(&self) -> impl Iterator<Item = &Item> {
        self.sections.iter().flat_map(|section| &section.items)
    }

    /// How it ended. What was found counts before what could not be looked at, unless nothing could be.
    pub(super) fn verdict(&self, fail_on: FailOn) -> Verdict {
        if self.unreachable {
            return Verdict::Undecided;
        }
        let fails =
            |finding: &Finding| fail_on == FailOn::Warning || finding.code.severity == Severity::Error;
        if self.items().filter_map(Item::finding).any(fails) {
            return Verdict::Findings;
        }
        let blind = |section: &Section| {
            section.decides
                && !section.items.is_empty()
                && section.items.iter().all(|item| matches!(item, Item::NotChecked { .. }))
        };
        if self.sections.iter().any(blind) { Verdict::Undecided } else { Verdict::Good }
    }

    /// The codes of what fails and what could not be looked at, for a line of progress.
    pub(super) fn gist(&self, fail_on: FailOn) -> String {
        let mut words = Vec::new();
        for item in self.items() {
            if let Item::Finding(finding) = item
                && (fail_on == FailOn::Warning || finding.code.severity == Severity::Error)
            {
                words.push(format!("{} {}", finding.code.id, finding.message));
            }
        }
        match words.len() {
            0 => "not everything could be looked at".to_owned(),
            1..=2 => words.join("; "),
            more => {
                words.truncate(1);
                format!("{}; and {} more", words.concat(), more - 1)
            }
        }
    }

    /// The report in a form.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub(super) fn render(
        &self,
        form: ReportForm,
        verdict: Verdict,
        style: Style,
    ) -> Result<String, serde_json::Error> {
        match form {
            ReportForm::Text => Ok(self.text(style)),
            ReportForm::Short => Ok(self.short()),
            ReportForm::Json => serde_json::to_string_pretty(&self.json(verdict)),
        }
    }

    fn text(&self, style: Style) -> String {
        let indent = if style.unicode { "    " } else { "       " };
        let mut text = String::new();
        for section in &self.sections {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}", section.category.name());
            for item in &section.items {
                let mark = style.mark(item);
                let _ = match item {
                    Item::Good(message) => writeln!(text, "  {mark} {}", plain(message)),
                    Item::Finding(Finding { code, message, cure }) => writeln!(
                        text,
                        "  {mark} {} {}\n{indent}{}\n{indent}{}",
                        code.id,
                        plain(message),
                        plain(cure),
                        code.docs()
                    ),
                    Item::NotChecked { what, why } => {
                        writeln!(text, "  {mark} {} not checked: {}", plain(what), plain(why))
                    }
                };
            }
            text.push('\n');
        }
        let Summary { good, errors, warnings, not_checked } = self.summary();
        let _ = write!(
            text,
            "{good} good, {}, {}, {not_checked} not checked",
            counted(errors, "error"),
            counted(warnings, "warning")
        );
        text
    }

    fn short(&self) -> String {
        let mut lines = Vec::new();
        for section in &self.sections {
            let name = section.category.name();
            for item in &section.items {
                match item {
                    Item::Good(_) => {}
                    Item::Finding(Finding { code, message, cure }) => {
                        let severity = if code.severity == Severity::Error { "error" } else { "warning" };
                        lines.push(format!(
                            "{severity} {name} {} {}: {}",
                            code.id,
                            plain(message),
                            plain(cure)
                        ));
                    }
                    Item::NotChecked { what, why } => {
                        lines.push(format!("unknown {name} {} not checked: {}", plain(what), plain(why)));
                    }
                }
            }
        }
        lines.join("\n")
    }

    fn json(&self, verdict: Verdict) -> Json<'_> {
        Json {
            api_version: API_VERSION,
            kind: "CheckReport",
            version: env!("CARGO_PKG_VERSION"),
            result: verdict,
            exit_code: verdict.code(),
            summary: self.summary(),
            categories: self.sections.iter().map(JsonCategory::of).collect(),
        }
    }

    fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for item in self.items() {
            match item {
                Item::Good(_) => summary.good += 1,
                Item::Finding(finding) if finding.code.severity == Severity::Error => summary.errors += 1,
                Item::Finding(_) => summary.warnings += 1,
                Item::NotChecked { .. } => summary.not_checked += 1,
            }
        }
        summary
    }
}

impl<'a> JsonCategory<'a> {
    fn of(section: &'a Section) -> Self {
        let mut category = Self {
            name: Category::name(section.category),
            good: Vec::new(),
            findings: Vec::new(),
            not_checked: Vec::new(),
        };
        for item in &section.items {
            match item {
                Item::Good(message) => category.good.push(message),
                Item::Finding(Finding { code, message, cure }) => category.findings.push(JsonFinding {
                    code: code.id,
                    severity: code.severity,
                    title: code.title,
                    message,
                    cure,
                    docs: code.docs(),
                }),
                Item::NotChecked { what, why } => category.not_checked.push(JsonNotChecked { what, why }),
            }
        }
        category
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A text of the cluster's on one line, without what a terminal would take for more than text.
fn plain(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::codes, *};

    fn report(items: Vec<Item>) -> Report {
        let other = Section { category: Category::Api, items: vec![Item::good("answers")], decides: true };
        Report {
            sections: vec![other, Section { category: Category::Service, items, decides: true }],
            unreachable: false,
        }
    }

    fn some() -> Report {
        report(vec![
            Item::good("fine"),
            codes::SERVICE_EMPTY.is("no \u{1b}[31mendpoint\nat all", "start pods"),
            codes::SERVICE_MIXED.is("mixed", "wait"),
            Item::not_checked("pods", "may not list pods"),
        ])
    }

    #[test]
    fn text_has_symbols_and_letters_and_colours() {
        let text = some().text(Style { unicode: true, colour: false });
        let wanted = "\
api
  ✓ answers

service
  ✓ fine
  ✗ CHK404 no  [31mendpoint at all
    start pods
    https://github.com/callsign-dns/callsign/blob/main/docs/check.md#chk404
  ! CHK405 mixed
    wait
    https://github.com/callsign-dns/callsign/blob/main/docs/check.md#chk405
  - pods not checked: may not list pods

2 good, 1 error, 1 warning, 1 not checked";
        assert_eq!(text, wanted);
        let ascii = some().text(Style { unicode: false, colour: false });
        assert!(
            ascii.is_ascii() && ascii.contains("  FAIL CHK404 no") && ascii.contains("  ok   answers"),
            "{ascii}"
        );
        let colours = some().text(Style { unicode: true, colour: true });
        assert!(colours.contains("\u{1b}[31m✗\u{1b}[0m CHK404"), "{colours}");
        assert_eq!(Style::of("en_GB.UTF-8", false), Style { unicode: true, colour: false });
        assert_eq!(Style::of("C", true), Style { unicode: false, colour: true });
    }

    #[test]
    fn short_has_only_what_is_wrong() {
        assert_eq!(
            some().short(),
            "error service CHK404 no  [31mendpoint at all: start pods\n\
             warning service CHK405 mixed: wait\n\
             unknown service pods not checked: may not list pods"
        );
        assert_eq!(report(vec![Item::good("fine")]).short(), "");
    }

    #[test]
    fn json_is_of_a_version() {
        let json = serde_json::to_value(some().json(Verdict::Findings)).unwrap();
        assert_eq!(json["apiVersion"], "callsign.dev/v1alpha1");
        assert_eq!((&json["kind"], &json["exitCode"]), (&"CheckReport".into(), &1.into()));
        assert_eq!(
            json["summary"],
            serde_json::json!({"good": 2, "errors": 1, "warnings": 1, "notChecked": 1})
        );
        let category = &json["categories"][1];
        assert_eq!(category["name"], "service");
        assert_eq!(category["findings"][0]["code"], "CHK404");
        assert_eq!(category["findings"][0]["severity"], "error");
        assert_eq!(
            category["notChecked"][0],
            serde_json::json!({"what": "pods", "why": "may not list pods"})
        );
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst() {
        let verdict = |items, fail_on| report(items).verdict(fail_on);
        let warning = || vec![codes::SERVICE_MIXED.is("a", "b")];
        let blind = || vec![Item::not_checked("a", "b")];
        assert_eq!(verdict(vec![Item::good("a")], FailOn::Warning), Verdict::Good);
        assert_eq!(verdict(warning(), FailOn::Error), Verdict::Good);
        assert_eq!(verdict(warning(), FailOn::Warning), Verdict::Findings);
        assert_eq!(some().verdict(FailOn::Error), Verdict::Findings);
        assert_eq!(verdict(blind(), FailOn::Error), Verdict::Undecided);
        let partly = [blind(), vec![Item::good("a")]].concat();
        assert_eq!(verdict(partly, FailOn::Error), Verdict::Good);
        assert_eq!(Report { unreachable: true, ..some() }.verdict(FailOn::Error), Verdict::Undecided);
        let codes =
            [Verdict::Good, Verdict::Findings, Verdict::Undecided, Verdict::Timeout].map(Verdict::code);
        assert_eq!(codes, [0, 1, 3, 4]);
        assert_eq!(report(warning()).gist(FailOn::Warning), "CHK405 a");
    }
}
