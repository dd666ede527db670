//! `pictor search`.

use std::time::Duration;

use anyhow::{bail, ensure};
use pictor_query::{Engine, Evidence, HitMatch, RerankOutcome, Reranked, SearchRequest, SearchResponse};

use crate::args::SearchArgs;
use crate::contact_sheet;
use crate::exit::Outcome;
use crate::output::{Output, count};
use crate::reranking::{self, Place};
use crate::wiring;

pub fn run(args: SearchArgs, output: &Output) -> anyhow::Result<Outcome> {
    let queries = queries(&args)?;
    ensure!(
        args.rerank.is_some() || !args.reranking.given(),
        "--matcher, --rerank-cache and --rerank-cache-size are for reranking; add --rerank, or leave them out"
    );
    let image = args.image.as_deref().map(fs_err::read).transpose()?;
    let (engine, encoder) = wiring::engine(
        &args.index.index,
        args.model.as_deref(),
        &args.runtime,
        args.decode.options(),
        output,
    )?;
    if args.deadline.is_some() {
        // A deadline is for searching, not for loading the model first.
        encoder.warm_up(usize::from(image.is_some()), 1)?;
    }
    let engine = match args.rerank {
        Some(_) => reranking(engine, &args, output)?,
        None => engine,
    };
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
            rerank: args.rerank,
            deadline: args.deadline.map(Duration::from_millis),
            ..SearchRequest::default()
        };
        let title =
            text.unwrap_or_else(|| args.image.as_ref().map_or(String::new(), |p| p.display().to_string()));
        let response = engine.search(&request)?;
        response.warnings.iter().for_each(|warning| output.note(format_args!("warning: {warning}")));
        answers.push((title, response));
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

/// The engine, with the matcher that the arguments ask for.
fn reranking(engine: Engine, args: &SearchArgs, output: &Output) -> anyhow::Result<Engine> {
    let own = args.model.as_deref().unwrap_or(&engine.store().spec().name).to_owned();
    let place = Place {
        index: &args.index.index,
        model: &own,
        decode: args.decode.options(),
        runtime: &args.runtime,
    };
    // As with the encoder, loaded now when there is a deadline.
    let reranker = reranking::reranker(&args.reranking, &place, args.deadline.is_some(), output)?;
    let Some(reranker) = reranker else {
        bail!(
            "this index was made with '{own}', which has no matcher to rerank by; {}",
            reranking::with_matchers()
        );
    };
    Ok(engine.with_reranker(reranker))
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
        text += &format!("{:>4}  {:>7.4}  ", hit.rank, hit.score);
        if response.reranked.is_some() {
            text += &hit.rerank.map_or_else(|| format!("{:18}", ""), matched);
        }
        text += &format!("{}\n", hit.uri);
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
    text += &format!("retrieve {:.1}, ", t.retrieve);
    if response.reranked.is_some() {
        text += &format!("rerank {:.1}, ", t.rerank);
    }
    text += &format!("hydrate {:.1})\n", t.hydrate);
    if let Some(reranked) = &response.reranked {
        text += &coming_to(reranked);
    }
    text
}

/// The probability of a match, and where the hit stood before: `match  83%  #12   `.
fn matched(rerank: HitMatch) -> String {
    let was = format!("#{}", rerank.first_stage_rank);
    format!("match {:>3.0}%  {was:<6}", 100.0 * rerank.score.itm_probability)
}

fn coming_to(reranked: &Reranked) -> String {
    let Reranked { matcher, candidates, scored, cache_hits, outcome, .. } = reranked;
    let end = match outcome {
        RerankOutcome::Complete => "",
        RerankOutcome::Deadline => "; then the deadline was there",
        RerankOutcome::Failed => "; the matcher failed, and the order is the first stage's",
    };
    format!("reranked {scored} of {candidates} by {matcher}, {cache_hits} of them seen before{end}\n")
}

fn evidence(name: &str, evidence: Option<Evidence>) -> String {
    match evidence {
        Some(Evidence { score, rank: Some(rank) }) => format!("{name} {score:.4}, rank {rank}"),
        Some(Evidence { score, rank: None }) => format!("{name} {score:.4}, below the depth that was ranked"),
        None => format!("{name} –"),
    }
}
