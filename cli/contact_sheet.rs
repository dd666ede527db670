//! `pictor search --html`: queries and what they found, to look at; one file, no script, no link to anything outside.

use std::fmt::Write;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pictor_query::SearchResponse;
use rayon::prelude::*;

/// Longest side of a thumbnail in pixels.
const SIDE: u32 = 224;

const STYLE: &str = "
  :root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
  body { margin: 2rem auto; max-width: 1240px; padding: 0 1rem; }
  h2 { margin: 2rem 0 .5rem; font-size: 1.1rem; }
  .hits { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: .75rem; }
  figure { margin: 0; }
  img, .missing { width: 100%; height: 180px; object-fit: cover; border-radius: 6px; background: #8883; }
  .missing { display: grid; place-items: center; padding: 1rem; box-sizing: border-box; }
  figcaption { font-size: .8rem; overflow-wrap: anywhere; }
";

/// Writes the sheet. An image whose file is gone or unreadable since it was indexed shows its reason in place of a thumbnail.
pub fn write(path: &Path, answers: &[(String, SearchResponse)]) -> anyhow::Result<()> {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Pictor</title>\n<style>{STYLE}</style>\n<body>\n"
    );
    for (query, response) in answers {
        writeln!(html, "<h2>{}</h2>\n<div class=\"hits\">", escape(query))?;
        let thumbnails: Vec<_> = response.hits.par_iter().map(|hit| thumbnail(&hit.uri)).collect();
        for (hit, thumbnail) in response.hits.iter().zip(thumbnails) {
            let name =
                Path::new(&hit.uri).file_name().map_or(hit.uri.clone().into(), |n| n.to_string_lossy());
            let name = escape(&name);
            let picture = match thumbnail {
                Ok(data) => format!("<img alt=\"{name}\" src=\"data:image/jpeg;base64,{data}\">"),
                Err(reason) => format!("<div class=\"missing\">{}</div>", escape(&reason)),
            };
            let score = hit.score;
            writeln!(
                html,
                "<figure>{picture}<figcaption>{}. {score:.3} {name}</figcaption></figure>",
                hit.rank
            )?;
        }
        html += "</div>\n";
    }
    fs_err::write(path, html)?;
    Ok(())
}

fn thumbnail(uri: &str) -> Result<String, String> {
    let bytes = fs_err::read(uri).map_err(|e| e.to_string())?;
    let jpeg = pictor_encoders::thumbnail_jpeg(&bytes, SIDE).map_err(|e| e.to_string())?;
    Ok(BASE64.encode(jpeg))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
