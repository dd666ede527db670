//! `pictor serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use pictor_web_ui::{ServeOptions, Shutdown};

use crate::args::ServeArgs;
use crate::exit::Outcome;
use crate::output::Output;
use crate::wiring;

pub fn run(args: ServeArgs, output: &Output) -> anyhow::Result<Outcome> {
    let (engine, encoder) = wiring::engine(
        &args.index.index,
        args.model.as_deref(),
        &args.runtime,
        args.decode.options(),
        output,
    )?;
    // Both towers load now, so that the first visitor does not wait for them.
    encoder.warm_up(1, 1)?;
    // Not the library's path, which is nobody's business on the other end of a connection.
    let runtime = format!("{} {}", encoder.runtime().name, encoder.runtime().version);
    let options = ServeOptions { addr: args.addr, runtime };
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
    pictor_web_ui::serve(engine, Arc::new(pictor_encoders::thumbnail_jpeg), options, ready, &shutdown)?;
    Ok(Outcome::Done)
}
