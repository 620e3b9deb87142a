//! The two forms in which metrics are read: OpenMetrics for those who ask for it, as Prometheus does, and the text form 0.0.4
//! for everybody else: curl, promtool, older agents.
//!
//! They differ in their announcements. OpenMetrics announces a counter without `_total` and a metric whose type is not known as
//! `unknown`, and ends with a line of its own; the older form announces each sample's own name, and says `untyped`.

use axum::http::{HeaderMap, header::ACCEPT};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    OpenMetrics,
    Text,
}

impl Form {
    /// The one that is asked for.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
        if accepted.any(|accept| accept.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// Its media type.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => OPEN_METRICS,
            Self::Text => TEXT,
        }
    }

    /// A page of OpenMetrics in this form.
    pub(super) fn of(self, page: String) -> String {
        match self {
            Self::OpenMetrics => page,
            Self::Text => text(&page),
        }
    }
}

fn text(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    // The help of a family comes before its type, which says what the family is called.
    let mut help = None::<(&str, &str)>;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let kind = if kind == "unknown" { "untyped" } else { kind };
            if let Some((_, words)) = help.take().filter(|(of, _)| *of == name) {
                text.extend(["# HELP ", name, suffix, " ", words, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_form_announces_what_it_shows() {
        let page = "# HELP a Things.\n# TYPE a counter\na_total{x=\"1 # \"} 2\n# HELP b_seconds Time.\n\
                    # TYPE b_seconds histogram\n# UNIT b_seconds seconds\nb_seconds_sum 0.5\n# HELP c C.\n\
                    # TYPE c unknown\nc 1\n# EOF\n";
        let wanted = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1 # \"} 2\n\
                      # HELP b_seconds Time.\n# TYPE b_seconds histogram\nb_seconds_sum 0.5\n# HELP c C.\n\
                      # TYPE c untyped\nc 1\n";
        assert_eq!(Form::Text.of(page.to_owned()), wanted);
        assert_eq!(Form::OpenMetrics.of(page.to_owned()), page);
    }

    #[test]
    fn who_asks_for_openmetrics_gets_it() {
        let wanted = |accept: &[&str]| {
            let mut headers = HeaderMap::new();
            for accept in accept {
                headers.append(ACCEPT, accept.parse().unwrap());
            }
            Form::wanted(&headers)
        };
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(wanted(&[prometheus]), Form::OpenMetrics);
        assert_eq!(wanted(&["text/html", prometheus]), Form::OpenMetrics);
        for accept in [&[][..], &["*/*"], &["text/plain;version=0.0.4"]] {
            assert_eq!(wanted(accept), Form::Text);
        }
    }
}
