//! The worst failures, to look at: what was asked, what should have come, what came.

use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rayon::prelude::*;

use super::{Keys, escape};
use crate::report::{Failure, RetrievalReport};
use crate::words;

/// Sides of the box that a thumbnail is fitted into, as `style.css` has them.
const BOX: (u32, u32) = (224, 168);

/// A part for each run that has failures, the first one open. An image that several failures show is in the page once.
pub(super) fn gallery(
    report: &RetrievalReport,
    keys: &Keys,
    thumbnail: &(dyn Fn(&str) -> Option<Vec<u8>> + Sync),
) -> String {
    let failures = report.runs.iter().flat_map(|run| &run.failures);
    let names: BTreeSet<&str> = failures.flat_map(images).collect();
    if report.runs.iter().all(|run| run.failures.is_empty()) {
        return String::new();
    }
    let names: Vec<&str> = names.into_iter().collect();
    let jpegs: Vec<Option<Vec<u8>>> = names.par_iter().map(|name| thumbnail(name)).collect();
    let (width, height) = BOX;
    let mut html = String::from("<svg class=\"defs\" aria-hidden=\"true\"><defs>\n");
    let mut thumbnails = Thumbnails(HashMap::new());
    for (id, (name, jpeg)) in names.into_iter().zip(jpegs).enumerate() {
        let Some(jpeg) = jpeg else { continue };
        html += &format!(
            "<symbol id=\"t{id}\" viewBox=\"0 0 {width} {height}\"><image width=\"{width}\" height=\"{height}\" \
             href=\"data:image/jpeg;base64,{}\"/></symbol>\n",
            BASE64.encode(jpeg)
        );
        thumbnails.0.insert(name, id);
    }
    html += "</defs></svg>\n<p class=\"soft\">Queries whose best positive stands lowest, worst first.</p>\n";
    let runs = report.runs.iter().filter(|run| !run.failures.is_empty());
    for (place, run) in runs.enumerate() {
        html += &format!(
            "<details{}><summary>{}, {} queries</summary>\n<div class=\"failures\">\n",
            if place == 0 { " open" } else { "" },
            keys.name(&run.label),
            run.failures.len()
        );
        html.extend(run.failures.iter().map(|failure| card(failure, &thumbnails)));
        html += "</div>\n</details>\n";
    }
    html
}

/// Whether the query is an image, and the answers are captions.
fn asks_by_image(failure: &Failure) -> bool {
    failure.direction == "image_to_text"
}

/// Names of all images that a failure shows.
fn images(failure: &Failure) -> Vec<&str> {
    match asks_by_image(failure) {
        true => vec![&failure.query],
        false => failure
            .expected
            .iter()
            .chain(failure.received.iter().map(|(name, _)| name))
            .map(String::as_str)
            .collect(),
    }
}

/// Where each image's thumbnail is in the page.
struct Thumbnails<'a>(HashMap<&'a str, usize>);

impl Thumbnails<'_> {
    fn show(&self, name: &str) -> String {
        let (width, height) = BOX;
        let escaped = escape(name);
        match self.0.get(name) {
            Some(id) => format!(
                "<svg class=\"thumb\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{escaped}\"><title>{escaped}</title>\
                 <use href=\"#t{id}\"/></svg>"
            ),
            None => format!("<div class=\"thumb gone\">{escaped}<br>cannot be shown</div>"),
        }
    }
}

fn card(failure: &Failure, thumbnails: &Thumbnails<'_>) -> String {
    let rank =
        failure.rank.map_or_else(|| "not found".into(), |rank| format!("in place {}", words::count(rank)));
    let direction = escape(words::direction(&failure.direction));
    let (query, expected, received);
    if asks_by_image(failure) {
        query = format!(
            "<div class=\"query\">{}</div><h4>{}</h4>",
            thumbnails.show(&failure.query),
            escape(file_name(&failure.query))
        );
        let texts: String =
            failure.expected.iter().map(|text| format!("<li>{}</li>", escape(text))).collect();
        expected = format!("<ul class=\"texts\">{texts}</ul>");
        let texts = failure.received.iter().map(|(text, score)| {
            format!("<li>{} <span class=\"score\">{score:.3}</span></li>", escape(text))
        });
        received = format!("<ol class=\"texts\">{}</ol>", texts.collect::<String>());
    } else {
        query = format!("<h4>{}</h4>", escape(&failure.query));
        let item = |name: &str, says: String| format!("<li>{}{says}</li>", thumbnails.show(name));
        let images: String =
            failure.expected.iter().map(|name| item(name, escape(file_name(name)))).collect();
        expected = format!("<ul class=\"shown\">{images}</ul>");
        let images = failure.received.iter().enumerate().map(|(place, (name, score))| {
            item(
                name,
                format!("{}. <span class=\"score\">{score:.3}</span> {}", place + 1, escape(file_name(name))),
            )
        });
        received = format!("<ol class=\"shown\">{}</ol>", images.collect::<String>());
    }
    format!(
        "<article>\n{query}\n<p class=\"soft\">{direction}, best positive {rank}</p>\n<h5>Expected</h5>\n{expected}\n<h5>Received</h5>\n{received}\n</article>\n"
    )
}

/// The last part of a path, of any system.
fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().filter(|name| !name.is_empty()).unwrap_or(path)
}
