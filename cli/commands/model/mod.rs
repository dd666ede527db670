//! `pictor model`.

mod add;
mod list;
mod show;
mod table;
mod verify;

use crate::args::ModelCommand;
use crate::exit::Outcome;
use crate::output::Output;

pub fn run(command: ModelCommand, output: &Output) -> anyhow::Result<Outcome> {
    match command {
        ModelCommand::List(args) => list::run(&args, output),
        ModelCommand::Add(args) => add::run(args, output),
        ModelCommand::Show(args) => show::run(&args, output),
        ModelCommand::Verify(args) => verify::run(&args, output),
        ModelCommand::Remove(args) => add::remove(&args, output),
    }
}
