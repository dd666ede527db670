//! The `pictor` binary: parse, do one command, turn what happened into an exit code.
//!
//! This package is the only place that wires concrete types together (an encoder from `encoders`, a store from `storage`,
//! an engine from `query`); every command is one file under `commands/`.

mod args;
mod bar;
mod commands;
mod contact_sheet;
mod embed_files;
mod exit;
mod fast_decode;
mod interrupt;
mod output;
mod reranking;
mod wiring;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};
use exit::Outcome;
use output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.json, cli.quiet);
    match wiring::check_cpu().and_then(|()| run(cli.command, &output)) {
        Ok(outcome) => outcome.into(),
        Err(error) if output::is_broken_pipe(&error) => Outcome::Done.into(),
        Err(error) => {
            output.error(&error);
            Outcome::Failed.into()
        }
    }
}

fn run(command: Command, output: &Output) -> anyhow::Result<Outcome> {
    match command {
        Command::Index(args) => commands::index::run(args, output),
        Command::Reindex(args) => commands::reindex::run(args, output),
        Command::Search(args) => commands::search::run(args, output),
        Command::Serve(args) => commands::serve::run(args, output),
        Command::Eval(command) => commands::eval::run(command, output),
        Command::Bench(args::BenchCommand::Encode(args)) => commands::bench::encode::run(args, output),
        Command::Bench(args::BenchCommand::Match(args)) => commands::bench::matcher::run(args, output),
        Command::Bench(args::BenchCommand::Ann(args)) => commands::bench::ann::run(args, output),
        Command::Embed(args) => commands::embed::run(args, output),
        Command::Model(command) => commands::model::run(command, output),
        Command::Import(args) => commands::import::run(args, output),
        Command::Export(args) => commands::export::run(args, output),
        Command::Inspect(args) => commands::inspect::run(args, output),
        Command::Verify(args) => commands::verify::run(args, output),
        Command::Repair(args) => commands::repair::run(args, output),
        Command::Compact(args) => commands::compact::run(args, output),
        Command::Doctor(args) => commands::doctor::run(args, output),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "pictor", &mut std::io::stdout());
            Ok(Outcome::Done)
        }
    }
}
