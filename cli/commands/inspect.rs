//! `pictor inspect`.

use pictor_storage::{Description, Skipped, Store};
use serde::Serialize;

use crate::args::InspectArgs;
use crate::exit::Outcome;
use crate::output::Output;

/// What an index holds.
#[derive(Serialize)]
struct Inspection {
    #[serde(flatten)]
    description: Description,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped_files: Option<Vec<Skipped>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    verified: bool,
}

pub fn run(args: InspectArgs, output: &Output) -> anyhow::Result<Outcome> {
    let store = Store::open(&args.index.index)?;
    let snapshot = store.snapshot()?;
    if args.verify {
        snapshot.verify()?;
    }
    let inspection = Inspection {
        description: snapshot.describe()?,
        skipped_files: if args.skipped { Some(snapshot.skipped()?) } else { None },
        verified: args.verify,
    };
    output.result(&inspection, |i| {
        let mut text = i.description.to_string();
        for skipped in i.skipped_files.iter().flatten() {
            text += &format!("skipped {}: {}\n", skipped.uri, skipped.reason);
        }
        if i.verified {
            text += "every checksum holds\n";
        }
        text
    })?;
    Ok(Outcome::Done)
}
