//! A report as a page: one file, no script, nothing fetched.
//!
//! The page forbids itself all else by its own content security policy, so that a caption which slipped past [`escape`] could not
//! run. Charts are SVG (`svg.rs`, `charts.rs`) drawn from ranks that are counted first: the size of a page does not grow with the
//! number of queries. What must stay true: every word that comes from data goes through [`escape`]; every chart has its figures
//! as text beside it; colour never says anything alone.

mod charts;
mod gallery;
mod svg;
mod tables;

use crate::anchors;
use crate::report::RetrievalReport;
use crate::{sections, words};

use tables::{Drawn, table};

const STYLE: &str = include_str!("style.css");

/// Colours of `style.css`, `k0` to `k6`; further runs have the same ones dashed.
const COLOURS: usize = 7;

impl RetrievalReport {
    /// The whole report as a self-contained page. `thumbnail` gives a small JPEG of an image by its name in
    /// [`Failure`](crate::Failure), at best no more than 224 pixels wide; `None` shows the name in its place. It is asked
    /// once for each image, from several threads.
    pub fn to_html(&self, thumbnail: &(dyn Fn(&str) -> Option<Vec<u8>> + Sync)) -> String {
        let keys = Keys(self.runs.iter().map(|run| run.label.clone()).collect());
        let title = format!("Retrieval on {}", self.dataset.name);
        let sections = [
            ("results", "Results", results(self, &keys)),
            ("recall", "Recall at every K", charts::recall(self, &keys)),
            ("ranks", "Where the answers stand", charts::ranks(self, &keys)),
            ("differences", "Differences", differences(self, &keys)),
            ("published", "Published figures", published(self, &keys)),
            ("time", "Time", time(self, &keys)),
            ("failures", "Worst failures", gallery::gallery(self, &keys, thumbnail)),
            ("provenance", "Provenance", provenance(self, &keys)),
        ];
        let shown = || sections.iter().filter(|(.., body)| !body.is_empty());
        let links: String = shown().map(|(id, name, _)| format!("<a href=\"#{id}\">{name}</a>\n")).collect();
        let bodies: String = shown()
            .map(|(id, name, body)| {
                format!("<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{name}</h2>\n{body}</section>\n")
            })
            .collect();
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
             <p class=\"soft\">{dataset}</p>\n<p class=\"soft\">{made_by}</p>\n<nav aria-label=\"Sections\">\n{links}</nav>\n\
             {bodies}</main>\n</body>\n</html>\n",
            title = escape(&title),
            dataset = escape(&words::dataset(self)),
            made_by = escape(&words::made_by(self)),
        )
    }
}

/// Text, or the value of an attribute in double quotes. Characters that HTML does not allow are replaced.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The letter and the colour by which each run is known all over the page.
pub(super) struct Keys(Vec<String>);

impl Keys {
    /// `A`, `B`, …, `Z`, `27`, …
    fn letter(place: usize) -> String {
        let letter =
            u8::try_from(place).ok().filter(|place| *place < 26).map(|place| char::from(b'A' + place));
        letter.map_or_else(|| (place + 1).to_string(), String::from)
    }

    /// Classes of `style.css`.
    fn class(place: usize) -> String {
        let colour = format!("k{}", place % COLOURS);
        match place / COLOURS {
            0 => colour,
            round => format!("{colour} dash{}", (round - 1) % 2 + 1),
        }
    }

    /// The run's name with its key before it.
    fn name(&self, label: &str) -> String {
        let key = self.0.iter().position(|known| known == label).map_or_else(String::new, |place| {
            format!("<b class=\"key {}\">{}</b>", Self::class(place), Self::letter(place))
        });
        key + &escape(label)
    }

    fn legend(&self) -> String {
        let items: String = self.0.iter().map(|label| format!("<li>{}</li>", self.name(label))).collect();
        format!("<ul class=\"legend\">{items}</ul>\n")
    }
}

fn results(report: &RetrievalReport, keys: &Keys) -> String {
    let queries = "Percent of queries with a positive among the first K; ± is half of a 95 % bootstrap interval over queries";
    table(&sections::summary(report), queries, keys, None)
        + &table(&sections::further(report), "Further figures", keys, None)
}

fn differences(report: &RetrievalReport, keys: &Keys) -> String {
    if report.comparisons.is_empty() {
        return String::new();
    }
    let (heading, cells) = charts::forest(&report.comparisons);
    let says = "Of the same queries, run minus the one it is held against: with the 95 % interval of a paired bootstrap, and p of a \
                paired permutation test; of ranks, less is better";
    table(&sections::comparisons(&report.comparisons), says, keys, Some(Drawn { before: 4, heading, cells }))
}

fn published(report: &RetrievalReport, keys: &Keys) -> String {
    let Some(published) = anchors::beside(report) else { return String::new() };
    let mut near = anchors::table(&published.near);
    near.columns[0].kind = crate::table::Kind::Run;
    for run in report.runs.iter().rev() {
        near.rows.insert(
            0,
            anchors::measured(
                run,
                published.same_data && !anchors::has_further_images(run, report.dataset.images),
            ),
        );
    }
    let remark = escape(published.remark);
    let all: Vec<_> = published.near.iter().chain(&published.others).copied().collect();
    let sources: String = anchors::sources()
        .iter()
        .filter(|(key, _)| all.iter().any(|anchor| anchor.source == **key))
        .map(|(key, says)| format!("<dt>{}</dt><dd>{}</dd>", escape(key), escape(says)))
        .collect();
    let mut html = format!("<p>{remark}</p>\n");
    html += &table(&near, "Measured here first, then the nearest published ones", keys, None);
    html += &format!(
        "<details><summary>{} more published rows</summary>\n{}</details>\n<dl>{sources}</dl>\n",
        published.others.len(),
        table(&anchors::table(&published.others), "Published, not measured here", keys, None)
    );
    html
}

fn time(report: &RetrievalReport, keys: &Keys) -> String {
    let stages = sections::stages(report);
    if stages.rows.is_empty() {
        return String::new();
    }
    let drawn = Drawn { before: 2, heading: "ms each".into(), cells: charts::stage_bars(report) };
    table(&stages, "Wall time of each stage; the bars are milliseconds an item", keys, Some(drawn))
}

fn provenance(report: &RetrievalReport, keys: &Keys) -> String {
    let made = &report.provenance;
    let mut rows = vec![
        ("protocol", report.protocol.clone()),
        ("made by", format!("pictor {}", made.pictor)),
        ("date", made.date.clone()),
        ("machine", made.machine.clone()),
        ("time in all", format!("{} s", words::digits(made.seconds))),
    ];
    rows.extend(report.dataset.sources.iter().map(|(role, source)| (role.as_str(), source.clone())));
    rows.push(("data hash (BLAKE3)", report.dataset.hash.clone()));
    let list: String = rows
        .iter()
        .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value)))
        .collect();
    format!(
        "<dl>\n{list}</dl>\n<h3>Command</h3>\n<pre><code>{}</code></pre>\n<h3>Runs</h3>\n{}",
        escape(&words::command(&made.command)),
        table(&sections::runs(report), "What each run is", keys, None)
    )
}
