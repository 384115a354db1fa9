//! The two forms in which metrics are told, and which of them somebody who asks would rather have.

use std::cmp::Reverse;

use axum::http::{HeaderMap, header};

/// A form of the same metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposition {
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus.
    Prometheus,
}

/// What may be asked for: a type, a subtype, versions, and what is given. The first of those that are as welcome is given.
const OFFERED: [(&str, &str, &[&str], Exposition); 2] = [
    ("application", "openmetrics-text", &["1.0.0", "0.0.1"], Exposition::OpenMetrics),
    ("text", "plain", &["0.0.4"], Exposition::Prometheus),
];

impl Exposition {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => crate::metrics::CONTENT_TYPE,
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// What `Accept` rates highest. Where it has room for neither, or is not there: OpenMetrics.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let ranges: Vec<Range<'_>> =
            lines.flat_map(|line| line.split(',')).filter_map(Range::read).take(64).collect();
        let quality = |(kind, subtype, versions, _): &(&str, &str, &[&str], Self)| {
            let fitting =
                ranges.iter().filter_map(|range| Some((range.fit(kind, subtype, versions)?, range)));
            // Who names a type means it, whatever is said of all types.
            let closest = fitting.max_by_key(|(fit, range)| (*fit, range.thousandths));
            closest.map_or(0, |(_, range)| range.thousandths)
        };
        let best = OFFERED.iter().enumerate().max_by_key(|(at, offered)| (quality(offered), Reverse(*at)));
        best.map_or(Self::OpenMetrics, |(_, (.., exposition))| *exposition)
    }
}

/// One of what `Accept` lists.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    version: Option<&'a str>,
    thousandths: u16,
}

impl<'a> Range<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut range = Self { kind, subtype, version: None, thousandths: 1000 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("version") => range.version = Some(value),
                name if name.eq_ignore_ascii_case("q") => {
                    let quality = value.parse::<f64>().ok().filter(|quality| quality.is_finite())?;
                    range.thousandths = (quality.clamp(0.0, 1.0) * 1000.0).round() as u16;
                }
                _ => {}
            }
        }
        Some(range)
    }

    /// How closely it names a type; none if it does not.
    fn fit(&self, kind: &str, subtype: &str, versions: &[&str]) -> Option<u8> {
        let is_named = self.kind.eq_ignore_ascii_case(kind);
        match (is_named, self.subtype) {
            (true, named) if named.eq_ignore_ascii_case(subtype) => match self.version {
                Some(version) => versions.contains(&version).then_some(3),
                None => Some(2),
            },
            (true, "*") => Some(1),
            (false, "*") if self.kind == "*" => Some(0),
            _ => None,
        }
    }
}

/// The text format 0.0.4 of what OpenMetrics says: a counter is called what its samples are, there are no units beside
/// names, and nothing says where it ends.
pub(crate) fn prometheus(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described;
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap_or((typed, "unknown"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "stateset" => ("", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, words)) = help.split_once(' ').filter(|(described, _)| *described == name) {
                out += &format!("# HELP {name}{suffix} {words}\n");
            }
            out += &format!("# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            out += line;
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &[&str]) -> Exposition {
        let mut headers = HeaderMap::new();
        for line in accept {
            headers.append(header::ACCEPT, line.parse().unwrap());
        }
        Exposition::accepted(&headers)
    }

    #[test]
    fn what_is_rated_highest_is_given() {
        use Exposition::{OpenMetrics, Prometheus};
        for (accept, wanted) in [
            (&[] as &[&str], OpenMetrics),
            (&["*/*"], OpenMetrics),
            (&["text/plain"], Prometheus),
            (&["TEXT/Plain; charset=utf-8"], Prometheus),
            (&["text/*"], Prometheus),
            (&["application/*"], OpenMetrics),
            (&["text/plain;version=0.0.4"], Prometheus),
            (&["text/plain; version=\"0.0.4\"; q=0.1"], Prometheus),
            // A version that there is not is not what was asked for.
            (&["text/plain;version=1.0.0"], OpenMetrics),
            (&["application/openmetrics-text;q=0.2, text/plain;q=0.3"], Prometheus),
            (&["application/openmetrics-text;q=0.3, text/plain;q=0.2"], OpenMetrics),
            (&["application/openmetrics-text;q=0.3", "text/plain;q=0.4"], Prometheus),
            (&["application/openmetrics-text;q=0, */*"], Prometheus),
            (&["text/plain, */*;q=0.1"], Prometheus),
            (&["text/plain;q=0.5, */*;q=0.9"], OpenMetrics),
            (&["application/openmetrics-text;version=2.0.0, text/plain;q=0.1"], Prometheus),
            // What Prometheus 2 and 3 send.
            (
                &[
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ],
                OpenMetrics,
            ),
            (
                &[
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                ],
                OpenMetrics,
            ),
            (
                &[
                    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.2",
                ],
                Prometheus,
            ),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], OpenMetrics),
            (&["nonsense", ";;;,=,/", "text/plain;q=loud"], OpenMetrics),
            (&["image/png"], OpenMetrics),
        ] {
            assert_eq!(accepted(accept), wanted, "{accept:?}");
        }
    }

    #[test]
    fn the_older_text_calls_a_counter_what_its_samples_are() {
        let text = "# HELP a_bytes What is held.\n# TYPE a_bytes gauge\n# UNIT a_bytes bytes\na_bytes{x=\"# TYPE\\n\"} 1.0\n# HELP b Times.\n# TYPE b counter\nb_total 2.0\n# TYPE c unknown\nc 3\n# EOF\n";
        assert_eq!(
            prometheus(text),
            "# HELP a_bytes What is held.\n# TYPE a_bytes gauge\na_bytes{x=\"# TYPE\\n\"} 1.0\n# HELP b_total Times.\n# TYPE b_total counter\nb_total 2.0\n# TYPE c untyped\nc 3\n"
        );
    }
}
