//! `pictor eval`: figures of models, matchers and indexes on published data.

mod data;
mod encode;
mod matching;
mod provenance;
mod ranking;
mod retrieval;
mod through_index;
mod written;

use crate::args::EvalCommand;
use crate::exit::Outcome;
use crate::output::Output;

pub fn run(command: EvalCommand, output: &Output) -> anyhow::Result<Outcome> {
    match command {
        EvalCommand::Retrieval(args) => retrieval::run(*args, output),
        _ => anyhow::bail!("soon"),
    }
}
