//! `pictor search`.

use anyhow::ensure;
use pictor_query::{Evidence, SearchRequest, SearchResponse};

use crate::args::SearchArgs;
use crate::contact_sheet;
use crate::exit::Outcome;
use crate::output::{Output, count};
use crate::wiring;

pub fn run(args: SearchArgs, output: &Output) -> anyhow::Result<Outcome> {
    let queries = queries(&args)?;
    let image = args.image.as_deref().map(fs_err::read).transpose()?;
    let (engine, _) = wiring::engine(
        &args.index.index,
        args.model.as_deref(),
        &args.runtime,
        args.decode.options(),
        output,
    )?;
    let mut answers = Vec::with_capacity(queries.len());
    for text in queries {
        let request = SearchRequest {
            text: text.clone(),
            image: image.clone(),
            filter: args.filter.clone(),
            mode: args.mode,
            k: args.k,
            effort: args.effort,
            explain: args.explain,
            ..SearchRequest::default()
        };
        let title =
            text.unwrap_or_else(|| args.image.as_ref().map_or(String::new(), |p| p.display().to_string()));
        answers.push((title, engine.search(&request)?));
    }

    if let Some(path) = &args.html {
        contact_sheet::write(path, &answers)?;
        output.note(format_args!("contact sheet in {}", path.display()));
    }
    if args.queries.is_some() {
        let many: Vec<_> = answers.iter().map(|(query, response)| Answer { query, response }).collect();
        output.result(&many, |many| {
            many.iter().map(|a| format!("{}\n{}\n", a.query, table(a.response))).collect()
        })?;
    } else if let Some((_, response)) = answers.first() {
        output.result(response, table)?;
    }
    let found = answers.iter().any(|(_, response)| !response.hits.is_empty());
    Ok(if found { Outcome::Done } else { Outcome::NothingFound })
}

/// One of several queries with its answer.
#[derive(serde::Serialize)]
struct Answer<'a> {
    query: &'a str,
    #[serde(flatten)]
    response: &'a SearchResponse,
}

/// The texts to search for, each `None` when there is only an image.
fn queries(args: &SearchArgs) -> anyhow::Result<Vec<Option<String>>> {
    if let Some(path) = &args.queries {
        let text = fs_err::read_to_string(path)?;
        let lines: Vec<_> =
            text.lines().map(str::trim).filter(|l| !l.is_empty()).map(|l| Some(l.into())).collect();
        ensure!(!lines.is_empty(), "{} holds no query: write one a line", path.display());
        return Ok(lines);
    }
    let text = args.query.join(" ");
    ensure!(
        !text.trim().is_empty() || args.image.is_some(),
        "nothing to search for: give some words, or an image with --image FILE"
    );
    Ok(vec![Some(text).filter(|t| !t.trim().is_empty())])
}

fn table(response: &SearchResponse) -> String {
    let mut text = String::new();
    for hit in &response.hits {
        text += &format!("{:>4}  {:>7.4}  {}\n", hit.rank, hit.score, hit.uri);
        if !hit.attributes.is_empty() {
            let said: Vec<_> = hit.attributes.iter().map(|(name, value)| format!("{name} {value}")).collect();
            text += &format!("               {}\n", said.join(", "));
        }
        if let Some(explanation) = &hit.explain {
            text += &format!("               {}\n", evidence("cosine", explanation.vector));
            text += &format!("               {}\n", evidence("BM25", explanation.text));
        }
    }
    if response.hits.is_empty() {
        text += match response.matches {
            Some(0) => "nothing found: no image matches the filter\n",
            _ => "nothing found\n",
        };
    }
    let t = &response.timings_ms;
    text += &match response.matches {
        None => format!("{} images", count(response.images as u64)),
        Some(matches) => {
            format!("{} of {} images match", count(matches as u64), count(response.images as u64))
        }
    };
    text += &format!(", {:.1} ms (encode {:.1}, ", t.total, t.encode);
    if response.matches.is_some() {
        text += &format!("filter {:.1}, ", t.filter);
    }
    text += &format!("retrieve {:.1}, hydrate {:.1})\n", t.retrieve, t.hydrate);
    text
}

fn evidence(name: &str, evidence: Option<Evidence>) -> String {
    match evidence {
        Some(Evidence { score, rank: Some(rank) }) => format!("{name} {score:.4}, rank {rank}"),
        Some(Evidence { score, rank: None }) => format!("{name} {score:.4}, below the depth that was ranked"),
        None => format!("{name} –"),
    }
}
