//! `pictor repair`.

use super::verify::findings;
use crate::args::VerifyArgs;
use crate::bar::bar;
use crate::exit::Outcome;
use crate::output::Output;

pub fn run(args: VerifyArgs, output: &Output) -> anyhow::Result<Outcome> {
    let bar = bar(Some(0), "rows", output);
    let repair = pictor_storage::repair(&args.index.index, &|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let repair = repair?;
    output.result(&repair, |repair| {
        let mut text = String::new();
        for done in &repair.done {
            text += &format!("{done}\n");
        }
        text += &findings(&repair.remaining);
        text + match (repair.done.is_empty(), repair.remaining.is_empty()) {
            (true, true) => "nothing to repair\n",
            (false, true) => "the index is sound again\n",
            (_, false) => {
                "not repaired is what nothing else holds: restore the index from a copy, or index again into a new folder\n"
            }
        }
    })?;
    Ok(if repair.remaining.is_empty() { Outcome::Done } else { Outcome::Failed })
}
