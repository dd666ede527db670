//! `pictor serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use pictor_web_ui::{ServeOptions, Shutdown};

use crate::args::ServeArgs;
use crate::exit::Outcome;
use crate::output::Output;
use crate::reranking::{self, Place};
use crate::wiring;

pub fn run(args: ServeArgs, output: &Output) -> anyhow::Result<Outcome> {
    let (engine, encoder) = wiring::engine(
        &args.index.index,
        args.model.as_deref(),
        &args.runtime,
        args.decode.options(),
        output,
    )?;
    // All graphs load now, so that the first visitor does not wait for them.
    encoder.warm_up(1, 1)?;
    let own = args.model.unwrap_or_else(|| engine.store().spec().name.clone());
    let place = Place {
        index: &args.index.index,
        model: &own,
        decode: args.decode.options(),
        runtime: &args.runtime,
    };
    let engine = match reranking::reranker(&args.reranking, &place, true, output)? {
        Some(reranker) => engine.with_reranker(reranker),
        None if args.reranking.given() => bail!(
            "this index was made with '{own}', which has no matcher to rerank by; {}",
            reranking::with_matchers()
        ),
        None => engine,
    };
    // Not the library's path, which is nobody's business on the other end of a connection.
    let runtime = format!("{} {}", encoder.runtime().name, encoder.runtime().version);
    let deadline = Some(Duration::from_millis(args.deadline));
    let options = ServeOptions { addr: args.addr, runtime, deadline };
    let ready = |addr: SocketAddr| {
        let line = match output.json {
            true => serde_json::json!({ "listening": format!("http://{addr}") }).to_string(),
            false => format!("http://{addr}  (Ctrl-C stops)"),
        };
        // Whoever started the service may have closed its output; that is no reason to stop.
        let _ = writeln!(std::io::stdout(), "{line}");
    };
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    ctrlc::set_handler(move || stop.request()).context("failed to listen for Ctrl-C")?;
    pictor_web_ui::serve(
        Arc::new(engine),
        Arc::new(pictor_encoders::thumbnail_jpeg),
        options,
        ready,
        &shutdown,
    )?;
    Ok(Outcome::Done)
}
