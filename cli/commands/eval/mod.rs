//! `pictor eval`: figures of models, matchers and indexes on published data.

mod data;
mod encode;
mod hard_negatives;
mod matching;
mod models;
mod pope;
mod provenance;
mod ranking;
mod retrieval;
mod through_index;
mod written;
mod zeroshot;

use crate::args::EvalCommand;
use crate::exit::Outcome;
use crate::output::Output;

pub fn run(command: EvalCommand, output: &Output) -> anyhow::Result<Outcome> {
    match command {
        EvalCommand::Retrieval(args) => retrieval::run(*args, output),
        EvalCommand::Zeroshot(args) => zeroshot::run(args, output),
        EvalCommand::Pope(args) => pope::run(args, output),
        EvalCommand::HardNegatives(args) => hard_negatives::run(args, output),
    }
}
