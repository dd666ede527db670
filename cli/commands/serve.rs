//! `pictor serve`.

use std::sync::Arc;

use anyhow::Context;
use pictor_web_ui::{ServeOptions, Shutdown};

use crate::args::ServeArgs;
use crate::exit::Outcome;
use crate::output::Output;
use crate::wiring;

pub fn run(args: ServeArgs, output: &Output) -> anyhow::Result<Outcome> {
    let (engine, encoder) = wiring::engine(&args.index.index, args.model.as_deref(), &args.runtime, output)?;
    // Both towers load now, so that the first visitor does not wait for them.
    encoder.warm_up(true, true)?;
    let options = ServeOptions { addr: args.addr, runtime: encoder.runtime().to_string() };
    let (json, quiet) = (output.json, output.quiet);
    let ready = move |addr: std::net::SocketAddr| {
        if json {
            println!("{}", serde_json::json!({ "listening": format!("http://{addr}") }));
        } else if !quiet {
            println!("http://{addr}  (Ctrl-C stops)");
        }
    };
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    ctrlc::set_handler(move || stop.request()).context("failed to listen for Ctrl-C")?;
    pictor_web_ui::serve(engine, Arc::new(pictor_encoders::thumbnail_jpeg), options, ready, &shutdown)?;
    Ok(Outcome::Done)
}
